import { describe, expect, test } from "bun:test";
import type { AddressInfo } from "node:net";
import { createServer } from "node:tls";
import fc from "fast-check";
import { NgrokdError } from "../../src/model/error.ts";
import type { Conn, Waiter } from "../../src/net/types.ts";
import { createQuietWatch, type QuietWatch } from "../../src/relay/quiet.ts";
import { type SpliceEnd, splice, startSplice } from "../../src/relay/splice.ts";
import { bytes, ending, later, net, pair, read, scripted } from "../support/conns.ts";
import { issue, rootCa } from "../support/pki.ts";

const spliceWith = (a: Conn, b: Conn, quiet?: QuietWatch): Promise<SpliceEnd> =>
  new Promise((ended) => startSplice(a, b, { carried: () => undefined, ended }, quiet));

const broken = new NgrokdError("aborted", "gone");
const breaks = { read: () => Promise.reject(broken) };
const refuses = {
  write: () => {
    throw broken;
  },
};

/** Says one thing, and breaks where it is read again. */
const speaks = () => {
  const said = [bytes("x")];
  return { read: () => said.pop() ?? Promise.reject(broken) };
};

describe("splice", () => {
  test("hands on every byte of both directions in order, however they were cut", async () => {
    const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(
        chunks,
        chunks,
        fc.record({ up: fc.uint8Array({ maxLength: 9 }), down: fc.uint8Array({ maxLength: 9 }) }),
        fc.boolean(),
        async (up, down, first, promises) => {
          const a = scripted(up, "FIN", promises);
          const b = scripted(down, "FIN", !promises);
          a.unread(first.up);
          b.unread(first.down);
          const seen = { "a->b": Buffer.alloc(0), "b->a": Buffer.alloc(0) };
          const carried = (direction: keyof typeof seen, chunk: Uint8Array): void => {
            seen[direction] = Buffer.concat([seen[direction], chunk]);
          };
          const end = await new Promise((ended) => startSplice(a, b, { carried, ended }));
          expect(end).toEqual({ kind: "finished" });
          const sent = {
            "a->b": Buffer.concat([first.up, ...up]),
            "b->a": Buffer.concat([first.down, ...down]),
          };
          expect({ "a->b": Buffer.concat(b.written), "b->a": Buffer.concat(a.written) }).toEqual(
            sent,
          );
          expect(seen).toEqual(sent);
          expect({ a: a.fate, b: b.fate }).toEqual({ a: "closed", b: "closed" });
        },
      ),
    );
  });

  test.each([
    ["a's read fails", breaks, {}, "a"],
    ["b's read fails", {}, breaks, "b"],
    ["a's write fails", refuses, speaks(), "a"],
    ["b's write fails", speaks(), refuses, "b"],
  ] as const)("where %s, aborts both and names the side", async (_name, ofA, ofB, side) => {
    const a = Object.assign(scripted([], "silence"), ofA);
    const b = Object.assign(scripted([], "silence"), ofB);
    expect(await splice(a, b)).toEqual({ kind: "aborted", side, error: broken });
    expect({ a: a.fate, b: b.fate }).toEqual({ a: "aborted", b: "aborted" });
  });

  test("hands on what b has sent before it refused the bytes of a", async () => {
    const a = Object.assign(scripted([], "silence"), speaks());
    const b = Object.assign(scripted([bytes("413 "), bytes("too large")], "FIN"), refuses);
    expect(await splice(a, b)).toEqual({ kind: "aborted", side: "b", error: broken });
    const reply = Buffer.concat(a.written).toString();
    expect({ reply, a: a.fate, b: b.fate }).toEqual({
      reply: "413 too large",
      a: "aborted",
      b: "aborted",
    });
  });

  test("waits a moment for what b has sent before it refused the bytes of a", async () => {
    const a = scripted([bytes("x")], "silence");
    const reply = [null, bytes("too large"), bytes("413 ")];
    const slow = { read: () => later(20).then(() => reply.pop() ?? null) };
    const b = Object.assign(scripted([], "FIN"), refuses, slow);
    let taken = "";
    const write = (chunk: Uint8Array): void => {
      if (a.fate === "open") taken += Buffer.from(chunk).toString();
    };
    expect(await splice(Object.assign(a, { write }), b)).toMatchObject({ side: "b" });
    expect(taken).toBe("413 too large");
  });

  test("takes the reset of a server that had closed for normal, if both had ended", async () => {
    const ca = await rootCa();
    const server = createServer(await issue(ca, "t", { names: ["t"] }), (socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.end("answer", () => socket.destroy()));
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const { port } = server.address() as AddressInfo;
    const kinds: string[] = [];
    for (let n = 0; n < 5; n++) {
      const [client, a] = await pair();
      const tls = { serverName: "t", ca: [ca.cert] };
      const end = splice(a, await net.dial({ host: "127.0.0.1", port }, { tls }));
      await client.write(bytes("question"));
      expect(await client.read()).toEqual(bytes("answer"));
      expect(await client.read()).toBeNull();
      await later(20);
      client.closeWrite();
      kinds.push((await end).kind);
    }
    server.close();
    expect(kinds).toEqual(Array(5).fill("finished"));
  });

  test("names the client if it does not take the first bytes", async () => {
    const a = Object.assign(scripted([], "silence"), refuses);
    const b = scripted([], "silence");
    b.unread(bytes("hello"));
    expect(await splice(a, b)).toMatchObject({
      kind: "aborted",
      side: "a",
    });
    expect(b.fate).toBe("aborted");
  });
});

describe("the flow and the ends of a spliced pair", () => {
  test("slows a sender down to its reader, and loses no waiting bytes", async () => {
    const [[client, a], [b, server]] = await Promise.all([pair(), pair()]);
    const done = splice(a, b);
    const chunk = new Uint8Array(256 * 1024);
    let sent = 0;
    let full = false;
    while (!full) {
      const room = Promise.resolve(client.write(chunk));
      sent += chunk.length;
      full =
        (await Promise.race([room.then(() => "room"), later(100).then(() => "full")])) === "full";
      // Four kernel buffers and a chunk or two lie in between. If the number
      // grows without end, some part keeps all bytes.
      expect(sent).toBeLessThan(64 * 1024 * 1024);
      if (full) void room.then(() => client.closeWrite());
    }
    expect((await read(server)).length).toBe(sent);
    server.close();
    client.close();
    expect(await done).toEqual({ kind: "finished" });
  });

  test("passes on a reset from a side that has finished sending", async () => {
    const [[client, a], [b, server]] = await Promise.all([pair(), pair()]);
    const done = splice(a, b);
    await client.write(bytes("question"));
    client.closeWrite();
    expect(await read(server, 8)).toBe("question");
    expect(await server.read()).toBeNull();
    client.abort();
    expect(await done).toMatchObject({ kind: "aborted", side: "a" });
    expect((await server.closed)?.code).toBe("aborted");
  });

  test("ends when one side is aborted from outside while all wait for the other", async () => {
    const [[client, a], [b, server]] = await Promise.all([pair(), pair()]);
    const done = splice(a, b);
    client.closeWrite();
    expect(await ending(server)).toBe("FIN");
    a.abort();
    expect(await done).toMatchObject({ kind: "aborted", side: "a" });
  });

  test("hands on the bytes before a reset", async () => {
    const [[client, a], [b, server]] = await Promise.all([pair(), pair()]);
    const arrived = Promise.withResolvers<void>();
    const done = new Promise<SpliceEnd>((ended) =>
      startSplice(a, b, { carried: () => arrived.resolve(), ended }),
    );
    await server.write(bytes("the last words"));
    await arrived.promise;
    server.abort();
    expect(await read(client, 14)).toBe("the last words");
    expect(await done).toMatchObject({ kind: "aborted", side: "b" });
  });

  test("ends only when both directions have, each in its own time", async () => {
    const [[client, a], [b, server]] = await Promise.all([pair(), pair()]);
    const done = splice(a, b);
    client.closeWrite();
    expect(await ending(server)).toBe("FIN");
    expect(await Promise.race([done, later(20).then(() => "still going")])).toBe("still going");
    await server.write(bytes("reply"));
    server.closeWrite();
    expect(await read(client)).toBe("reply");
    client.close();
    server.close();
    expect(await done).toEqual({ kind: "finished" });
  });
});

describe("the silence of a spliced pair", () => {
  test("resets both ends if nothing moves in either direction for too long", async () => {
    const [[client, a], [b, server]] = await Promise.all([pair(), pair()]);
    const done = spliceWith(a, b, createQuietWatch({ idleMs: 60, halfClosedMs: 0, tickMs: 10 }));
    for (let i = 0; i < 6; i += 1) {
      await later(20);
      await server.write(bytes("x"));
      expect(await read(client, 1)).toBe("x");
    }
    const endings = Promise.all([ending(client), ending(server)]);
    expect(await done).toEqual({ kind: "silent", halfClosed: false, limitMs: 60 });
    expect(await endings).toEqual(["aborted", "aborted"]);
  });

  test("does not take a large chunk for a slow reader for silence", async () => {
    const a = scripted([bytes("all of it")], "silence");
    const b = scripted([], "silence");
    let reader: Waiter | undefined;
    b.writeFor = (_bytes, waiter) => {
      reader = waiter;
      return false;
    };
    const abort = b.abort;
    b.abort = () => {
      abort();
      reader?.failed(broken);
    };
    const done = spliceWith(a, b, createQuietWatch({ idleMs: 60, halfClosedMs: 0, tickMs: 10 }));
    for (let i = 0; i < 10; i += 1) {
      await later(20);
      reader?.moved();
    }
    expect({ a: a.fate, b: b.fate }).toEqual({ a: "open", b: "open" });
    expect(await done).toEqual({ kind: "silent", halfClosed: false, limitMs: 60 });
  });

  test("bounds the silence of a half-closed pair by its own limit, from the FIN on", async () => {
    const [[client, a], [b, server]] = await Promise.all([pair(), pair()]);
    const done = spliceWith(a, b, createQuietWatch({ idleMs: 0, halfClosedMs: 60, tickMs: 10 }));
    await later(100);
    client.closeWrite();
    expect(await ending(server)).toBe("FIN");
    for (let i = 0; i < 6; i += 1) {
      await later(20);
      await server.write(bytes("x"));
      expect(await read(client, 1)).toBe("x");
    }
    expect(await done).toEqual({ kind: "silent", halfClosed: true, limitMs: 60 });
    expect(await ending(client)).toBe("aborted");
    await server.closed;
    expect(() => server.write(bytes("x"))).toThrow("broke");
  });
});
