import { describe, expect, test } from "bun:test";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Io, Tree } from "../../src/cli/command.ts";
import { commands } from "../../src/cli/commands.ts";
import { exitCodeOf } from "../../src/cli/exit-codes.ts";
import { runCli } from "../../src/cli/run.ts";
import { createApi } from "../../src/cloud/api.ts";
import { identityPaths, register } from "../../src/cloud/registration.ts";
import { startControlServer } from "../../src/control/server.ts";
import type { ApiKey } from "../../src/model/api-key.ts";
import { errorCodes, NgrokdError } from "../../src/model/error.ts";
import { silentLog } from "../../src/model/log.ts";
import { createSay } from "../../src/terminal/say.ts";
import { version } from "../../src/version.ts";
import { temporaryFolder } from "../machine/support.ts";
import { net } from "../support/conns.ts";
import { fakeNgrok } from "../support/fake-api.ts";
import { item, sink, status } from "./support.ts";

describe("finding the command", () => {
  test.each([
    "version --json",
    "--json version",
    "--socket /x --json version",
    "--json --config x version",
    "--socket=/x version --json",
    "version --socket /x --json",
    "version --config=-x --json",
    "version --json --debug",
  ])("ngrokd %s", async (line) => {
    const { code, out, err } = await run(line);
    expect({ code, version: JSON.parse(out).version, err }).toEqual({ code: 0, version, err: "" });
  });

  test.each([
    ["stauts", 'Unknown command "stauts"', "did you mean `ngrokd status`?"],
    ["frobnicate", 'Unknown command "frobnicate"', "`ngrokd --help` lists the commands"],
    ["constructor", 'Unknown command "constructor"', "`ngrokd --help` lists the commands"],
    ["start", 'Unknown command "start"', "did you mean `ngrokd service start`?"],
    ["edit", 'Unknown command "edit"', "did you mean `ngrokd config edit`?"],
    ["run", 'Unknown command "run"', "did you mean `ngrokd serve`?"],
    ["config run", 'Unknown command "config run"', "`ngrokd config --help` lists the commands"],
    ["config shwo", 'Unknown command "config shwo"', "did you mean `ngrokd config show`?"],
    ["--socket status", "", ""],
    [
      "config",
      "`ngrokd config` needs one of: check, show, edit, path, init",
      "`ngrokd config --help` explains them",
    ],
    [
      "version --jsn",
      'Unknown flag "--jsn"',
      "did you mean --json? `ngrokd version --help` shows the usage",
    ],
    ["version -x", 'Unknown flag "-x"', "did you mean -h? `ngrokd version --help` shows the usage"],
    [
      "version --frobnicate=yes",
      'Unknown flag "--frobnicate"',
      "`ngrokd version --help` shows the usage",
    ],
    ["version extra", 'Unexpected argument "extra"', "`ngrokd version --help` shows the usage"],
    ["version -", 'Unexpected argument "-"', "`ngrokd version --help` shows the usage"],
    [
      "version --socket",
      'The flag "--socket" needs a value',
      "`ngrokd version --help` shows the usage",
    ],
    ["--socket", 'The flag "--socket" needs a value', "`ngrokd --help` shows the usage"],
    [
      "version --socket=",
      'The flag "--socket" needs a value',
      "`ngrokd version --help` shows the usage",
    ],
    [
      "version --debug=yes",
      'The flag "--debug" takes no value',
      "`ngrokd version --help` shows the usage",
    ],
    [
      "--verison",
      'Unknown flag "--verison"',
      "did you mean --version? `ngrokd --help` shows the usage",
    ],
    [
      "config --jsn",
      'Unknown flag "--jsn"',
      "did you mean --json? `ngrokd config --help` shows the usage",
    ],
    ["pause", "Missing <host>: A host name, or '*.ZONE'", "`ngrokd pause --help` shows the usage"],
  ])("ngrokd %s gets the error and the probable meaning", async (line, message, hint) => {
    const { code, out, err } = await run(line);
    if (message === "") return expect({ code, err }).toEqual({ code: 0, err: "" });
    expect({ code, out, err }).toEqual({
      code: 2,
      out: "",
      err: `error: ${message}\nhint:  ${hint}\n`,
    });
  });

  test("quotes words of more than one line, and words that move the cursor", async () => {
    const said = async (line: string): Promise<string> =>
      (await run(line)).err.split("\n")[0] ?? "";
    expect(await said("a\nb")).toBe('error: Unknown command "a\\nb"');
    expect(await said("version --a\nb")).toBe('error: Unknown flag "--a\\nb"');
    expect(await said("version a\u001bb")).toBe('error: Unexpected argument "a\\u001bb"');
  });

  test("an error is one JSON value on stdout with --json, and nothing else is", async () => {
    const { code, out, err } = await run("--json stauts");
    expect({ code, err }).toEqual({ code: 2, err: "" });
    expect(JSON.parse(out)).toEqual({
      error: {
        code: "usage",
        message: 'Unknown command "stauts"',
        hint: "did you mean `ngrokd status`?",
      },
    });
  });
});

describe("help", () => {
  test("ngrokd alone, with --help or -h shows every command within 80 columns", async () => {
    const [bare, long, short] = await Promise.all(["", "--help", "-h"].map((line) => run(line)));
    expect({ code: bare?.code, long, short }).toEqual({ code: 0, long: bare, short: bare });
    for (const word of Object.keys(commands)) expect(bare?.out).toContain(`\n  ${word} `);
    expect(widest(bare?.out ?? "")).toBeLessThanOrEqual(80);
  });

  test.each(leaves(commands))(
    "ngrokd %s --help shows usage, flags and examples, without colour",
    async (line) => {
      const { code, out, err } = await run(`${line} --frobnicate -h`);
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(out).toMatch(
        new RegExp(`\nUsage  ngrokd ${line}(?: [<[]\\w+…?[>\\]])* \\[flags\\]\n`),
      );
      for (const part of [
        "\nFlags of every command\n",
        "--json",
        "--socket <path>",
        "-h, --help",
        "\nExamples\n  $ ",
      ])
        expect(out).toContain(part);
      expect(out).toContain(`ngrokd ${line}`);
      expect(out).not.toContain("\x1b");
    },
  );

  test("a group's help lists its commands", async () => {
    const { code, out } = await run("config --help");
    expect(code).toBe(0);
    expect(out).toContain("Usage  ngrokd config <command> [flags]");
    expect(out).toContain("\n  check ");
  });

  test.each(["--version", "-v"])("ngrokd %s prints one line", async (flag) => {
    expect(await run(flag)).toEqual({ code: 0, out: `ngrokd ${version}\n`, err: "" });
  });
});

test("every error code has an exit code of its kind, faults of ours too", () => {
  const codes = Object.fromEntries(
    errorCodes
      .map((code) => [code, exitCodeOf(new NgrokdError(code, "no"))])
      .filter(([, exit]) => exit !== 1),
  );
  expect(codes).toEqual({
    usage: 2,
    config: 2,
    "not-running": 4,
    permission: 5,
    "already-running": 6,
    output: 7,
  });
  expect(exitCodeOf(new TypeError("x"))).toBe(1);
});

describe("a client of the daemon", () => {
  test("says that none runs, as text and as JSON, with its own exit code", async () => {
    for (const line of ["status", "list", "health", "refresh", "reload"]) {
      expect(await run(`${line} --socket /nowhere/s`)).toEqual({
        code: 4,
        out: "",
        err:
          'error: No daemon answers on the control socket "/nowhere/s"\n' +
          "hint:  start it with `sudo ngrokd service start` or `sudo ngrokd serve`, " +
          "or name its socket with --socket or NGROKD_SOCKET\n",
      });
    }
    expect(JSON.parse((await run("status --json --socket /nowhere/s")).out)).toMatchObject({
      error: { code: "not-running" },
    });
  });

  test("finds the socket by flag, and by NGROKD_SOCKET", async () => {
    await using daemon = await daemonThat({
      health: { healthy: true, ready: true, reason: "", address: "http://127.0.0.1:8081/" },
    });
    const text =
      "Healthy:        yes\nReady:          yes\nHealth server:  http://127.0.0.1:8081/\n";
    expect(await run(`health --socket ${daemon.path}`)).toEqual({ code: 0, out: text, err: "" });
    expect(await run("health", { NGROKD_SOCKET: daemon.path })).toEqual({
      code: 0,
      out: text,
      err: "",
    });
  });

  test.each([
    [
      { healthy: true, ready: false, reason: "no key" },
      "Healthy:        yes\nReady:          no: no key\n",
    ],
    [{ healthy: false, ready: true, reason: "" }, "Healthy:        no\nReady:          yes\n"],
  ])("health is an exit code too: %j", async (report, text) => {
    await using daemon = await daemonThat({ health: { ...report, address: "not listening" } });
    const { code, out } = await run(`health --socket ${daemon.path}`);
    expect({ code, out }).toEqual({ code: 1, out: `${text}Health server:  not listening\n` });
    expect(await run(`health --json --socket ${daemon.path}`)).toMatchObject({ code: 1, err: "" });
  });

  test("status and list print JSON as the daemon sent it", async () => {
    await using daemon = await daemonThat({ status: status(), list: [item("a")] });
    expect(JSON.parse((await run(`status --json --socket ${daemon.path}`)).out)).toEqual(status());
    expect(JSON.parse((await run(`list --json --socket ${daemon.path}`)).out)).toEqual([item("a")]);
  });

  test("list says why it is empty, and warns on stderr of an unverified ingress", async () => {
    await using daemon = await daemonThat({
      status: status({ reason: "no key", hint: "set one", insecure_skip_verify: true }),
      list: [],
    });
    expect(await run(`list --socket ${daemon.path}`)).toEqual({
      code: 0,
      out: "No endpoints. The daemon is not serving: no key\nhint: set one\n",
      err:
        "warning: the ingress's certificate is NOT verified (server.insecure_skip_verify): " +
        "anyone on the network path can read and change the traffic\n",
    });
  });

  test("passes on the daemon's error, with code and hint", async () => {
    await using daemon = await daemonThat({});
    expect(await run(`status --socket ${daemon.path}`)).toEqual({
      code: 5,
      out: "",
      err: "error: not for you\nhint:  ask root\n",
    });
  });

  test("does not understand the Go program's status, and shows why with --debug", async () => {
    await using daemon = await daemonThat({ status: { registered: true, operator_id: 7 } });
    const { code, out, err } = await run(`status --debug --socket ${daemon.path}`);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toStartWith(
      'error: Cannot understand the daemon\'s answer to "status"\n' +
        "hint:  it seems to be of another version",
    );
    expect(err).toContain("operator_id");
  });
});

describe("wait", () => {
  const ready = { healthy: true, ready: true, reason: "", address: "" };

  test("ends with 0 and the addresses if the names are served", async () => {
    await using daemon = await daemonThat({ health: ready, list: [item("a"), item("b")] });
    const at = `--socket ${daemon.path}`;
    expect(await run(`wait ${at}`)).toEqual({ code: 0, out: "The daemon is ready.\n", err: "" });
    expect(await run(`wait a.demo http://b.demo/ ${at}`)).toEqual({
      code: 0,
      out: "http://a.demo is served on 127.0.0.2:80\nhttp://b.demo is served on 127.0.0.2:80\n",
      err: "",
    });
    expect(JSON.parse((await run(`wait --json a.demo:80 ${at}`)).out)).toMatchObject({
      ready: true,
      endpoints: [{ url: "http://a.demo", hostname: "a.demo", ip: "127.0.0.2", port: 80 }],
    });
  });

  test("waits for missing names", async () => {
    const replies: Record<string, unknown> = { health: ready, list: [] };
    await using daemon = await daemonThat(replies);
    const waiting = run(`wait a.demo --socket ${daemon.path}`);
    await Bun.sleep(400);
    replies.list = [item("a")];
    expect(await waiting).toMatchObject({ code: 0, err: "" });
  });

  test.each([
    ["wait", "Not served yet: the daemon is not ready: no key"],
    ["wait b.demo", "Not served yet: no endpoint has the name b.demo: no key"],
  ])("`%s --timeout 0` asks once, and ends with 1 and the reason", async (line, message) => {
    const health = { ...ready, ready: false, reason: "no key" };
    await using daemon = await daemonThat({ health, list: [item("a")] });
    expect(await run(`${line} --timeout 0 --socket ${daemon.path}`)).toEqual({
      code: 1,
      out: "",
      err: `error: ${message}\nhint:  \`ngrokd status\` and \`ngrokd why NAME\` show more\n`,
    });
  });

  test("ends with 4 if no daemon has come", async () => {
    const { code, err } = await run("wait --timeout 0.5 --socket /nowhere/s");
    expect({ code, first: err.split("\n")[0] }).toEqual({
      code: 4,
      first: 'error: Waited 0.5 s in vain: No daemon answers on the control socket "/nowhere/s"',
    });
  });

  test("does not wait if time cannot help", async () => {
    await using daemon = await daemonThat({});
    expect(await run(`wait --socket ${daemon.path}`)).toMatchObject({
      code: 5,
      err: "error: not for you\nhint:  ask root\n",
    });
    for (const line of [
      "wait a..b",
      "wait --timeout soon",
      "wait --timeout -1",
      "wait x.demo 1.2.3.400",
    ])
      expect({ line, code: (await run(`${line} --socket /nowhere/s`)).code }).toEqual({
        line,
        code: 2,
      });
  });
});

describe("a client that changes the daemon", () => {
  test("shows each problem of a configuration that was refused on its own line", async () => {
    const problem = {
      kind: "wrong-value",
      source: "/c.yml",
      line: 3,
      column: 8,
      key: "server.log_level",
      message: "it is loud",
    };
    const reload = {
      ok: false,
      config_path: "/c.yml",
      changes: [],
      problems: [problem],
      warnings: [{ ...problem, message: "it is odd" }],
    };
    await using daemon = await daemonThat({ reload });
    expect(await run(`reload --socket ${daemon.path}`)).toEqual({
      code: 1,
      out: "",
      err:
        "warning: /c.yml:3:8: it is odd\n" +
        'error: The configuration "/c.yml" was not applied, and nothing has changed:\n' +
        "  /c.yml:3:8: it is loud\n" +
        "hint:  correct it, for example with `ngrokd config edit`: " +
        "the daemon then applies it by itself\n",
    });
    const { code, out, err } = await run(`reload --json --socket ${daemon.path}`);
    expect({ code, out: JSON.parse(out), err }).toEqual({ code: 1, out: reload, err: "" });
  });

  test("refresh prints the result, and fails as the poll did", async () => {
    const good = { ok: true, reason: "", hint: "", took_ms: 12, endpoint_count: 1 };
    await using daemon = await daemonThat({ refresh: good });
    expect(await run(`refresh --socket ${daemon.path}`)).toEqual({
      code: 0,
      out: "Polled ngrok in 12 ms: 1 endpoint.\n",
      err: "",
    });
    const bad = { ...good, ok: false, reason: "no route", hint: "wait" };
    await using unlucky = await daemonThat({ refresh: bad });
    expect(await run(`refresh --socket ${unlucky.path}`)).toEqual({
      code: 1,
      out: "",
      err: "error: The poll failed: no route\nhint:  wait\n",
    });
    const json = await run(`refresh --json --socket ${unlucky.path}`);
    expect({ code: json.code, out: JSON.parse(json.out) }).toEqual({ code: 1, out: bad });
  });
});

describe("set-api-key without a daemon", () => {
  test("keeps a key of this machine's account, and refuses one of another", async () => {
    await using ngrok = await fakeNgrok();
    await using folder = await temporaryFolder();
    const file = join(folder.path, "config.yml");
    const server = {
      client_cert: join(folder.path, "tls.crt"),
      client_key: join(folder.path, "tls.key"),
      socket_path: join(folder.path, "sock"),
    };
    await writeFile(file, JSON.stringify({ api: { url: ngrok.url }, server }), { mode: 0o600 });
    const host = { hostname: "box", os: "linux", arch: "x64", version };
    const api = createApi({ url: ngrok.url, key: "a-good-api-key" as ApiKey, userAgent: "test" });
    await register({ api, paths: identityPaths(server), facts: { selectors: ["true"] }, host });

    expect(await run(`set-api-key a-good-api-key --config ${file}`)).toMatchObject({ code: 0 });
    const text = await readFile(file, "utf8");
    expect(text).toContain("a-good-api-key");
    ngrok.operators.clear();
    const { code, err } = await run(`set-api-key a-key-of-another-account --config ${file}`);
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringContaining(
        'error: This key does not know this machine\'s operator "k8sop_1"',
      ),
    });
    expect(await readFile(file, "utf8")).toBe(text);
  });
});

/** Runs a command line, split at spaces, as in a pipe. */
async function run(line: string, env: Io["env"] = {}) {
  const argv = line.split(" ").filter((word) => word !== "");
  const out = sink();
  const err = sink();
  const say = createSay({
    json: argv.includes("--json"),
    debug: argv.includes("--debug"),
    out,
    err,
    env,
  });
  const signal = new AbortController().signal;
  const code = await runCli(argv, {
    net,
    say,
    env,
    stop: signal,
    hurry: signal,
    onHangUp: () => {},
  });
  return { code, out: out.text, err: err.text };
}

/** A daemon that knows these replies, and refuses everything else. */
async function daemonThat(replies: Record<string, unknown>) {
  const folder = await temporaryFolder();
  const path = join(folder.path, "s");
  const server = await startControlServer({
    net,
    path,
    group: "",
    log: silentLog,
    async handle({ command }) {
      if (!Object.hasOwn(replies, command))
        throw new NgrokdError("permission", "not for you", { hint: "ask root" });
      return replies[command];
    },
  });
  return {
    path,
    async [Symbol.asyncDispose]() {
      await server.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function leaves(tree: Tree, path: string[] = []): string[] {
  return Object.entries(tree).flatMap(([word, { of }]) =>
    typeof of === "function" ? [[...path, word].join(" ")] : leaves(of, [...path, word]),
  );
}

const widest = (text: string): number => Math.max(...text.split("\n").map((line) => line.length));
