import { describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { FramedConn } from "../../src/net/framed.ts";
import type { Conn } from "../../src/net/types.ts";
import { splice } from "../../src/relay/splice.ts";
import { temporaryFolder } from "../machine/support.ts";
import { bytes, ending, later, net, pair, read } from "../support/conns.ts";

/** Two ends of a unix socket. */
async function plainPair(): Promise<readonly [near: Conn, far: Conn]> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "pair.sock");
  const accepted = Promise.withResolvers<Conn>();
  const listener = await net.listen({ path }, accepted.resolve);
  const near = await net.dial({ path });
  const far = await accepted.promise;
  listener.close();
  return [near, far];
}

async function framedPair(): Promise<readonly [FramedConn, FramedConn, near: Conn, far: Conn]> {
  const [near, far] = await plainPair();
  const [a, b] = [new FramedConn(near), new FramedConn(far)];
  for (const one of [a, b]) one.begin();
  return [a, b, near, far];
}

describe("a framed connection", () => {
  test("carries both directions, each to its own end", async () => {
    const [a, b] = await framedPair();
    await a.write(bytes("to the other side"));
    a.closeWrite();
    expect(await read(b)).toBe("to the other side");
    await b.write(bytes("and "));
    await b.write(bytes("back"));
    b.closeWrite();
    expect(await read(a)).toBe("and back");
    expect(await Promise.all([a.closed, b.closed])).toEqual([undefined, undefined]);
  });

  test("carries megabytes while its reader is slow, and loses no byte", async () => {
    const [a, b] = await framedPair();
    const sent = randomBytes(24 * 1024 * 1024);
    const writing = (async () => {
      for (let at = 0; at < sent.length; at += 1_000_003)
        await a.write(sent.subarray(at, at + 1_000_003));
      a.closeWrite();
    })();
    await later(50);
    const parts: Uint8Array[] = [];
    for (let part = await b.read(); part !== null; part = await b.read()) {
      parts.push(part);
      if (parts.length % 100 === 0) await later(1);
    }
    await writing;
    expect(Buffer.concat(parts).equals(sent)).toBe(true);
    b.close();
  });

  test("passes a reset as a reset, which a unix socket cannot", async () => {
    const [a, b] = await framedPair();
    await a.write(bytes("before"));
    expect(await read(b, 6)).toBe("before");
    a.abort();
    expect(await ending(b)).toBe("aborted");
    b.abort();
  });

  test("takes the end of the other process for a reset", async () => {
    const [a, b, near] = await framedPair();
    await a.write(bytes("half a stream"));
    near.close();
    expect(await ending(b)).toBe("aborted");
    b.abort();
  });

  test("does so in the midst of a frame, and at an unknown kind", async () => {
    const [near, far] = await plainPair();
    const b = new FramedConn(far);
    await near.write(Uint8Array.of(1, 0, 0, 5, 65, 66));
    near.close();
    expect(await ending(b)).toBe("aborted");
    const [other, end] = await plainPair();
    await other.write(Uint8Array.of(9, 0, 0, 0));
    expect(await ending(new FramedConn(end))).toBe("aborted");
    other.abort();
  });

  test("is read in any cut of its bytes", async () => {
    const [near, far] = await plainPair();
    const b = new FramedConn(far);
    const stream = [1, 0, 0, 3, 97, 98, 99, 1, 0, 0, 1, 100, 2, 0, 0, 0];
    const reading = read(b);
    for (const byte of stream) {
      await near.write(Uint8Array.of(byte));
      await later(1);
    }
    expect(await reading).toBe("abcd");
    near.close();
    b.close();
  });

  test("is spliced like any other, and closes when both halves have ended", async () => {
    const [a, b] = await framedPair();
    const [near, far] = await pair();
    const ended = splice(b, far);
    await a.write(bytes("question"));
    a.closeWrite();
    expect(await read(near)).toBe("question");
    await near.write(bytes("answer"));
    near.closeWrite();
    expect(await read(a)).toBe("answer");
    a.close();
    expect(await ended).toEqual({ kind: "finished" });
  });

  test("reset at its end, a splice resets the other side", async () => {
    const [a, b] = await framedPair();
    const [near, far] = await pair();
    const ended = splice(b, far);
    await a.write(bytes("x"));
    expect(await read(near, 1)).toBe("x");
    a.abort();
    expect(await ending(near)).toBe("aborted");
    expect((await ended).kind).toBe("aborted");
  });
});
