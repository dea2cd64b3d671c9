import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { createBunNet } from "../../src/net/bun.ts";
import { createDescriptorAccount } from "../../src/net/descriptors.ts";

describe("an account of descriptors", () => {
  const address = { host: "127.0.0.1", port: 80 };
  const opened = () => ({ close: () => undefined });

  test("refuses accepted sockets before dialed ones, and counts only those", () => {
    const account = createDescriptorAccount(() => 80);
    // The reserve is 10 here.
    for (let n = 0; n < 60; n += 1) expect(account.take("accept")).toBe(true);
    expect(account.take("accept")).toBe(false);
    expect(account.turnedAway).toBe(1);
    for (let n = 61; n < 70; n += 1) expect(account.take("dial")).toBe(true);
    expect(account.take("dial")).toBe(false);
    expect(account.turnedAway).toBe(1);
    for (let n = 0; n < 12; n += 1) account.give();
    expect(account.take("accept")).toBe(true);
  });

  test("shares nothing with another account", () => {
    const [one, other] = [createDescriptorAccount(() => 80), createDescriptorAccount(() => 80)];
    for (let n = 0; n < 61; n += 1) one.take("accept");
    expect(other.take("accept")).toBe(true);
    expect({ one: one.turnedAway, other: other.turnedAway }).toEqual({ one: 1, other: 0 });
  });

  test("counts no listener that could not be opened, and each close once", async () => {
    const account = createDescriptorAccount(() => 80);
    const failure = new Error("no such address");
    await expect(account.counted(address, () => Promise.reject(failure))).rejects.toBe(failure);
    expect(account.room(0)).toBe(25);
    const listeners = await Promise.all(
      Array.from({ length: 10 }, () => account.counted(address, opened)),
    );
    expect(account.room(0)).toBe(20);
    listeners[0]?.close();
    listeners[0]?.close();
    expect(account.room(1)).toBe(20);
  });

  test("refuses listeners beyond their share, and has no bound without a limit", async () => {
    const small = createDescriptorAccount(() => 5);
    for (let n = 0; n < 3; n += 1) await small.counted(address, opened);
    await expect(small.counted(address, opened)).rejects.toMatchObject({
      details: { errno: "EMFILE" },
    });
    const unbounded = createDescriptorAccount(() => Number.POSITIVE_INFINITY);
    expect(unbounded.take("accept")).toBe(true);
    expect(unbounded.room(1000)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe.skipIf(process.platform !== "linux")("descriptors", () => {
  test("leave room for connections of two sockets, beside listeners and reserves", async () => {
    const net = createBunNet();
    const { limit, room } = net.descriptors;
    const atFirst = room(0);
    expect(atFirst).toBeWithin(limit / 2 - 600, limit / 2);
    expect(room(10)).toBe(atFirst - 5);
    expect(room(2 * limit)).toBe(0);
    const listeners = await Promise.all(
      Array.from({ length: 4 }, () =>
        net.listen({ host: "127.0.0.1", port: 0 }, (conn) => conn.abort()),
      ),
    );
    expect(room(0)).toBe(atFirst - 2);
    for (const listener of [...listeners, ...listeners]) listener.close();
    expect(room(0)).toBe(atFirst);
  });

  test("are never used up by listeners and new connections, and are free again", async () => {
    const script = `ulimit -n 200 && exec "${process.execPath}" "${join(import.meta.dirname, "descriptors.child.ts")}"`;
    const child = Bun.spawn(["sh", "-c", script], { stdout: "pipe", stderr: "inherit" });
    const seen = JSON.parse(await child.stdout.text());
    expect(seen).toMatchObject({
      limit: 200,
      roomAtFirst: Math.floor((200 - 75) / 2),
      most: 120,
      refusal: "this process has too many open files",
      roomAmongListeners: Math.floor((200 - 75 - 120) / 2),
      roomAgain: Math.floor((200 - 75 - 1) / 2),
      heard: 1,
      awayAfter: 0,
    });
    expect(seen.away).toBeGreaterThan(0);
    // Each connection has two ends, and both are here.
    expect(seen.together).toBeWithin(70, 76);
  });
});
