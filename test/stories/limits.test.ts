import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { registered } from "../support/cloud.ts";
import { type Daemon, ngrokd } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { dial, echo, type Peer, upstream } from "../support/tcp.ts";

/** A connection that has proved to carry bytes. */
async function talking(name: string, port: number): Promise<Peer> {
  const peer = await dial(name, port);
  await peer.write("x");
  expect(await peer.read(1)).toBe("x");
  return peer;
}

/** Connects and says how that went: some of those that are reset at once never notice that they were connected. */
async function attempt(name: string, port: number): Promise<Peer | "reset"> {
  try {
    return await talking(name, port);
  } catch {
    return "reset";
  }
}

const complaints = (daemon: Daemon): string[] =>
  daemon.lines().flatMap(({ message }) => (message.includes("connections are reset at once") ? [message] : []));

stories("limits and deadlines", () => {
  test("an endpoint's limit resets one connection too many at once, says so once, and lets the next in when one has gone", async () => {
    const { cloud, daemon } = await registered({ config: { forward: { max_connections_per_endpoint: 2, half_close_timeout: 1 } } });
    await cloud.add("tcp://few.demo:7000", (await echo()).address);
    await cloud.add("tcp://free.demo:7000", (await echo()).address);
    await daemon.becomes("few.demo", "listening");
    await daemon.becomes("free.demo", "listening");
    const [first] = [await talking("few.demo", 7000), await talking("few.demo", 7000)];
    expect([await attempt("few.demo", 7000), await attempt("few.demo", 7000)]).toEqual(["reset", "reset"]);
    (await talking("free.demo", 7000)).end();
    expect(complaints(daemon)).toEqual([
      "few.demo:7000: new connections are reset at once: 2 connections to it are open, and forward.max_connections_per_endpoint allows no more",
    ]);
    const few = await daemon.endpoint("few.demo");
    expect(few?.connections).toMatchObject({ active: 2, total: 4, errors: 2 });
    expect(few?.errors_by_kind).toMatchObject({ limit: 2, reset: 0 });
    first?.end();
    await until("the next gets in", async () => (await attempt("few.demo", 7000)) !== "reset");
    await daemon.stop();
  });

  test("a half-closed connection on which nothing moves is reset, and one on which something does is not", async () => {
    const { cloud, daemon } = await registered({ config: { forward: { half_close_timeout: 1 } } });
    await cloud.add("tcp://mute.demo:7000", (await upstream(() => undefined)).address);
    const slow = await upstream((socket) => {
      const timer = setInterval(() => socket.write("."), 300);
      socket.on("close", () => clearInterval(timer));
    });
    await cloud.add("tcp://slow.demo:7000", slow.address);
    await daemon.becomes("mute.demo", "listening");
    await daemon.becomes("slow.demo", "listening");
    const [mute, alive] = [await dial("mute.demo", 7000), await dial("slow.demo", 7000)];
    mute.end();
    alive.end();
    expect(await mute.left).toBe("reset");
    expect((await daemon.endpoint("mute.demo"))?.errors_by_kind).toMatchObject({ timeout: 1 });
    expect(daemon.lines().map(({ message }) => message)).toContain(
      "mute.demo:7000: a half-closed connection on which nothing moved for 1 s was reset",
    );
    expect((await alive.read(5)).length).toBe(5);
    alive.reset();
    await daemon.stop();
  });

  test("too few descriptors: connections beyond them are reset, nothing spins, and it is over when they have gone", async () => {
    const { cloud, daemon } = await registered({ files: 200, config: { forward: { pool: { max: 4 } } } });
    await cloud.add("tcp://many.demo:7000", (await echo()).address);
    await daemon.becomes("many.demo", "listening");
    const { limit } = (await daemon.status()).connections;
    expect(limit).toBeWithin(60, 75);
    const peers = await Promise.all(Array.from({ length: 120 }, () => attempt("many.demo", 7000)));
    const open = peers.filter((peer) => peer !== "reset");
    expect(open.length).toBe(limit as number);
    expect(complaints(daemon)).toEqual([
      "New connections are reset at once: as many connections are open as the limit of open files has room for",
    ]);
    const before = cpuSeconds(daemon.pid);
    const since = performance.now();
    await until("half a second is over", () => performance.now() - since > 500);
    expect(cpuSeconds(daemon.pid) - before).toBeLessThan(0.3);
    expect((await ngrokd("status")).out).toMatch(new RegExp(`^Connections: +${limit} open of at most ${limit}, `, "m"));
    for (const peer of open) peer.end();
    await until("it is over", async () => (await daemon.status()).connections.active === 0);
    (await talking("many.demo", 7000)).end();
    expect((await daemon.endpoint("many.demo"))?.errors_by_kind).toMatchObject({ limit: 120 - open.length, dial: 0 });
  });
});

/** User and system time, as the kernel counts them. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
