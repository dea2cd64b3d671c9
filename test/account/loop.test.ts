import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import fc from "fast-check";
import { delayAfter, type PassEnd, startLoop } from "../../src/account/loop.ts";
import { NgrokdError } from "../../src/model/error.ts";

const ok: PassEnd = { kind: "ok" };
const failed = (error: unknown = new Error("no")): PassEnd => ({ kind: "failed", error });
const limited = (retryAfterMs: unknown): PassEnd =>
  failed(new NgrokdError("rate-limited", "slow down", { details: { retryAfterMs } }));

describe("delayAfter", () => {
  test.each([
    ["success: the interval", ok, 0, 30_000],
    ["a doubt: soon", { kind: "confirm" }, 0, 2000],
    ["nothing to do: until kicked", { kind: "idle" }, 0, undefined],
    ["the first failure: a second", failed(), 1, 1000],
    ["the second: two", failed(), 2, 2000],
    ["the ninth: four minutes", failed(), 9, 256_000],
    ["the tenth and all later ones: five minutes", failed(), 10, 300_000],
    ["a failure after weeks of them", failed(), 1_000_000, 300_000],
    ["a rate limit with a time: that, and the jitter on top", limited(90_000), 1, 91_000],
    ["a rate limit with less time than the backoff", limited(500), 3, 4500],
    ["a rate limit that asks for a week: an hour", limited(604_800_000), 1, 3_601_000],
    ["a rate limit with nonsense: as one without a time", limited("soon"), 1, 11_000],
    ["a rate limit with a negative time", limited(-5), 1, 11_000],
    ["a rate limit without a time: ten seconds", limited(undefined), 1, 11_000],
    [
      "a time that comes with another refusal",
      failed(new NgrokdError("api", "no", { details: { retryAfterMs: 90_000 } })),
      1,
      91_000,
    ],
    ["a refused key: soon once", failed(new NgrokdError("unauthorized", "no")), 1, 1000],
    [
      "a key that is refused again: minutes",
      failed(new NgrokdError("unauthorized", "no")),
      2,
      240_000,
    ],
  ] as const)("after %s", (_name, end, failures, delay) => {
    expect(delayAfter(end, failures, 30_000, 1)).toBe(delay as number);
  });

  test("a doubt does not wait for longer than the interval", () => {
    expect(delayAfter({ kind: "confirm" }, 0, 1000, 0)).toBe(1000);
  });

  test("is 0.1 s to the limit, and never before the time that ngrok names", () => {
    fc.assert(
      fc.property(
        fc.nat(40),
        fc.float({ min: 0, max: 1, noNaN: true }),
        fc.nat(3_600_000),
        (failures, random, asked) => {
          const full = Number(delayAfter(failed(), failures + 1, 1, 1));
          expect(delayAfter(failed(), failures + 1, 1, random)).toBeCloseTo(
            Math.max(100, full * random),
            3,
          );
          expect(delayAfter(limited(asked), failures + 1, 1, random)).toBeGreaterThanOrEqual(asked);
          expect(delayAfter(limited(undefined), failures + 1, 1, random)).toBeGreaterThanOrEqual(
            10_000,
          );
        },
      ),
    );
  });
});

describe("startLoop", () => {
  withFakeTimers();

  test("begins at once, goes on at the interval, and reads the interval each time", async () => {
    let interval = 30_000;
    const { loop, passes, end, wait } = staged({ intervalMs: () => interval });
    expect(passes()).toBe(1);
    await end(ok);
    await wait(29_999);
    expect(passes()).toBe(1);
    await wait(1);
    expect(passes()).toBe(2);
    interval = 5000;
    await end(ok);
    await wait(5000);
    expect(passes()).toBe(3);
    await end(ok);
    await loop.stop();
  });

  test("backs off while passes fail, and forgets it with the first that succeeds", async () => {
    const { loop, passes, end, wait } = staged();
    for (const [i, delay] of [1000, 2000, 4000, 8000].entries()) {
      await end(failed());
      await wait(delay - 1);
      expect(passes()).toBe(i + 1);
      await wait(1);
      expect(passes()).toBe(i + 2);
    }
    await end(ok);
    await wait(30_000);
    await end(failed());
    await wait(1000);
    expect(passes()).toBe(7);
    await end(ok);
    await loop.stop();
  });

  test("shows the time of the next pass, and the failures in a row", async () => {
    const { loop, end, wait } = staged();
    const told = (): object => {
      const { failures, next } = loop.schedule;
      return { failures, inMs: next && next.wall.getTime() - Date.now() };
    };
    expect(told()).toEqual({ failures: 0, inMs: undefined });
    await end(failed());
    expect(told()).toEqual({ failures: 1, inMs: 1000 });
    await wait(1000);
    expect(told()).toEqual({ failures: 1, inMs: undefined });
    await end(failed());
    expect(told()).toEqual({ failures: 2, inMs: 2000 });
    await wait(2000);
    await end({ kind: "idle" });
    expect(told()).toEqual({ failures: 0, inMs: undefined });
    await loop.stop();
  });

  test("sleeps until a kick if there is nothing to do", async () => {
    const { loop, passes, end, wait } = staged();
    await end({ kind: "idle" });
    await wait(86_400_000);
    expect(passes()).toBe(1);
    void loop.kick();
    await wait(0);
    expect(passes()).toBe(2);
    await end(ok);
    await loop.stop();
  });
});

describe("a kick", () => {
  withFakeTimers();

  test("a kick wakes it, and settles with the pass that it asked for", async () => {
    const { loop, passes, end, wait } = staged();
    await end(ok);
    const kicked = settled(loop.kick());
    await wait(0);
    expect(passes()).toBe(2);
    expect(kicked()).toBe(false);
    await end(failed());
    expect(kicked()).toBe(true);
    // The kick has stopped this timer for good.
    await wait(999);
    expect(passes()).toBe(2);
    await wait(1);
    expect(passes()).toBe(3);
    await end(ok);
    await loop.stop();
  });

  test("any number of kicks during a pass mean one more, and passes never overlap", async () => {
    const { loop, passes, end, wait, overlapped } = staged();
    const kicks = [loop.kick(), loop.kick(), loop.kick()].map(settled);
    await wait(0);
    expect(passes()).toBe(1);
    await end(failed());
    // The requested pass has begun, and has not ended.
    expect(passes()).toBe(2);
    expect(kicks.some((kick) => kick())).toBe(false);
    const late = settled(loop.kick());
    await end(ok);
    expect(passes()).toBe(3);
    expect(kicks.every((kick) => kick())).toBe(true);
    expect(late()).toBe(false);
    await end(ok);
    expect(passes()).toBe(3);
    expect(late()).toBe(true);
    expect(overlapped()).toBe(false);
    await loop.stop();
  });
});

describe("the end of a loop", () => {
  withFakeTimers();

  test("stop() aborts the running pass, waits for it, and lets no other begin", async () => {
    const { loop, passes, end, wait, signal } = staged();
    const waiting = settled(loop.kick());
    expect(signal().aborted).toBe(false);
    const stopped = settled(loop.stop());
    await wait(60_000);
    expect(signal().aborted).toBe(true);
    expect(stopped()).toBe(false);
    expect(waiting()).toBe(false);
    await end(ok);
    expect(stopped()).toBe(true);
    expect(waiting()).toBe(true);
    expect(passes()).toBe(1);
    await loop.kick();
    await wait(600_000);
    expect(passes()).toBe(1);
    expect(jest.getTimerCount()).toBe(0);
    await loop.stop();
  });

  test("stop() ends a sleep, with a timer and without", async () => {
    for (const kind of ["ok", "idle"] as const) {
      const { loop, end, passes } = staged();
      await end({ kind });
      await loop.stop();
      expect(passes()).toBe(1);
      expect(jest.getTimerCount()).toBe(0);
    }
  });
});

describe("a kick, whatever happens", () => {
  withFakeTimers();

  test("serves every kick with a pass that began after it, whatever happens when", async () => {
    const step = fc.constantFrom("kick", "ok", "failed", "idle", "confirm", "wait", "wait");
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { loop, passes, end, wait, running, overlapped } = staged();
        const open: { after: number; done: () => boolean }[] = [];
        for (const what of steps) {
          if (what === "kick") open.push({ after: passes(), done: settled(loop.kick()) });
          else if (what === "wait") await wait(1500);
          else if (running()) await end(what === "failed" ? failed() : { kind: what });
          const finished = passes() - (running() ? 1 : 0);
          for (const { after, done } of open) if (done()) expect(finished).toBeGreaterThan(after);
        }
        await wait(0);
        while (running()) await end({ kind: "idle" });
        expect(open.every(({ done }) => done())).toBe(true);
        expect(overlapped()).toBe(false);
        await loop.stop();
      }),
    );
  });
});

/**
 * A loop whose passes end when the test decides. After failures it always waits
 * for the longest time.
 */
function staged({ intervalMs = () => 30_000 }: { intervalMs?: () => number } = {}) {
  let count = 0;
  let current: { end: (end: PassEnd) => void; signal: AbortSignal } | undefined;
  let latest = new AbortController().signal;
  let overlapped = false;
  const loop = startLoop({
    intervalMs,
    random: () => 1,
    pass: (signal) => {
      count += 1;
      overlapped ||= current !== undefined;
      latest = signal;
      const { promise, resolve } = Promise.withResolvers<PassEnd>();
      current = { end: resolve, signal };
      return promise;
    },
  });
  return {
    loop,
    passes: () => count,
    running: () => current !== undefined,
    overlapped: () => overlapped,
    signal: () => latest,
    async end(end: PassEnd) {
      const ending = current;
      current = undefined;
      ending?.end(end);
      await turns();
    },
    async wait(ms: number) {
      jest.advanceTimersByTime(ms);
      await turns();
    },
  };
}

/** Whether a promise has settled. */
function settled(promise: Promise<unknown>): () => boolean {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  return () => done;
}

/** Runs everything that only waits for promises. */
async function turns(): Promise<void> {
  for (let i = 0; i < 10; i += 1) await Promise.resolve();
}

function withFakeTimers(): void {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());
}
