import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import { createPool, type PoolLimits, type PoolOptions } from "../../src/ingress/pool.ts";
import { NgrokdError } from "../../src/model/error.ts";
import type { Conn } from "../../src/net/types.ts";

/** A connection whose end the test controls. */
interface Fake extends Conn {
  readonly name: number;
  readonly reading: PromiseWithResolvers<Uint8Array | null>;
  fate: "open" | "closed" | "aborted";
}

let now = 0;
let made: Fake[] = [];
let failing = false;

function fake(): Fake {
  const reading = Promise.withResolvers<Uint8Array | null>();
  const address = { host: "127.0.0.1", port: 1 };
  const conn: Fake = {
    name: made.length,
    reading,
    fate: "open",
    remote: address,
    local: address,
    peer: undefined,
    closed: Promise.resolve(undefined),
    read: () => reading.promise,
    readFor: () => undefined,
    readNow: () => undefined,
    unread: () => undefined,
    write: () => undefined,
    writeFor: () => true,
    watch: () => undefined,
    closeWrite: () => undefined,
    limitBuffers: () => undefined,
    close() {
      conn.fate = "closed";
      reading.reject(new NgrokdError("cancelled", "closed"));
    },
    abort() {
      conn.fate = "aborted";
      reading.reject(new NgrokdError("cancelled", "aborted"));
    },
  };
  // A real connection rejects only a pending read.
  reading.promise.catch(() => undefined);
  made.push(conn);
  return conn;
}

const usual: PoolLimits = { min: 2, max: 8, idleTimeoutMs: 60_000 };
const poolOf = (limits: PoolLimits = usual, dial?: PoolOptions["dial"]) =>
  createPool({
    limits: () => limits,
    now: () => now,
    random: () => 0,
    dial:
      dial ??
      (async () => (failing ? Promise.reject(new NgrokdError("network", "refused")) : fake())),
  });

/** Lets time pass, and runs the work that it causes. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left >= 0; left -= 5) {
    for (let turn = 0; turn < 8; turn += 1) await Promise.resolve();
    if (left === 0) return;
    now += Math.min(5, left);
    jest.advanceTimersByTime(Math.min(5, left));
  }
}
const open = (): number[] => made.filter(({ fate }) => fate === "open").map(({ name }) => name);

beforeEach(() => {
  jest.useFakeTimers();
  [now, made, failing] = [1000, [], false];
});
afterEach(() => {
  jest.useRealTimers();
});

describe("createPool", () => {
  test("makes the minimum ready, and hands out the newest", async () => {
    const pool = poolOf();
    pool.prepare();
    await pass(5);
    expect({ idle: pool.idle, made: made.length }).toEqual({ idle: 2, made: 2 });
    expect(pool.take()?.conn).toBe(made[1]);
    expect(pool.idle).toBe(1);
    pool.close();
  });

  test("dials nothing if it is off", async () => {
    const pool = poolOf({ min: 0, max: 0, idleTimeoutMs: 60_000 });
    pool.prepare();
    expect(pool.take()).toBeUndefined();
    await pass(1000);
    expect(made).toEqual([]);
  });

  test("grows with a burst up to the maximum, and shrinks without demand", async () => {
    const pool = poolOf();
    pool.prepare();
    await pass(5);
    for (let i = 0; i < 20; i += 1) pool.take();
    await pass(500);
    expect(pool.idle).toBe(8);
    await pass(75_000);
    expect(pool.idle).toBe(2);
    pool.close();
  });

  test.each([
    { dialMs: 5, atOnce: 2 },
    { dialMs: 100, atOnce: 8 },
  ])("dials $atOnce at a time if a dial takes $dialMs ms", async ({ dialMs, atOnce }) => {
    const gates: PromiseWithResolvers<Conn>[] = [];
    const pool = poolOf({ ...usual, min: 30, max: 30 }, () => {
      const gate = Promise.withResolvers<Conn>();
      gates.push(gate);
      return gate.promise;
    });
    pool.prepare();
    for (let done = 0; done < 12; done += 1) {
      await pass(dialMs);
      gates.shift()?.resolve(fake());
    }
    await pass(0);
    expect(gates.length).toBe(atOnce);
    pool.close();
  });

  test("waits for a pause before it refills, but not at the low-water mark", async () => {
    const pool = poolOf({ ...usual, min: 8 });
    pool.prepare();
    await pass(5);
    pool.take();
    await pass(2);
    expect(made.length).toBe(8);
    await pass(5);
    expect(made.length).toBe(9);
    while (pool.take() !== undefined);
    await pass(0);
    jest.advanceTimersByTime(0);
    await pass(5);
    expect(pool.idle).toBe(8);
    pool.close();
  });

  test("does not let a steady demand put the refill off for ever", async () => {
    const pool = poolOf({ ...usual, min: 8 });
    pool.prepare();
    await pass(5);
    for (let i = 0; i < 100; i += 1) {
      pool.take();
      await pass(2);
    }
    expect(made.length).toBeGreaterThan(8);
    pool.close();
  });
});

describe("the patience of a pool", () => {
  test("replaces connections that were ready for too long", async () => {
    const pool = poolOf();
    pool.prepare();
    await pass(5);
    await pass(60_100);
    expect({ open: open(), idle: pool.idle }).toEqual({ open: [2, 3], idle: 2 });
    pool.close();
  });

  test("drops connections that the ingress closes, and learns its idle time", async () => {
    const pool = poolOf();
    pool.prepare();
    await pass(10_000);
    made[0]?.reading.resolve(null);
    await pass(100);
    expect(pool.patienceMs).toBeWithin(7001, 9000);
    expect(made.length).toBe(4);
    pool.close();
  });

  test("keeps connections longer again if the ingress had only restarted", async () => {
    const pool = poolOf();
    pool.prepare();
    await pass(1000);
    for (const one of [...made]) one.reading.resolve(null);
    await pass(1000);
    expect(pool.patienceMs).toBe(2000);
    await pass(3000);
    expect(pool.patienceMs).toBe(2500);
    await pass(600_000);
    expect(pool.patienceMs).toBe(60_000);
    pool.close();
  });

  test("grows no more patient for connections from before it learned", async () => {
    const pool = poolOf({ ...usual, min: 8 });
    pool.prepare();
    await pass(1000);
    made[0]?.reading.resolve(null);
    // The other seven end at once, since they are from an earlier time.
    await pass(1100);
    expect(pool.patienceMs).toBe(2000);
    pool.close();
  });

  test("keeps nothing that speaks before it was asked", async () => {
    const pool = poolOf();
    pool.prepare();
    await pass(5);
    made[1]?.reading.resolve(Uint8Array.of(1));
    await pass(5);
    expect(made[1]?.fate).toBe("closed");
    expect(pool.patienceMs).toBe(60_000);
    pool.close();
  });

  test("learns from one that proved dead in use, and drops the older ones with it", async () => {
    const pool = poolOf({ ...usual, min: 3 });
    pool.prepare();
    await pass(20_000);
    const dead = pool.take();
    if (dead === undefined) throw new Error("nothing ready");
    pool.provedDead(dead);
    expect(pool.idle).toBe(0);
    expect(Math.round(pool.patienceMs / 1000)).toBe(16);
    pool.close();
  });
});

describe("the setbacks of a pool", () => {
  test("tries less and less often while dials fail, and recovers", async () => {
    failing = true;
    let tries = 0;
    const pool = poolOf(usual, async () => {
      tries += 1;
      return failing ? Promise.reject(new Error("refused")) : fake();
    });
    pool.prepare();
    await pass(60_000);
    expect(tries).toBeWithin(4, 20);
    failing = false;
    await pass(31_000);
    expect(pool.idle).toBe(2);
    pool.close();
  });

  test("ends its rest when another dial has succeeded", async () => {
    failing = true;
    const pool = poolOf();
    pool.prepare();
    await pass(60_000);
    failing = false;
    const tried = made.length;
    await pass(100);
    expect({ tried, idle: pool.idle }).toEqual({ tried: 0, idle: 0 });
    pool.reached();
    await pass(100);
    expect(pool.idle).toBe(2);
    pool.close();
  });

  test.each([
    ["is closed", null, undefined],
    ["breaks with an alert", new NgrokdError("tls", "no certificate of ours"), "tls"],
  ])(
    "counts the connections in a row of which each %s, until one lasts",
    async (_how, end, code) => {
      let hangs = true;
      const pool = poolOf({ ...usual, min: 1 }, async () => {
        const conn = fake();
        if (!hangs) return conn;
        if (end === null) conn.reading.resolve(null);
        else conn.reading.reject(end);
        return conn;
      });
      pool.prepare();
      await pass(3000);
      expect(pool.hungUp.times).toBeWithin(3, 8);
      expect(pool.hungUp.error?.code as string | undefined).toBe(code);
      hangs = false;
      await pass(33_000);
      expect(pool.hungUp).toEqual({ times: 0, error: undefined });
      pool.close();
    },
  );

  test("does not know it any more once none are to be ready", async () => {
    const limits = { ...usual };
    const pool = poolOf(limits, async () => {
      const conn = fake();
      conn.reading.resolve(null);
      return conn;
    });
    pool.prepare();
    await pass(3000);
    expect(pool.wanting).toBe(true);
    expect(pool.hungUp.times).toBeGreaterThan(2);
    Object.assign(limits, { min: 0 });
    pool.prepare();
    await pass(10);
    expect(pool.wanting).toBe(false);
    expect(pool.hungUp.times).toBe(0);
    pool.close();
  });

  test("does not hammer an ingress that hangs up at once", async () => {
    const pool = poolOf(usual, async () => {
      const conn = fake();
      conn.reading.resolve(null);
      return conn;
    });
    pool.prepare();
    await pass(20_000);
    expect(made.length).toBeWithin(2, 30);
    pool.close();
  });
});

describe("a pool whose settings change", () => {
  test("starts again if all settings change", async () => {
    const pool = poolOf();
    pool.prepare();
    await pass(5);
    pool.discard();
    await pass(5);
    expect({ open: open(), idle: pool.idle }).toEqual({ open: [2, 3], idle: 2 });
    pool.close();
  });

  test("does not keep connections of the old settings", async () => {
    const gate = Promise.withResolvers<Conn>();
    const dials: (() => Promise<Conn>)[] = [() => gate.promise, () => gate.promise];
    const pool = poolOf(usual, () => (dials.shift() ?? (async () => fake()))());
    pool.prepare();
    await pass(5);
    pool.discard();
    const old = fake();
    gate.resolve(old);
    await pass(10);
    expect(old.fate).toBe("aborted");
    expect(pool.idle).toBe(2);
    pool.close();
  });

  test("keeps nothing after close", async () => {
    const pool = poolOf();
    pool.prepare();
    await pass(5);
    pool.close();
    await pass(60_000);
    expect(open()).toEqual([]);
    expect(pool.take()).toBeUndefined();
  });
});
