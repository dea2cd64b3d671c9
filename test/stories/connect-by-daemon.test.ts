import { beforeAll, expect, test } from "bun:test";
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { binary, type Daemon, defaultConfig, type Ran, run, start } from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { dial, echo, upstream } from "../support/tcp.ts";
import { nobody, type User, userOf } from "../support/user.ts";
import { page } from "../support/web.ts";

const group = 5050;

/** ngrokd as a member of the group ngrokd, who has no key. */
const memberWords = (words: readonly string[]): string[] => [
  "setpriv",
  `--reuid=${nobody}`,
  `--regid=${nobody}`,
  `--groups=${group}`,
  binary(),
  ...words,
];
const memberHome = { env: { HOME: "/run/tmp/member" } };
const asMember = (words: readonly string[], stdin = ""): Promise<Ran> =>
  run(memberWords(words), { ...memberHome, stdin });

stories("a user who may use the daemon", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  let stranger: User;

  beforeAll(async () => {
    const groups = readFileSync("/etc/group");
    atEnd(() => writeFileSync("/etc/group", groups));
    appendFileSync("/etc/group", `ngrokd:x:${group}:\n`);
    ({ cloud, daemon } = await registered());
    await cloud.add("http://hello.demo", page("hello").address);
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await cloud.add("http://*.team.demo", page("a team").address);
    await daemon.becomes("echo.demo", "listening");
    await daemon.becomes("hello.demo", "listening");
    stranger = userOf(cloud);
  });

  test("needs no key: its identity and its ready connections are used", async () => {
    const before = (await daemon.status()).pool;
    const { out, err, code } = await asMember(["connect", "echo.demo", "--stdio"], "hello");
    expect({ out, err, code }).toEqual({ out: "hello", err: "", code: 0 });
    const after = (await daemon.status()).pool;
    expect(after.hits + after.misses).toBe(before.hits + before.misses + 1);
    expect(await cloud.operators()).toHaveLength(1);
    expect(existsSync("/run/tmp/member")).toBe(false);
    const ended = await until("its end is counted", async () => {
      const item = await daemon.endpoint("echo.demo");
      return item?.connections.active === 0 && item;
    });
    expect(ended.connections.total).toBe(1);
  });

  test("exec and wildcards go that way too", async () => {
    const seen = await asMember(["exec", "--", "curl", "-sS", "http://hello.demo/"]);
    expect(seen).toMatchObject({ out: "hello", err: "" });
    const flags = ["exec", "--net", "none"];
    const wild = await asMember([...flags, "--", "curl", "-sS", "http://x.team.demo/"]);
    expect(wild).toMatchObject({ out: "a team", err: "" });
    expect(await cloud.operators()).toHaveLength(1);
  });

  test("reaches an endpoint whose port another program of the machine has", async () => {
    const server = await upstream((socket) => socket.end("a banner\r\n"));
    await cloud.add("tcp://build.demo:22", server.address);
    await daemon.refresh();
    expect((await daemon.endpoint("build.demo"))?.state).not.toBe("listening");
    const { out, err } = await asMember(["connect", "build.demo:22", "--stdio"]);
    expect({ out, err }).toEqual({ out: "a banner\r\n", err: "" });
  });

  test("64 MiB arrive unchanged, and a reset stays a reset", async () => {
    const text = "0123456789abcdef".repeat(4 * 1024 * 1024);
    const { out } = await asMember(["connect", "echo.demo", "--stdio"], text);
    expect(out === text).toBe(true);
    const server = await upstream((socket) => socket.write("some bytes"));
    await cloud.add("tcp://resets.demo:7002", server.address);
    await daemon.becomes("resets.demo", "listening");
    const cut = start("a member", memberWords(["connect", "resets.demo", "--stdio"]), memberHome);
    await until("the bytes are there", () => cut.out() === "some bytes");
    for (const socket of server.open) socket.resetAndDestroy();
    expect({ code: await cut.exited, out: cut.out() }).toEqual({ code: 1, out: "some bytes" });
    expect(cut.log()).toContain("broke");
  });

  test("is kept out by access.rules, and told which", async () => {
    const { access: _, ...config } = configFor(cloud, {}) as Record<string, unknown>;
    const access = { rules: [{ endpoint: "echo.demo", users: ["root"] }] };
    writeFileSync(defaultConfig, JSON.stringify({ ...config, access }), { mode: 0o600 });
    expect((await daemon.reload()).ok).toBe(true);
    const { out, code, err } = await asMember(["connect", "echo.demo", "--stdio"], "hello");
    expect({ out, code }).toEqual({ out: "", code: 5 });
    expect(err).toContain("may not connect, since access.rules[1]");
    const root = await run([binary(), "connect", "echo.demo", "--stdio"], { stdin: "hello" });
    expect(root.out).toBe("hello");
  });

  test("a user outside the group uses an own identity, and so does --own", async () => {
    const { out } = await stranger.ngrokd(
      "connect hello.demo:80 --stdio",
      "GET / HTTP/1.0\r\n\r\n",
    );
    expect(out).toContain("hello");
    expect(readdirSync(join(stranger.home, ".local/state/ngrokd"))).toContain("operator_id");
    expect(await cloud.operators()).toHaveLength(2);
    const own = await asMember(["connect", "hello.demo:80", "--stdio", "--own"]);
    expect({ code: own.code, err: own.err }).toMatchObject({
      code: 2,
      err: expect.stringContaining("There is no API key"),
    });
  });

  test("an open connection ends with the daemon, after its drain time", async () => {
    const running = start("connect", [binary(), "connect", "echo.demo", "--listen", "7070"]);
    const peer = await until("the door is open", () => dial("127.0.0.1", 7070));
    await peer.write("hello");
    expect(await peer.read(5)).toBe("hello");
    const stopped = daemon.stop();
    daemon.kill("SIGTERM");
    expect(await stopped).toBe(3);
    expect(await peer.left).toBe("reset");
    expect(await running.stop("SIGINT")).toBe(0);
  });
});
