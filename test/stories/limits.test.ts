import { beforeAll, expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { footprint, untilItRests } from "../support/footprint.ts";
import { type Daemon, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { dial, echo, type Peer, upstream } from "../support/tcp.ts";

/** A connection that has carried bytes. */
async function talking(name: string, port: number): Promise<Peer> {
  const peer = await dial(name, port);
  await peer.write("x");
  expect(await peer.read(1)).toBe("x");
  return peer;
}

/**
 * Connects and returns the result. Some connections that are reset at once
 * never see that they were open.
 */
async function attempt(name: string, port: number): Promise<Peer | "reset"> {
  try {
    return await talking(name, port);
  } catch {
    return "reset";
  }
}

/** A connection that sends nothing, whatever becomes of it. */
async function idle(address: { host: string; port: number } | { path: string }): Promise<Socket> {
  const socket = connect(address);
  socket.on("error", () => socket.destroy());
  await new Promise((settled) => socket.once("connect", settled).once("close", settled));
  return socket;
}

const complaints = (daemon: Daemon): string[] =>
  daemon
    .lines()
    .flatMap(({ message }) => (message.includes("connections are reset at once") ? [message] : []));

stories("limits and deadlines", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  /**
   * Restarts the daemon with these settings, without waiting for the
   * connections of the test before.
   */
  async function restarted(forward: object, files?: number): Promise<void> {
    await daemon.stop();
    writeConfig(configFor(cloud, { forward: { drain_timeout: 0, open_timeout: 60, ...forward } }));
    daemon = await serve(files === undefined ? {} : { files });
  }

  beforeAll(async () => {
    ({ cloud, daemon } = await registered());
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await cloud.add("tcp://other.demo:7000", (await echo()).address);
  });

  test("an endpoint's limit resets the connections beyond it until one has gone", async () => {
    await restarted({ max_connections_per_endpoint: 2 });
    await daemon.becomes("echo.demo", "listening");
    await daemon.becomes("other.demo", "listening");
    const [first] = [await talking("echo.demo", 7000), await talking("echo.demo", 7000)];
    expect({
      first: await attempt("echo.demo", 7000),
      second: await attempt("echo.demo", 7000),
    }).toEqual({ first: "reset", second: "reset" });
    (await talking("other.demo", 7000)).end();
    await until("the log tells of it", () => complaints(daemon).length > 0);
    expect(complaints(daemon)).toEqual([
      "echo.demo:7000: new connections are reset at once: 2 connections to it are open, and forward.max_connections_per_endpoint allows no more",
    ]);
    const item = await daemon.endpoint("echo.demo");
    expect(item?.connections).toMatchObject({ active: 2, total: 4, errors: 2 });
    expect(item?.errors_by_kind).toMatchObject({ limit: 2, reset: 0 });
    first?.end();
    await until("the next gets in", async () => (await attempt("echo.demo", 7000)) !== "reset");
  });

  test("a half-closed connection is reset if nothing moves, and only then", async () => {
    await restarted({ half_close_timeout: 10 });
    await cloud.add("tcp://mute.demo:7000", (await upstream(() => undefined)).address);
    const slow = await upstream((socket) => {
      const timer = setInterval(() => socket.write("."), 100);
      socket.on("close", () => clearInterval(timer));
    });
    await cloud.add("tcp://slow.demo:7000", slow.address);
    await daemon.becomes("mute.demo", "listening");
    await daemon.becomes("slow.demo", "listening");
    const [mute, alive] = [await dial("mute.demo", 7000), await dial("slow.demo", 7000)];
    mute.end();
    alive.end();
    expect(await mute.left).toBe("reset");
    // The reset is sent before it is counted and logged.
    await until(
      "it is counted",
      async () => (await daemon.endpoint("mute.demo"))?.errors_by_kind.timeout === 1,
    );
    const text = "mute.demo:7000: a half-closed connection without traffic for 10 s was reset";
    await until("the log tells of it", () =>
      daemon.lines().some(({ message }) => message === text),
    );
    // These bytes take 20 seconds to arrive: twice the limit.
    expect((await alive.read(200)).length).toBe(200);
    alive.reset();
  });

  test("thousands of idle connections to health server and socket use up nothing", async () => {
    await restarted({ pool: { max: 4 } }, 400);
    await daemon.becomes("echo.demo", "listening");
    const before = readdirSync(`/proc/${daemon.pid}/fd`).length;
    for (let round = 0; round < 20; round += 1) {
      const here = await Promise.all([
        ...Array.from({ length: 50 }, () => idle({ host: "127.0.0.1", port: 8081 })),
        ...Array.from({ length: 50 }, () => idle({ path: daemon.socket })),
      ]);
      atEnd(() => here.forEach((socket) => void socket.destroy()));
    }
    expect(readdirSync(`/proc/${daemon.pid}/fd`).length - before).toBeLessThan(120);
    (await talking("echo.demo", 7000)).end();
    expect((await fetch("http://127.0.0.1:8081/healthz")).status).toBe(200);
    expect((await ngrokd("list")).out).toContain("echo.demo");
    await untilItRests(daemon.pid);
    expect((await daemon.endpoint("echo.demo"))?.errors_by_kind).toMatchObject({ limit: 0 });
  });

  test("too few descriptors: connections beyond them are reset, and nothing spins", async () => {
    await restarted({ pool: { max: 4 } }, 200);
    await daemon.becomes("echo.demo", "listening");
    const { limit } = (await daemon.status()).connections;
    expect(limit).toBeWithin(50, 60);
    const peers = await Promise.all(Array.from({ length: 120 }, () => attempt("echo.demo", 7000)));
    const open = peers.filter((peer) => peer !== "reset");
    expect(open.length).toBe(limit as number);
    await until("the log tells of it", () => complaints(daemon).length > 0);
    expect(complaints(daemon)).toEqual([
      "New connections are reset at once: the limit of open files allows no more open connections",
    ]);
    await untilItRests(daemon.pid);
    expect((await ngrokd("status")).out).toMatch(
      new RegExp(`^Connections: +${limit} open of at most ${limit}, `, "m"),
    );
    for (const peer of open) peer.end();
    await until("it is over", async () => (await daemon.status()).connections.active === 0);
    (await talking("echo.demo", 7000)).end();
    expect((await daemon.endpoint("echo.demo"))?.errors_by_kind).toMatchObject({
      limit: 120 - open.length,
      dial: 0,
    });
  });

  test("readers that are stuck hold little of the daemon if the memory is small", async () => {
    const memory = 64 * 1024 ** 2;
    const chunk = Buffer.alloc(256 * 1024);
    const pouring = await upstream((socket) => {
      const pour = (): void => {
        while (socket.write(chunk));
      };
      socket.on("drain", pour);
      pour();
    });
    await cloud.add("tcp://pouring.demo:7000", pouring.address);
    await withMemory(memory, async () => {
      await restarted({});
      const { ip } = await daemon.becomes("pouring.demo", "listening");
      expect((await daemon.status()).connections.limit).toBe(128);
      const before = footprint(daemon.pid);
      const readers: Socket[] = [];
      for (let i = 0; i < 120; i += 1) readers.push(await silentReader(ip, 7000));
      // The kernel chooses the buffers of the first eight.
      let [down, same] = [0, 0];
      await until(
        "all are stuck",
        async () => {
          const before = down;
          down = (await daemon.endpoint("pouring.demo"))?.bytes.down ?? 0;
          same = down > 0 && down === before ? same + 1 : 0;
          return same === 20;
        },
        { every: 100 },
      );
      const { rss } = footprint(daemon.pid);
      for (const reader of readers) reader.destroy();
      const each = (kib: number): number => Math.round(kib / readers.length);
      expect(each(down / 1024), "KiB read for each").toBeWithin(32, 900);
      expect(each(rss - before.rss), "KiB of memory for each").toBeLessThan(600);
    });
  });
});

/** This machine's control groups, with one limit for every process. */
async function withMemory(bytes: number, story: () => Promise<void>): Promise<void> {
  const groups = "/sys/fs/cgroup";
  const done = async (...words: string[]): Promise<void> =>
    expect((await run(words)).code, words.join(" ")).toBe(0);
  await done("mount", "-t", "tmpfs", "tmpfs", groups);
  try {
    writeFileSync(`${groups}/memory.max`, `${bytes}\n`);
    await story();
  } finally {
    await done("umount", groups);
  }
}

/** A client that connects and never reads. */
function silentReader(host: string, port: number): Promise<Socket> {
  return new Promise((connected, failed) => {
    const socket = connect({ host, port }, () => connected(socket));
    socket.pause();
    socket.once("error", failed);
  });
}
