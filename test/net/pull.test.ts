import { afterEach, describe, expect, jest, test } from "bun:test";
import fc from "fast-check";
import { NgrokdError } from "../../src/model/error.ts";
import { PullConn, type SocketVerbs } from "../../src/net/pull.ts";
import { lingerStep, lingerSteps } from "../../src/net/timeouts.ts";

/** A socket that takes a limited number of bytes, and records its calls. */
interface FakeSocket {
  room: number;
  gone: boolean;
  readonly taken: number[];
  readonly told: string[];
}

const verbs: SocketVerbs<FakeSocket> = {
  write(socket, bytes) {
    if (socket.gone) return null;
    if (socket.told.includes("shutdown")) throw new Error("written to after shutdown");
    const taken = Math.min(socket.room, bytes.length);
    socket.room -= taken;
    socket.taken.push(...bytes.subarray(0, taken));
    return taken === bytes.length ? undefined : bytes.subarray(taken);
  },
  pause: (socket) => void socket.told.push("pause"),
  resume: (socket) => void socket.told.push("resume"),
  shutdown: (socket) => void socket.told.push("shutdown"),
  terminate: (socket) => void socket.told.push("terminate"),
  release: (socket) => void socket.told.push("release"),
  limitBuffers: () => undefined,
  peer: () => undefined,
  local: () => ({ host: "127.0.0.1", port: 2 }),
};

function fake(room = Number.POSITIVE_INFINITY) {
  const socket: FakeSocket = { room, gone: false, taken: [], told: [] };
  const address = { host: "127.0.0.1", port: 1 };
  return { socket, conn: new PullConn(socket, verbs, address) };
}

const codeOf = async (work: () => unknown): Promise<string> => {
  try {
    return `went well: ${await work()}`;
  } catch (error) {
    return error instanceof NgrokdError ? error.code : String(error);
  }
};
const reset = Object.assign(new Error("reset"), { code: "ECONNRESET" });

afterEach(() => {
  jest.useRealTimers();
});

describe("PullConn", () => {
  test("returns all bytes in order and then the end, however reads interleave", async () => {
    const steps = fc.array(
      fc.oneof(fc.constant("read" as const), fc.uint8Array({ minLength: 1, maxLength: 5 })),
      { maxLength: 30 },
    );
    await fc.assert(
      fc.asyncProperty(steps, async (steps) => {
        const { conn, socket } = fake();
        const got: number[] = [];
        let reading: Promise<void> | undefined;
        const read = async () => got.push(...((await conn.read()) ?? []));
        for (const step of steps) {
          if (step !== "read") conn.received(step);
          else if (reading === undefined) reading = read().then(() => (reading = undefined));
          await Promise.resolve();
        }
        conn.theyFinished();
        await reading;
        for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read())
          got.push(...bytes);
        expect(got).toEqual(steps.flatMap((step) => (step === "read" ? [] : [...step])));
        // It is never paused twice, nor resumed while it runs.
        expect(socket.told.join(" ")).toMatch(/^(pause resume ?)*(pause)?$/);
      }),
    );
  });

  test("sends all bytes in order, and shuts down once after them", async () => {
    const blocks = fc.array(fc.uint8Array({ maxLength: 9 }), { maxLength: 8 });
    const rooms = fc.array(fc.nat(6), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(blocks, rooms, fc.boolean(), async (blocks, rooms, close) => {
        const { conn, socket } = fake(0);
        const writing = (async () => {
          for (const block of blocks) await conn.write(block);
          if (close) conn.close();
          conn.closeWrite();
          conn.closeWrite();
        })();
        for (const room of [...rooms, 1000]) {
          socket.room += room;
          conn.drained();
          conn.drained();
          for (let n = 0; n < 12; n++) await Promise.resolve();
        }
        await writing;
        expect(socket.taken).toEqual(blocks.flatMap((block) => [...block]));
        expect(socket.told).toEqual(["shutdown"]);
        conn.gone();
      }),
    );
  });

  test("shuts down after a write that waited at close(), which then settles", async () => {
    const { conn, socket } = fake(2);
    const writing = conn.write(Uint8Array.of(1, 2, 3));
    conn.close();
    expect(socket.told).toEqual([]);
    socket.room = 9;
    conn.drained();
    expect(socket.told).toEqual(["shutdown"]);
    await writing;
    conn.gone();
    await conn.closed;
  });

  test("pauses the socket with a large unread chunk, and resumes it for a read", () => {
    const { conn, socket } = fake();
    const large = new Uint8Array(5000);
    conn.received(large);
    conn.received(Uint8Array.of(2));
    expect(socket.told).toEqual(["pause"]);
    expect(conn.read()).toBe(large);
    expect(conn.read()).toEqual(Uint8Array.of(2));
    expect(socket.told).toEqual(["pause"]);
    expect(conn.read()).toBeInstanceOf(Promise);
    expect(socket.told).toEqual(["pause", "resume"]);
  });

  test("pauses the socket with the fourth of small unread chunks", () => {
    const { conn, socket } = fake();
    for (const byte of [1, 2, 3]) conn.received(Uint8Array.of(byte));
    expect(socket.told).toEqual([]);
    conn.received(Uint8Array.of(4));
    expect(socket.told).toEqual(["pause"]);
  });
});

describe("PullConn without promises", () => {
  test("calls a waiter for bytes, movement, room, the end and a failure", () => {
    const { conn, socket } = fake(1);
    const told: unknown[] = [];
    const waiter = {
      arrived: (bytes: Uint8Array | null) => told.push(bytes === null ? "end" : [...bytes]),
      drained: () => told.push("drained"),
      moved: () => told.push("moved"),
      failed: ({ code }: NgrokdError) => told.push(code),
    };
    expect(conn.readFor(waiter)).toBeUndefined();
    expect(conn.writeFor(Uint8Array.of(7, 8, 9), waiter)).toBe(false);
    conn.received(Uint8Array.of(1));
    conn.received(Uint8Array.of(2));
    expect(conn.readFor(waiter)).toEqual(Uint8Array.of(2));
    conn.drained();
    socket.room = 1;
    conn.drained();
    socket.room = 2;
    conn.drained();
    expect(conn.writeFor(Uint8Array.of(10), waiter)).toBe(true);
    expect(told).toEqual([[1], "moved", "drained"]);
    expect(conn.readFor(waiter)).toBeUndefined();
    conn.theyFinished();
    expect(conn.readFor(waiter)).toBeNull();
    socket.room = 0;
    expect(conn.writeFor(Uint8Array.of(11), waiter)).toBe(false);
    conn.gone(reset);
    expect(told).toEqual([[1], "moved", "drained", "end", "aborted"]);
    expect(() => conn.writeFor(Uint8Array.of(12), waiter)).toThrow("broke");
  });

  test("calls a watcher once when the socket is gone, and no replaced one", () => {
    const { conn } = fake();
    const told: string[] = [];
    const watcher = (name: string) => ({
      gone: (error?: NgrokdError) => told.push(`${name}: ${error?.code}`),
    });
    conn.watch(watcher("replaced"));
    conn.watch(watcher("last"));
    conn.abort();
    expect(told).toEqual([]);
    conn.gone();
    conn.gone();
    expect(told).toEqual(["last: cancelled"]);
    conn.watch(watcher("late"));
    conn.watch(undefined);
    expect(told).toEqual(["last: cancelled", "late: cancelled"]);
  });
});

describe("the end of a PullConn", () => {
  test("takes a refused write for a reset, and the end after it for none", async () => {
    const { conn, socket } = fake();
    const reading = codeOf(() => conn.read());
    socket.gone = true;
    expect(await codeOf(() => conn.write(Uint8Array.of(1)))).toBe("aborted");
    conn.theyFinished();
    conn.gone();
    expect(await reading).toBe("aborted");
    expect(socket.told).toEqual(["terminate"]);
    await conn.closed;
  });

  test("the same if the refusal meets a write that waited for room", async () => {
    const { conn, socket } = fake(1);
    const writing = codeOf(() => conn.write(Uint8Array.of(1, 2)));
    socket.gone = true;
    conn.drained();
    expect(await writing).toBe("aborted");
    conn.theyFinished();
    expect(socket.told).toEqual(["terminate"]);
  });

  test("what the peer sent before it refused a write is read, then the reset", async () => {
    const { conn, socket } = fake();
    const first = new Uint8Array(5000).fill(7);
    conn.received(first);
    socket.gone = true;
    expect(await codeOf(() => conn.write(Uint8Array.of(1)))).toBe("aborted");
    // The rest comes out of the kernel though nobody reads yet.
    conn.received(Uint8Array.of(8));
    expect(socket.told).toEqual(["pause", "resume"]);
    expect(await codeOf(() => conn.write(Uint8Array.of(2)))).toBe("aborted");
    conn.theyFinished();
    conn.gone();
    const read = [await conn.read(), await conn.read()];
    expect({ read, after: await codeOf(() => conn.read()), told: socket.told }).toEqual({
      read: [first, Uint8Array.of(8)],
      after: "aborted",
      told: ["pause", "resume", "terminate"],
    });
  });

  test("a socket gone without an error is an end only after our shutdown", async () => {
    const ended = fake();
    ended.conn.closeWrite();
    ended.conn.gone();
    expect(await ended.conn.read()).toBeNull();
    const broken = fake();
    broken.conn.gone();
    expect(await codeOf(() => broken.conn.read())).toBe("aborted");
    const cut = fake(0);
    const writing = codeOf(() => cut.conn.write(Uint8Array.of(1)));
    cut.conn.closeWrite();
    cut.conn.gone();
    expect(await writing).toBe("aborted");
  });

  test("the first failure counts, and comes after the received bytes", async () => {
    const { conn } = fake();
    conn.received(Uint8Array.of(7));
    conn.broke(
      Object.assign(
        new Error("error:1000045c:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA"),
        { code: "EPROTO" },
      ),
    );
    conn.gone(reset);
    expect(conn.read()).toEqual(Uint8Array.of(7));
    expect(await codeOf(() => conn.read())).toBe("tls");
    expect(await codeOf(() => conn.write(Uint8Array.of(1)))).toBe("tls");
  });

  test("a fault in a callback of ours ends its connection", async () => {
    const { conn, socket } = fake();
    conn.broke(new TypeError("x is not a function"));
    expect(socket.told).toEqual(["terminate"]);
    expect(await codeOf(() => conn.read())).toBe("aborted");
  });
});

describe("close() of a PullConn", () => {
  test("close() gives up on a peer that never finishes after one step without movement", () => {
    jest.useFakeTimers();
    const { conn, socket } = fake();
    conn.close();
    jest.advanceTimersByTime(lingerStep - 1);
    expect(socket.told).toEqual(["shutdown"]);
    jest.advanceTimersByTime(1);
    expect(socket.told).toEqual(["shutdown", "release"]);
    conn.gone();
  });

  test("close() waits longer while something moves, but not for ever", () => {
    jest.useFakeTimers();
    const { conn, socket } = fake();
    conn.close();
    for (let step = 0; step < lingerSteps; step++) {
      expect(socket.told).toEqual(["shutdown"]);
      conn.received(Uint8Array.of(1));
      jest.advanceTimersByTime(lingerStep);
    }
    expect(socket.told).toEqual(["shutdown", "release"]);
    conn.gone();
  });

  test("close() resets a peer that takes no written bytes, and fails the writer", async () => {
    jest.useFakeTimers();
    const { conn, socket } = fake(0);
    const writing = codeOf(() => conn.write(Uint8Array.of(1)));
    conn.close();
    jest.advanceTimersByTime(lingerStep);
    expect(socket.told).toEqual(["terminate"]);
    expect(await writing).toBe("aborted");
  });

  test("close() leaves no timer behind a socket that goes within shutdown()", () => {
    jest.useFakeTimers();
    const { conn, socket } = fake();
    const eager = new PullConn(socket, { ...verbs, shutdown: () => eager.gone() }, conn.remote);
    eager.theyFinished();
    eager.close();
    expect(jest.getTimerCount()).toBe(0);
  });
});
