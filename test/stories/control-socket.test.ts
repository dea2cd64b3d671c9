import { beforeAll, expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createConnection } from "node:net";
import { type Cloud, registered } from "../support/cloud.ts";
import {
  askSocket,
  binary,
  type Daemon,
  defaultSocket,
  examine,
  ngrokd,
  run,
  serve,
  tellSocket,
} from "../support/ngrokd.ts";
import { atEnd, freshMachine, stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

let cloud: Cloud;
let daemon: Daemon;

const stillAnswers = async (): Promise<void> =>
  expect(await askSocket(defaultSocket, { command: "status" })).toMatchObject({ success: true });

const begin = async () => {
  ({ cloud, daemon } = await registered());
  await cloud.add("http://hello.demo", page("hello").address, { name: "hello" });
  await daemon.becomes("hello.demo", "listening");
};

stories("the control socket, as clients of the Go program use it", () => {
  beforeAll(begin);

  test("status", async () => {
    const [operator] = await cloud.operators();
    expect(await askSocket(defaultSocket, '{"command":"status"}')).toMatchObject({
      success: true,
      data: {
        registered: true,
        operator_id: operator?.id,
        endpoint_count: 1,
        ingress_endpoint: cloud.ingress,
      },
    });
  });

  test("list", async () => {
    const { success, data } = await askSocket(defaultSocket, '{"command":"list"}');
    expect(success).toBe(true);
    expect(data).toHaveLength(1);
    expect(data[0]).toMatchObject({
      hostname: "hello.demo",
      ip: "127.0.0.2",
      port: 80,
      url: "http://hello.demo",
      local_listener: true,
      network_port: 0,
      listen_interface: "virtual",
      wildcard: false,
      wildcard_suffix: "",
      shared_listener_key: "",
    });
    expect(data[0].id).toStartWith("ep_");
    expect(Object.keys(data[0])).not.toContain("last_activity");
  });

  test("set-api-key with a wrong key and with none", async () => {
    for (const args of [["wrong"], [""], [], null]) {
      const { success, error } = await askSocket(defaultSocket, { command: "set-api-key", args });
      expect({ success, errorType: typeof error }).toEqual({ success: false, errorType: "string" });
    }
    expect((await daemon.status()).registered).toBe(true);
  });

  test("set-api-key with a right one", async () => {
    const { success, data } = await askSocket(defaultSocket, {
      command: "set-api-key",
      args: [cloud.apiKey],
    });
    expect({ success, dataType: typeof data }).toEqual({ success: true, dataType: "string" });
  });

  test.each([
    ["no JSON", "hello\n"],
    ["half of it, and a line end", '{"command":\n'],
    ["another value", "[1, 2]\n"],
    ["no command", "{}"],
    ["an unknown command", '{"command":"selfdestruct"}'],
    ["a command that is a name of JavaScript's", '{"command":"__proto__"}'],
    ["arguments of the wrong kind", '{"command":"list","args":[1]}'],
    ["control characters", "\u0000\u0001\u0002\n"],
  ])("nonsense (%s) gets an error with the reason", async (_what, text) => {
    const { success, error } = await askSocket(defaultSocket, text);
    expect(success).toBe(false);
    expect(error.length).toBeGreaterThan(10);
    await stillAnswers();
  });
});

stories("clients of the control socket that are rude or many", () => {
  beforeAll(begin);

  test("a request of more than 64 KiB is refused", async () => {
    const { success, error } = await askSocket(
      defaultSocket,
      `{"command":"${"x".repeat(70_000)}"}`,
    );
    expect({ success, error }).toEqual({
      success: false,
      error: "The request is larger than 64 KiB",
    });
    await stillAnswers();
  });

  test("a client that never finishes its request is cut after 5 s, and delays no other", async () => {
    const started = performance.now();
    const slow = tellSocket(defaultSocket, '{"command":').catch(() => "");
    await stillAnswers();
    expect(await slow).toBe("");
    // Not before its time. A busy machine may well be late.
    expect(performance.now() - started).toBeGreaterThan(4500);
  });

  test("clients that leave before the answer do no harm", async () => {
    for (let i = 0; i < 20; i += 1) createConnection(defaultSocket, function (this: { destroy(): void }) { this.destroy(); }); // biome-ignore format: one line
    await stillAnswers();
  });

  test("requests at the same time each get their own answer", async () => {
    const replies = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        askSocket(defaultSocket, { command: i % 2 === 0 ? "status" : "list" }),
      ),
    );
    for (const [i, { data }] of replies.entries()) expect(Array.isArray(data)).toBe(i % 2 === 1);
  });

  test("the socket is for its owner and group alone", async () => {
    const { mode, uid } = statSync(defaultSocket);
    expect({ mode: (mode & 0o777).toString(8), uid }).toEqual({ mode: "660", uid: 0 });
    const { code, err } = await ngrokd("status", { as: "nobody" });
    expect(code).toBe(5);
    expect(err).toBe(
      [
        `error: Cannot use the control socket "${defaultSocket}": permission denied`,
        'hint:  use sudo, or join the group "ngrokd": `sudo ngrokd service install --group-add nobody`, and log in again',
        "",
      ].join("\n"),
    );
  });

  test("a second daemon refuses with the first one's pid and exit code 6", async () => {
    const hosts = readFileSync("/etc/hosts", "utf8");
    const second = await ngrokd("serve");
    expect(second.code).toBe(6);
    expect(second.err).toContain(
      `Another daemon (pid ${daemon.pid}) is already running on the control socket "${defaultSocket}"`,
    );
    expect(second.err).toContain("hint:  stop it first");
    expect(readFileSync("/etc/hosts", "utf8")).toBe(hosts);
    await stillAnswers();
  });

  test("a second daemon with a socket and a state of its own may run beside it", async () => {
    const config = JSON.parse(readFileSync("/etc/ngrokd/config.yml", "utf8"));
    config.server = {
      ...config.server,
      client_cert: "/run/story/tls.crt",
      client_key: "/run/story/tls.key",
      health_port: "any",
    };
    writeFileSync("/run/second.yml", JSON.stringify(config));
    writeFileSync("/run/second-hosts", "");
    const second = await serve({
      args: "--config /run/second.yml --socket /run/second.sock",
      socket: "/run/second.sock",
      env: { NGROKD_HOSTS_PATH: "/run/second-hosts" },
    });
    const { ip } = await second.becomes("hello.demo", "listening");
    expect(ip).not.toBe((await daemon.becomes("hello.demo", "listening")).ip);
    expect((await ngrokd("list --socket /run/second.sock --json")).json[0].ip).toBe(ip);
    expect(
      (await ngrokd("list --json", { env: { NGROKD_SOCKET: "/run/second.sock" } })).json[0].ip,
    ).toBe(ip);
    expect(await second.stop()).toBe(0);
  });
});

stories("the control socket's place", () => {
  test("in a folder that others may write there is none, and no command asks one", async () => {
    await registered();
    mkdirSync("/run/shared");
    chmodSync("/run/shared", 0o1777);
    for (const words of ["serve", "status", "set-api-key key-of-mine"]) {
      const { code, err } = await ngrokd(`${words} --socket /run/shared/s`);
      expect({ words, code, err }).toEqual({
        words,
        code: 5,
        err: expect.stringContaining(
          'every user may write in the folder "/run/shared" (mode 1777)',
        ),
      });
    }
    expect(readdirSync("/run/shared")).toEqual([]);
  });
});

stories("the control socket's life", () => {
  const leave = "/run/ngrokd.sock";

  test("a socket that a dead daemon left behind is taken over", async () => {
    const { daemon } = await registered();
    await daemon.stop("SIGKILL");
    expect(existsSync(leave)).toBe(true);
    expect((await ngrokd("status")).code).toBe(4);
    const next = await serve();
    await until("the log tells of it", () => next.log().includes("of a daemon that has ended"));
    expect(await next.stop()).toBe(0);
  });

  test("something that is no socket is never taken over", async () => {
    writeFileSync(leave, "precious");
    const { code, err } = await ngrokd("serve");
    expect(code).toBe(1);
    expect(err).toContain(
      `Cannot open the control socket "${defaultSocket}": something that is not a socket has this name`,
    );
    expect(readFileSync(leave, "utf8")).toBe("precious");
    rmSync(leave);
  });

  test("if the machine has a group ngrokd, its members may use it", async () => {
    const groups = readFileSync("/etc/group");
    atEnd(() => writeFileSync("/etc/group", groups));
    appendFileSync("/etc/group", "ngrokd:x:4242:\n");
    const daemon = await serve();
    expect(statSync(defaultSocket).gid).toBe(4242);
    const asMember = [
      "setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--groups=4242",
      binary(),
      "health",
      "--json",
    ];
    const { healthy } = (await run(asMember)).json;
    expect(healthy).toBe(true);
    expect((await ngrokd("health", { as: "nobody" })).code).toBe(5);
    expect(await daemon.stop()).toBe(0);
    expect(existsSync(leave)).toBe(false);
  });

  test("with `server.socket_read: all` every user may ask, and change nothing", async () => {
    freshMachine();
    const { cloud, daemon } = await registered({ config: { server: { socket_read: "all" } } });
    expect((statSync(defaultSocket).mode & 0o777).toString(8)).toBe("666");
    for (const words of ["status", "list", "health", "list --json", "wait"]) {
      const { code, err } = await ngrokd(words, { as: "nobody" });
      expect({ words, code, err }).toEqual({ words, code: 0, err: "" });
    }
    for (const words of ["refresh", "reload", "refresh-cert --force", "set-api-key -"]) {
      const { code, err } = await ngrokd(words, { as: "nobody", stdin: "another-key" });
      const operation = words.split(" ")[0];
      expect({ words, code, first: err.split("\n")[0] }).toEqual({
        words,
        code: 5,
        first: `error: This user may ask the daemon, and not change it: "${operation}" is refused`,
      });
    }
    const { of } = await examine("doctor --json").then(({ json }) => ({
      of: (check: string) => json.findings.filter((one: { check: string }) => one.check === check),
    }));
    expect(of("socket")).toMatchObject([{ level: "ok" }]);
    expect((await ngrokd("refresh")).code).toBe(0);
    expect((await daemon.status()).registered).toBe(true);
    expect(await daemon.stop()).toBe(0);
    await cloud.stop();
  });

  test("without root the daemon names the reasons for root", async () => {
    freshMachine();
    const { code, err } = await ngrokd("serve", { as: "nobody" });
    expect(code).toBe(5);
    expect(err).toContain(
      "hint:  run the daemon as root, or name another path with --socket or `server.socket_path`",
    );
  });
});
