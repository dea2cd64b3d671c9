import { beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { binary, type Daemon, defaultConfig, ngrokd, run } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { onTerminal } from "../support/terminal.ts";
import { page } from "../support/web.ts";

const commands = [
  "serve",
  "status",
  "list",
  "health",
  "connections",
  "traffic",
  "top",
  "dashboard",
  "events",
  "doctor",
  "why",
  "setup",
  "set-api-key",
  "refresh-cert",
  "operators",
  "unregister",
  "refresh",
  "reload",
  "config check",
  "config show",
  "config edit",
  "config path",
  "config init",
  "trust",
  "plan",
  "undo",
  "cloud",
  "demo",
  "version",
];

stories("the command line without a daemon", () => {
  test("`ngrokd` alone is the help: every command, and the first steps", async () => {
    const { out, code } = await ngrokd("");
    expect(code).toBe(0);
    for (const command of commands) expect(out).toContain(`\n  ${command.split(" ")[0]} `);
    expect(out).toContain("First steps");
    expect((await ngrokd("--help")).out).toBe(out);
  });

  test.each(commands)(
    "`ngrokd %s --help` explains itself within 80 columns, with examples",
    async (command) => {
      const { out, err, code } = await ngrokd(`${command} --help`);
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(out).toContain(`Usage  ngrokd ${command}`);
      expect(out).toContain(`\nExamples\n  $ `);
      // A line to be typed stays whole.
      expect(
        out.split("\n").filter((line) => line.length > 80 && !line.startsWith("  $ ")),
      ).toEqual([]);
      expect((await ngrokd(`--help ${command}`)).out).toBe(out);
    },
  );

  test("the version, in each of its spellings", async () => {
    const { version } = JSON.parse(readFileSync(`${import.meta.dir}/../../package.json`, "utf8"));
    for (const words of ["--version", "-v"])
      expect((await ngrokd(words)).out).toBe(`ngrokd ${version}\n`);
    expect((await ngrokd("version")).out).toContain(`ngrokd ${version}`);
    expect((await ngrokd("version --json")).json).toMatchObject({
      version,
      runtime: "bun",
      platform: "linux",
    });
  });

  test.each([
    ["stats", 'Unknown command "stats"', "did you mean `ngrokd status`?"],
    ["config shw", 'Unknown command "config shw"', "did you mean `ngrokd config show`?"],
    ["abrakadabra", 'Unknown command "abrakadabra"', "`ngrokd --help` lists the commands"],
    [
      "config",
      "`ngrokd config` needs one of: check, show, edit, path, init",
      "`ngrokd config --help` explains them",
    ],
    ["list --jsn", 'Unknown flag "--jsn"', "did you mean --json?"],
    ["--frob", 'Unknown flag "--frob"', "`ngrokd --help`"],
    ["list extra", 'Unexpected argument "extra"', "`ngrokd list --help`"],
    ["list --socket", 'The flag "--socket" needs a value', "`ngrokd list --help`"],
    ["pause", "Missing <host>: A host name, or '*.ZONE'", "`ngrokd pause --help`"],
    ["__proto__", 'Unknown command "__proto__"', "`ngrokd --help`"],
    ["set-api-key", "No API key was given", "`ngrokd set-api-key - < key-file`"],
    ["cloud --api-port 70000", "The flag --api-port is wrong", "`ngrokd cloud --help`"],
    [
      "serve --config /nowhere.yml",
      'Cannot read the configuration "/nowhere.yml": there is no such file',
      "ngrokd config init",
    ],
  ])(
    "`ngrokd %s` gets an error and advice on stderr, with exit code 2",
    async (words, error, hint) => {
      const { code, out, err } = await ngrokd(words);
      expect({ code, out }).toEqual({ code: 2, out: "" });
      expect(err).toStartWith(`error: ${error}`);
      expect(err).toContain(`\nhint:  `);
      expect(err).toContain(hint);
    },
  );

  test.each(["status", "list", "health", "refresh", "reload"])(
    "`ngrokd %s` says that no daemon runs, with exit code 4, in text and in JSON",
    async (command) => {
      const text = await ngrokd(command);
      expect({ code: text.code, out: text.out }).toEqual({ code: 4, out: "" });
      expect(text.err).toBe(
        [
          'error: No daemon answers on the control socket "/var/run/ngrokd.sock"',
          "hint:  start it with `sudo ngrokd service start` or `sudo ngrokd serve`, or name its socket with --socket or NGROKD_SOCKET",
          "",
        ].join("\n"),
      );
      const json = await ngrokd(`${command} --json`);
      expect({ code: json.code, err: json.err }).toEqual({ code: 4, err: "" });
      expect(json.json.error).toMatchObject({
        code: "not-running",
        hint: expect.any(String),
        message: expect.any(String),
      });
    },
  );
});

stories("the commands of the configuration", () => {
  test("config init writes a commented file for root alone, never over an existing one", async () => {
    expect((await ngrokd("config init")).out).toContain(`"${defaultConfig}"`);
    expect(statSync(defaultConfig).mode & 0o777).toBe(0o600);
    const text = readFileSync(defaultConfig, "utf8");
    for (const key of ["poll_interval", "ingress_ca", "listen_interface", "health_port"])
      expect(text).toContain(key);
    const again = await ngrokd("config init");
    expect({ code: again.code, out: again.out }).toEqual({ code: 2, out: "" });
    expect(readFileSync(defaultConfig, "utf8")).toBe(text);
    expect(await ngrokd("config check")).toMatchObject({ code: 0, err: "" });
  });

  test("config check finds every mistake at once, with file, line and allowed values", async () => {
    writeFileSync(
      "/run/wrong.yml",
      "api:\n  url: http://example.com\n  kye: x\nserver:\n  health_port: 99999\n",
    );
    const { code, out, err } = await ngrokd("config check /run/wrong.yml");
    expect(code).toBe(2);
    const said = out + err;
    for (const part of [
      "/run/wrong.yml:2:8",
      "/run/wrong.yml:5:16",
      "allowed: a whole number, 1 to 65535, or any",
      'did you mean "api.key"?',
    ]) {
      expect(said).toContain(part);
    }
    const places = [...out.matchAll(/wrong\.yml:(\d+):/g)].map(([, line]) => Number(line));
    expect(places).toEqual([2, 3, 5]);
    const { json } = await ngrokd("config check /run/wrong.yml --json");
    expect(json).toMatchObject({
      ok: false,
      problems: [{ line: 2 }, { line: 5 }],
      warnings: [{ key: "api.kye" }],
    });
    const serve = await ngrokd("serve --config /run/wrong.yml");
    expect(serve.code).toBe(2);
    expect(serve.err).toContain("/run/wrong.yml:2:8");
  });

  test("config show has the origin of each value, and no secret", async () => {
    const env = { NGROK_API_KEY: "a-secret-of-mine", NGROKD_SOCKET: "/run/other.sock" };
    const { out } = await ngrokd("config show", { env });
    expect(out).toMatch(
      /^server\.socket_path +(?:environment )?NGROKD_SOCKET +\/run\/other\.sock$/m,
    );
    expect(out).toMatch(/^bound_endpoints\.poll_interval +default +30$/m);
    expect(out).not.toContain("a-secret");
    const { json } = await ngrokd("config show --json", { env });
    expect(json.settings["api.key"]).toEqual({ value: "set", origin: "environment NGROK_API_KEY" });
  });

  test("nothing is taken from the folder in which it is started", async () => {
    mkdirSync("/run/story");
    writeFileSync("/run/story/.env", "NGROK_API_KEY=of-another-program\n");
    writeFileSync("/run/story/bunfig.toml", 'preload = ["./preload.js"]\n');
    writeFileSync("/run/story/preload.js", 'throw new Error("read")\n');
    const { code, err, json } = await ngrokd("config show --json", { cwd: "/run/story" });
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(json.settings["api.key"]).toEqual({ value: "not set", origin: "default" });
  });

  test("config path follows --config, NGROKD_CONFIG and the default", async () => {
    expect((await ngrokd("config path")).out).toBe(`${defaultConfig}\n`);
    expect((await ngrokd("config path", { env: { NGROKD_CONFIG: "/run/env.yml" } })).out).toBe(
      "/run/env.yml\n",
    );
    expect((await ngrokd("config path --config flag.yml", { cwd: "/run" })).out).toBe(
      "/run/flag.yml\n",
    );
  });

  test("config edit puts only a right file in place", async () => {
    const before = readFileSync(defaultConfig, "utf8");
    const spoilt = await ngrokd("config edit", {
      env: { EDITOR: "sed -i 's/^server:/server: 7 #/'" },
    });
    expect(spoilt.code).not.toBe(0);
    expect(readFileSync(defaultConfig, "utf8")).toBe(before);
    const edited = await ngrokd("config edit", {
      env: { EDITOR: "sed -i 's/# poll_interval: 30/poll_interval: 5/'" },
    });
    expect(edited.code).toBe(0);
    expect(readFileSync(defaultConfig, "utf8")).toBe(
      before.replace("# poll_interval: 30", "poll_interval: 5"),
    );
    expect(statSync(defaultConfig).mode & 0o777).toBe(0o600);
  });
});

let cloud: Cloud;
let daemon: Daemon;

const begin = async () => {
  ({ cloud, daemon } = await registered());
  await cloud.add("http://hello.demo", page("hello").address);
  await cloud.add("https://*.wild.demo", "127.0.0.1:9");
  await daemon.refresh();
};

stories("the command line with a daemon", () => {
  beforeAll(begin);

  test("status in text fits into 80 columns and says all that one asks", async () => {
    const { out, code } = await ngrokd("status");
    const [operator] = await cloud.operators();
    const line = (key: string): string => new RegExp(`^${key}: +(.*)$`, "m").exec(out)?.[1] ?? "";
    expect(code).toBe(0);
    expect(out.split("\n").filter((text) => text.length > 80)).toEqual([]);
    expect(line("State")).toBe("serving");
    expect(line("Registration")).toBe(`registered as ${operator?.id}`);
    expect(line("Certificate")).toMatch(/^valid for \d+ days, until \d{4}-\d\d-\d\d$/);
    expect(line("Ingress")).toBe(cloud.ingress);
    expect(line("Last poll")).toMatch(/^ok, .* ago, took \d+ ms$/);
    expect(line("Endpoints")).toBe("1 listening, 1 not supported");
    expect(line("Daemon")).toMatch(
      new RegExp(`^ngrokd \\d.*, pid ${daemon.pid}, up (?:\\d+ min )?\\d+ m?s$`),
    );
    expect(line("Configuration")).toBe(defaultConfig);
    expect(line("Hosts file")).toBe("/etc/hosts");
  });

  test("list in text fits into 80 columns, the reason below the endpoint that has one", async () => {
    expect((await ngrokd("list")).out).toBe(
      [
        "URL                  ADDRESS       STATE        CONNECTIONS",
        "http://hello.demo    127.0.0.2:80  listening    0 open, 0 total",
        "https://*.wild.demo  -             unsupported  -",
        "    a wildcard needs dns.enabled: true, or its names in names.expand",
        "",
      ].join("\n"),
    );
  });

  test("status, list, health and refresh print one JSON value for programs", async () => {
    expect((await ngrokd("status --json")).json).toMatchObject({
      registered: true,
      phase: "serving",
      pid: daemon.pid,
    });
    expect((await ngrokd("--json list")).json).toMatchObject([
      { hostname: "hello.demo", state: "listening" },
      { state: "unsupported" },
    ]);
    expect((await ngrokd("health --json")).json).toEqual({
      healthy: true,
      ready: true,
      reason: "",
      address: "http://127.0.0.1:8081/",
    });
    expect((await ngrokd("refresh --json")).json).toMatchObject({ ok: true, endpoint_count: 2 });
  });

  test("a reader that closes the pipe early is no error", async () => {
    const { out, err } = await run(["sh", "-c", `${binary()} list | head -1`]);
    expect({ hasTable: out.startsWith("URL"), err }).toEqual({ hasTable: true, err: "" });
  });
});

stories("the command line on a terminal, with a daemon", () => {
  beforeAll(begin);

  test("colour is for terminals, and not with NO_COLOR", async () => {
    // The line that names a long wait is erased by another sequence.
    const colour = /\u001b\[[\d;]*m/;
    expect((await ngrokd("status")).out).not.toMatch(colour);
    expect((await onTerminal([binary(), "status"])).text).toMatch(colour);
    expect((await onTerminal([binary(), "status"], { env: { NO_COLOR: "1" } })).text).not.toMatch(
      colour,
    );
    expect(
      (await onTerminal([binary(), "frobnicate"], { env: { NO_COLOR: "1" } })).text,
    ).toStartWith("error: Unknown command");
  });

  test("list --watch draws in place until Ctrl-C, and gives the terminal back", async () => {
    // Types at the picture's end, since the terminal echoes the key.
    const { text, code } = await onTerminal([binary(), "list", "--watch"], {
      type: ["\u001b[J", "\u0003"],
    });
    expect(code).toBe(0);
    const [before, picture = "", after] = text.split(/\u001b\[\?1049[hl]/);
    expect({ before, after }).toEqual({ before: "", after: "" });
    // A second picture may come between the key's echo and its signal.
    const [drawn = ""] = picture.split("^C");
    const lines = drawn.split("\n").map((line) => stripVTControlCharacters(line).trimEnd());
    expect(lines[0]).toMatch(/^serving: 1 listening, 1 unsupported +\d\d:\d\d:\d\d$/);
    expect(lines[2]).toMatch(/^URL +ADDRESS +OPEN +NEW\/S +UP\/S +DOWN\/S$/);
    expect(lines[4]).toMatch(/^http:\/\/hello\.demo +127\.0\.0\.2:80 +0 +- +- +-$/);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
  });

  test("list --watch --json prints an array a line, and ends with its reader", async () => {
    const { out, code } = await run(["sh", "-c", `${binary()} list --watch --json | head -2`]);
    const [first, second] = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect({
      code,
      firstRates: first[0].per_second,
      secondConnections: second[0].per_second.connections,
    }).toEqual({ code: 0, firstRates: null, secondConnections: 0 });
  });

  test("a key that is typed on a terminal is not shown, and is kept", async () => {
    const { text, code } = await onTerminal([binary(), "set-api-key"], {
      type: ["ngrok API key", `${cloud.apiKey}\r`],
    });
    expect(code).toBe(0);
    expect(text).toContain("ngrok accepted the key");
    expect(text).not.toContain(cloud.apiKey);
  });

  test("a key on the command line works, with a warning", async () => {
    const { code, err, out } = await ngrokd(`set-api-key ${cloud.apiKey}`);
    expect(code).toBe(0);
    expect(err).toContain("warning: a key on the command line is seen by other users");
    expect(out).toContain("ngrok accepted the key");
  });

  test("saving a key changes that value alone: comments, order and unknown keys stay", async () => {
    const text = `# mine\nserver: {ingress_ca: ${cloud.caFile}} # the CA\napi:\n  url: ${cloud.apiUrl}\n  key: 'old-key-of-mine' # from Alice\nmystery: 1\n`;
    writeFileSync("/run/mine.yml", text);
    expect(
      (
        await ngrokd("set-api-key - --config /run/mine.yml --socket /run/none.sock", {
          stdin: cloud.apiKey,
        })
      ).code,
    ).toBe(0);
    const saved = readFileSync("/run/mine.yml", "utf8");
    expect(saved.replace(/key: .*? #/, "key: KEY #")).toBe(
      text.replace(/key: .*? #/, "key: KEY #"),
    );
    expect(saved).toContain(cloud.apiKey);
    expect(statSync("/run/mine.yml").mode & 0o777).toBe(0o600);
  });

  test("every example of every --help is taken as it is typed", async () => {
    mkdirSync("/run/examples", { recursive: true });
    writeFileSync("/run/examples/ngrok-ca.crt", readFileSync(cloud.caFile));
    writeFileSync("/run/examples/key-file", cloud.apiKey);
    writeFileSync("/run/examples/config.yml", JSON.stringify(configFor(cloud)));
    for (const name of ["sudo", "code"]) {
      writeFileSync(`/run/bin/${name}`, name === "sudo" ? '#!/bin/sh\nexec "$@"\n' : "#!/bin/sh\n");
      chmodSync(`/run/bin/${name}`, 0o755);
    }
    const examples: string[] = [];
    for (const command of commands) {
      const { out } = await ngrokd(`${command} --help`);
      examples.push(
        ...(out.split("\nExamples\n")[1] ?? "")
          .split("\n")
          .flatMap((line) => /^ {2}\$ (.*)$/.exec(line)?.[1] ?? []),
      );
    }
    expect(examples.length).toBeGreaterThan(commands.length);
    const misread =
      /Unknown (?:command|flag)|Unexpected argument|needs a value|Missing <|is wrong|internal|bug in ngrokd/;
    await Promise.all(
      examples.map(async (example) => {
        // Commands that keep running are ended. The shell's own complaints
        // (127: not found) count as well.
        const { err, code } = await run(["timeout", "--signal=INT", "3", "sh", "-c", example], {
          cwd: "/run/examples",
          env: { VISUAL: "true", DEMO_ONCE: "1" },
        });
        expect({ example, misread: misread.exec(err)?.[0], notFound: code === 127 }).toEqual({
          example,
          misread: undefined,
          notFound: false,
        });
      }),
    );
  });

  test("after all that the daemon still serves", async () => {
    await daemon.refresh();
    const { pid } = await until("the daemon serves", async () => {
      const now = await daemon.status();
      return now.phase === "serving" && now;
    });
    expect(pid).toBe(daemon.pid);
  });
});

stories("a standard output that takes nothing", () => {
  test("is reported in one line on stderr, with its own exit code", async () => {
    for (const words of ["version", "config show --json", "--help"]) {
      const full = await run(["sh", "-c", `${binary()} ${words} >/dev/full`]);
      expect({ words, code: full.code, err: full.err }).toEqual({
        words,
        code: 7,
        err: "error: Cannot write the result to the standard output: no space left on device\n",
      });
    }
  });

  test("leaves an error to stderr, and its exit code", async () => {
    const { code, err } = await run(["sh", "-c", `${binary()} status --json >/dev/full`]);
    expect({ code, err }).toEqual({ code: 4, err: expect.stringContaining("No daemon answers") });
  });

  test("but a reader that has gone is no failure", async () => {
    const gone = await run([
      "bash",
      "-c",
      `${binary()} config show | true; echo "\${PIPESTATUS[0]}"`,
    ]);
    expect({ out: gone.out, err: gone.err }).toEqual({ out: "0\n", err: "" });
  });
});
