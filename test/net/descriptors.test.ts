import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { connectionRoom, descriptorLimit } from "../../src/net/descriptors.ts";
import { net } from "../support/conns.ts";

describe.skipIf(process.platform !== "linux")("descriptors", () => {
  test("leave room for connections of two sockets, besides listeners and what else there is", async () => {
    const room = connectionRoom(0);
    expect(room).toBeWithin(descriptorLimit() / 2 - 600, descriptorLimit() / 2);
    expect([connectionRoom(10), connectionRoom(2 * descriptorLimit())]).toEqual([room - 5, 0]);
    const listeners = await Promise.all(
      Array.from({ length: 4 }, () =>
        net.listen({ host: "127.0.0.1", port: 0 }, (conn) => conn.abort()),
      ),
    );
    expect(connectionRoom(0)).toBe(room - 2);
    for (const listener of [...listeners, ...listeners]) listener.close();
    expect(connectionRoom(0)).toBe(room);
  });

  test("are never used up: listeners get three fifths of them, newcomers are closed at once near the limit, and it is over when they are gone", async () => {
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
    // Two ends each, both here.
    expect(seen.together).toBeWithin(70, 76);
  });
});
