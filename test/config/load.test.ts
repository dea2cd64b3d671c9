import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { inspectConfig, type LoadOptions, loadConfig } from "../../src/config/load.ts";
import { configPath, findSocketPath } from "../../src/config/paths.ts";
import { needsRoot } from "../../src/config/problem.ts";
import { redactedSettings, secretInWords } from "../../src/config/redact.ts";
import { defaultConfig, settings } from "../../src/config/schema.ts";
import { fileError } from "../../src/files/atomic.ts";
import type { NgrokdError } from "../../src/model/error.ts";
import { fileOfTheGoProgram, ownFolder } from "./support.ts";

const folder = ownFolder();
let files = 0;
function fileWith(text: string | Uint8Array, mode = 0o600): string {
  const path = join(folder, `${++files}.yml`);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}
const failure = (options: LoadOptions) => loadConfig(options).catch((error: unknown) => error);

test("a draft counts instead of the file, and its problems have the file's name", async () => {
  const file = fileWith("net: {subnet: auto}\n");
  const of = (draft: string) => inspectConfig({ file, env: {}, draft });
  expect((await of("dns: {enabled: true}\n")).loaded?.config).toMatchObject({
    dns: { enabled: true },
    net: { subnet: defaultConfig.net.subnet },
  });
  const { loaded, problems } = await of("net: {subnet: nonsense}\n");
  expect(loaded).toBeUndefined();
  expect(problems).toMatchObject([{ source: file, key: "net.subnet" }]);
});

describe("loadConfig", () => {
  test("takes each value from the first of flag, environment, file, default", async () => {
    const file = fileWith(
      "api: {key: key-of-the-file}\nserver: {socket_path: /file.sock, log_level: debug}\n",
    );
    const env = { NGROK_API_KEY: "key-of-the-environment\n", NGROKD_SOCKET: "/environment.sock" };
    const flags = { "server.socket_path": "/flag.sock", "server.log_level": undefined };
    const all = await loadConfig({ file, env, flags });
    expect(all.config).toEqual({
      ...defaultConfig,
      api: { ...defaultConfig.api, key: "key-of-the-environment" },
      server: { ...defaultConfig.server, socket_path: "/flag.sock", log_level: "debug" },
    });
    expect(all.origins).toMatchObject({
      "api.key": "environment NGROK_API_KEY",
      "api.url": "default",
      "server.socket_path": "flag",
      "server.log_level": "file",
      ingressEndpoint: "default",
    });
    const noFlag = await loadConfig({ file, env });
    expect(noFlag.config.server.socket_path).toBe("/environment.sock");
    expect(noFlag.origins["server.socket_path"]).toBe("environment NGROKD_SOCKET");
    const alone = await loadConfig({ file, env: { NGROK_API_KEY: "", NGROKD_SOCKET: "" } });
    expect(alone.config.api.key).toBe("key-of-the-file");
    expect(alone.config.server.socket_path).toBe("/file.sock");
    expect(alone.origins["api.key"]).toBe("file");
  });

  test("takes the key from the file that NGROK_API_KEY_FILE names", async () => {
    const file = fileWith("api: {key: key-of-the-file}\n");
    const env = { NGROK_API_KEY_FILE: fileWith("key-of-the-secret\n") };
    const { config, origins } = await loadConfig({ file, env });
    expect({ key: config.api.key, origin: origins["api.key"] }).toEqual({
      key: "key-of-the-secret",
      origin: "environment NGROK_API_KEY_FILE",
    });
    const both = await loadConfig({
      file,
      env: { ...env, NGROK_API_KEY: "key-of-the-environment" },
    });
    expect(both.origins["api.key"]).toBe("environment NGROK_API_KEY");
    const unset = await loadConfig({ file, env: { NGROK_API_KEY_FILE: "" } });
    expect(unset.config.api.key).toBe("key-of-the-file");
    for (const [path, why] of [
      [join(folder, "none"), "there is no such file"],
      [fileWith(" \n"), "it is empty"],
    ] as const)
      expect(await failure({ file, env: { NGROK_API_KEY_FILE: path } })).toMatchObject({
        code: "config",
        message: `Cannot read the API key in "${path}": ${why}`,
        hint: expect.stringContaining("NGROK_API_KEY_FILE names it"),
      });
    const wrong = { NGROK_API_KEY_FILE: fileWith("two words") };
    expect(await failure({ file, env: wrong })).toMatchObject({
      message: expect.stringContaining("environment NGROK_API_KEY_FILE: api.key is a text of 9"),
    });
  });

  test("finds its file and the hosts file by flag and environment", async () => {
    const [one, two] = [fileWith("net: {start_port: 1}\n"), fileWith("net: {start_port: 2}\n")];
    const env = { NGROKD_CONFIG: two, NGROKD_HOSTS_PATH: "some/hosts" };
    const flag = await loadConfig({ file: one, env });
    const named = await loadConfig({ env });
    expect(flag).toMatchObject({ path: one, exists: true, hostsPath: resolve("some/hosts") });
    expect(flag.config.net.start_port).toBe(1);
    expect(named.path).toBe(two);
    expect(named.config.net.start_port).toBe(2);
    expect((await loadConfig({ file: one, env: { NGROKD_HOSTS_PATH: "" } })).hostsPath).toBe(
      "/etc/hosts",
    );
  });

  test("resolves a socket on the command line from the current folder", async () => {
    const { config } = await loadConfig({
      file: fileWith(""),
      env: {},
      flags: { "server.socket_path": "./n.sock" },
    });
    expect(config.server.socket_path).toBe(resolve("n.sock"));
  });

  test("loads the Go program's file without a warning", async () => {
    const { config, origins, warnings } = await loadConfig({
      file: fileWith(fileOfTheGoProgram, 0o644),
      env: {},
    });
    expect(config.net.subnet).toBe("10.107.0.0/16");
    expect(origins).toMatchObject({ "net.subnet": "file", "api.key": "default" });
    expect(warnings).toEqual([]);
  });

  test("starts with unknown keys, and warns", async () => {
    const { warnings } = await loadConfig({
      file: fileWith("server: {log_levle: info}\n"),
      env: {},
    });
    expect(warnings).toMatchObject([
      { kind: "unknown-key", line: 1, column: 10, key: "server.log_levle" },
    ]);
  });

  test("warns of a file with a key that all users can read", async () => {
    const text = "api: {key: key-of-the-file}\n";
    const open = fileWith(text, 0o644);
    const warning = {
      kind: "open-mode",
      source: open,
      message: `every user of this machine can read the API key in it; run \`chmod 600 ${open}\``,
    };
    expect((await loadConfig({ file: open, env: {} })).warnings as unknown).toEqual([warning]);
    expect((await loadConfig({ file: fileWith(text, 0o640), env: {} })).warnings).toEqual([]);
    expect(
      (await loadConfig({ file: fileWith("api: {key: }\n", 0o644), env: {} })).warnings,
    ).toEqual([]);
  });
});

describe("the proxy", () => {
  test("takes the proxy from flags, then the file, then the environment", async () => {
    const env = {
      HTTPS_PROXY: "http://env:1",
      https_proxy: "http://lower:2",
      ALL_PROXY: "socks5://all:3",
      no_proxy: "a.test",
    };
    const file = fileWith("forward: { proxy_url: 'socks5://me:pw@file' }");
    const way = async (options: Parameters<typeof loadConfig>[0]) => {
      const { proxy, origins } = await loadConfig(options);
      return {
        host: proxy.proxy?.host,
        fromEnvironment: proxy.fromEnvironment,
        noProxy: proxy.noProxy,
        origin: origins["forward.proxy_url"],
      };
    };
    expect(await way({ file, env, flags: { "forward.proxy_url": "flag:9" } })).toEqual({
      host: "flag",
      fromEnvironment: false,
      noProxy: "a.test",
      origin: "flag",
    });
    expect(await way({ file, env })).toEqual({
      host: "file",
      fromEnvironment: false,
      noProxy: "a.test",
      origin: "file",
    });
    const empty = fileWith("forward: { proxy_url: '' }");
    expect(await way({ file: empty, env: { ...env, NO_PROXY: "b.test" } })).toEqual({
      host: "env",
      fromEnvironment: true,
      noProxy: "b.test",
      origin: "environment HTTPS_PROXY",
    });
    expect(await way({ file: empty, env: { ...env, HTTPS_PROXY: "" } })).toEqual({
      host: "lower",
      fromEnvironment: true,
      noProxy: "a.test",
      origin: "environment https_proxy",
    });
    expect(await way({ file: empty, env: { ALL_PROXY: "socks5://all" } })).toEqual({
      host: "all",
      fromEnvironment: true,
      noProxy: "",
      origin: "environment ALL_PROXY",
    });
    expect(await way({ file: empty, env: { HTTP_PROXY: "http://plain" } })).toEqual({
      host: undefined,
      fromEnvironment: false,
      noProxy: "",
      origin: "default",
    });
  });

  test("refuses an unusable proxy without showing a possible password", async () => {
    const error = (await failure({
      file: fileWith(""),
      env: { HTTPS_PROXY: "https://me:s3cret@proxy" },
    })) as NgrokdError;
    expect(error.message).toContain("environment HTTPS_PROXY");
    expect(`${error.message} ${error.hint} ${JSON.stringify(error.details)}`).not.toContain(
      "s3cret",
    );
  });

  test("shows a proxy without its password", async () => {
    const shown = redactedSettings(
      await loadConfig({
        file: fileWith("forward: { proxy_url: 'http://me:s3cret@proxy' }"),
        env: {},
      }),
    );
    expect(shown).toContainEqual({
      key: "forward.proxy_url",
      value: "http://[redacted]@proxy:80",
      origin: "file",
    });
  });
});

describe("a configuration that cannot be used", () => {
  test("lists every problem of file, environment and flags in one error", async () => {
    const file = fileWith("server: {health_port: -1}\nnet:\n  subnet: here\nnonsense: 1\n");
    const error = await failure({
      file,
      env: { NGROK_API_KEY: "two words" },
      flags: { "server.log_level": "loud" },
    });
    expect(error).toMatchObject({
      code: "config",
      message: [
        `Cannot use the configuration "${file}":`,
        `  ${file}:1:23: server.health_port is -1; allowed: a whole number, 1 to 65535, or any`,
        `  ${file}:3:11: net.subnet is "here"; allowed: auto, or an IPv4 subnet of /8 to /30, ` +
          "such as 127.0.0.0/8 or 10.107.0.0/16",
        "  environment NGROK_API_KEY: api.key is a text of 9 characters (not shown); " +
          "allowed: 8 to 512 characters, without spaces",
        '  flag: server.log_level is "loud"; allowed: debug, info, warn or error',
      ].join("\n"),
      hint:
        `correct it with \`ngrokd config edit --config ${file}\`, ` +
        `then run \`ngrokd config check --config ${file}\``,
    });
    expect((error as { details: { problems: unknown[] } }).details.problems[0]).toEqual({
      kind: "wrong-value",
      source: file,
      line: 1,
      column: 23,
      key: "server.health_port",
      message: "server.health_port is -1; allowed: a whole number, 1 to 65535, or any",
    });
  });

  test("does not blame the file if the environment is wrong", async () => {
    expect(
      await failure({ file: fileWith(""), env: { NGROKD_SOCKET: `/${"s".repeat(200)}` } }),
    ).toMatchObject({
      code: "config",
      hint: "correct or remove the values above",
    });
  });

  test("shows twenty problems and counts the rest", async () => {
    const file = fileWith(`bound_endpoints:\n  selectors:\n${'  - ""\n'.repeat(25)}`);
    expect(await failure({ file, env: {} })).toMatchObject({
      message: expect.stringMatching(/selectors\[20\] is .*\n {2}and 5 more$/s),
    });
  });

  test("refuses a named file that is missing", async () => {
    const missing = join(folder, "missing.yml");
    for (const options of [{ file: missing, env: {} }, { env: { NGROKD_CONFIG: missing } }]) {
      expect(await failure(options)).toMatchObject({
        code: "config",
        message: `Cannot read the configuration "${missing}": there is no such file`,
        hint: `\`ngrokd config init --config ${missing}\` writes one with every setting explained`,
      });
    }
  });

  test("refuses anything but a text file of at most 1 MiB", async () => {
    const tooLarge = fileWith(`# ${"x".repeat(1024 * 1024)}`);
    const largest = fileWith(`# ${"x".repeat(1024 * 1024 - 2)}`);
    const latin1 = fileWith(new Uint8Array([0x23, 0x20, 0xfc, 0x0a]));
    mkdirSync(join(folder, "a-folder"));
    expect(await failure({ file: tooLarge, env: {} })).toMatchObject({
      code: "config",
      message: expect.stringMatching(/larger than 1 MiB$/),
    });
    expect((await loadConfig({ file: largest, env: {} })).config).toEqual(defaultConfig);
    expect(await failure({ file: latin1, env: {} })).toMatchObject({
      code: "config",
      message: expect.stringMatching(/not UTF-8 text$/),
    });
    expect(await failure({ file: join(folder, "a-folder"), env: {} })).toMatchObject({
      code: "state",
      message: expect.stringMatching(/it is a folder$/),
    });
    for (const path of [tooLarge, latin1, join(folder, "a-folder")])
      expect(await failure({ file: path, env: {} })).toHaveProperty("hint", expect.any(String));
  });

  test("reads a pipe that has a writer, and waits for no other", async () => {
    const pipe = join(folder, "pipe");
    expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
    expect(await failure({ file: pipe, env: {} })).toMatchObject({
      code: "config",
      message: `Cannot read the configuration "${pipe}": it is a pipe to which nothing writes`,
      hint: expect.any(String),
    });
    // As a shell's `<(…)`: the writer is there before the reader.
    const keeper = openSync(pipe, constants.O_RDWR);
    const writer = openSync(pipe, constants.O_WRONLY);
    closeSync(keeper);
    const reading = loadConfig({ file: pipe, env: {} });
    // Nothing can be written before the reader has opened the pipe.
    for (;;) {
      try {
        writeSync(writer, "server: {log_level: debug}\n");
        break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
        await Bun.sleep(5);
      }
    }
    closeSync(writer);
    expect((await reading).config.server.log_level).toBe("debug");
  });

  test("hints at sudo if this user may not read the file", () => {
    const denied = fileError(
      "Cannot read it",
      Object.assign(new Error("EACCES"), { code: "EACCES" }),
    );
    expect(() => needsRoot(denied)).toThrow(
      expect.objectContaining({
        code: "permission",
        message: "Cannot read it: permission denied",
        hint: expect.stringContaining("sudo"),
      }),
    );
    const other = new Error("something else");
    expect(() => needsRoot(other)).toThrow(other);
  });
});

describe("inspectConfig", () => {
  test("returns problems and does not throw them", async () => {
    const file = fileWith("server: {health_port: -1, x: 1}\n");
    expect(await inspectConfig({ file, env: {} })).toMatchObject({
      path: file,
      exists: true,
      problems: [{ kind: "wrong-value" }],
      warnings: [{ kind: "unknown-key" }],
      loaded: undefined,
    });
  });
});

describe("configPath", () => {
  test("takes the flag, then the variable, then the default", () => {
    expect(configPath("a.yml", { NGROKD_CONFIG: "/b.yml" })).toEqual({
      path: resolve("a.yml"),
      origin: "flag",
    });
    expect(configPath(undefined, { NGROKD_CONFIG: "/b.yml" })).toEqual({
      path: "/b.yml",
      origin: "environment NGROKD_CONFIG",
    });
    expect(configPath("", { NGROKD_CONFIG: "" })).toEqual({
      path: "/etc/ngrokd/config.yml",
      origin: "default",
    });
  });
});

describe("findSocketPath", () => {
  const find = (
    text: string | undefined,
    rest: { flag?: string; env?: Record<string, string> } = {},
  ) =>
    findSocketPath({ env: {}, ...rest, ...(text === undefined ? {} : { config: fileWith(text) }) });

  test("takes the flag, then the variable, then the file, then the default", async () => {
    const text = "server:\n  socket_path: /file.sock\n";
    expect(await find(text, { flag: "f.sock", env: { NGROKD_SOCKET: "/env.sock" } })).toBe(
      resolve("f.sock"),
    );
    expect(await find(text, { flag: "", env: { NGROKD_SOCKET: "/env.sock" } })).toBe("/env.sock");
    expect(await find(text, { env: { NGROKD_SOCKET: "" } })).toBe("/file.sock");
    expect(await find("server: {log_level: info}\n")).toBe("/var/run/ngrokd.sock");
  });

  test("uses the default if the file has no usable path", async () => {
    for (const text of [
      "",
      "server: {socket_path: relative}",
      "server: [socket_path]",
      "socket_path: /x",
      "server: {socket_path: [",
      "- socket_path",
      "&a [*a] # socket_path",
    ]) {
      expect(await find(text)).toBe("/var/run/ngrokd.sock");
    }
  });

  test("finds the same socket as the daemon", async () => {
    for (const text of [
      fileOfTheGoProgram,
      "b: &b {socket_path: /merged.sock}\nserver: {<<: *b}\n",
      '{"server": {"socket_path": "/json.sock"}}',
    ]) {
      const file = fileWith(text);
      expect(await findSocketPath({ config: file, env: {} })).toBe(
        (await loadConfig({ file, env: {} })).config.server.socket_path,
      );
    }
  });

  test("refuses a named file that is missing", async () => {
    const missing = findSocketPath({ config: join(folder, "missing.yml"), env: {} });
    expect(await missing.catch((error: unknown) => error)).toMatchObject({ code: "config" });
  });
});

describe("redactedSettings", () => {
  test("shows every value with its origin, and no secret", async () => {
    const key = "2cVr-0123456789-abcdefgh-tail";
    const loaded = await loadConfig({
      file: fileWith(`api: {key: ${key}}\nnet: {start_port: 7}\n`),
      env: {},
    });
    const shown = redactedSettings(loaded);
    const single = settings.filter(({ key }) => key !== "profiles");
    expect(shown.map(({ key }) => key as string)).toEqual(single.map(({ key }) => key));
    expect(shown).toContainEqual({ key: "api.key", value: "set (ends in …tail)", origin: "file" });
    expect(shown).toContainEqual({ key: "net.start_port", value: 7, origin: "file" });
    expect(shown).toContainEqual({
      key: "bound_endpoints.selectors",
      value: ["true"],
      origin: "default",
    });
    expect(JSON.stringify(shown)).not.toContain("0123456789");
  });

  test.each([
    ["", "not set"],
    ["short-key", "set"],
    ["x".repeat(20), "set"],
    [`${"x".repeat(17)}tail`, "set (ends in …tail)"],
  ])("describes the secret %j as: %s", (secret, words) => {
    expect(secretInWords(secret)).toBe(words);
  });
});
