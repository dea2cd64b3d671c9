import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import { createQuietWatch, type Pulse, patient, type Silence } from "../../src/relay/quiet.ts";

const tickMs = 10;

const pulseOf = (tooQuiet: (silence: Silence) => void): Pulse => ({
  moved: false,
  halfClosed: true,
  limitMs: 0,
  quietMs: 0,
  tooQuiet,
});
const pass = (ms: number): void => void jest.advanceTimersByTime(ms);

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

describe("the watch for quiet connections", () => {
  test("reports once, after the limit and not before", () => {
    const told: Silence[] = [];
    const watch = createQuietWatch({ idleMs: 50, halfClosedMs: 0, tickMs });
    watch.begin(pulseOf((silence) => told.push(silence)));
    pass(50);
    expect(told).toEqual([]);
    pass(tickMs);
    expect(told).toEqual([{ halfClosed: false, limitMs: 50 }]);
    pass(200);
    expect(told).toHaveLength(1);
    // Without a connection to check, no timer runs.
    expect(jest.getTimerCount()).toBe(0);
  });

  test("has limits that may change, and those that count for a connection already go on", () => {
    const told: number[] = [];
    const limits = { idleMs: 0, halfClosedMs: 0, tickMs };
    const watch = createQuietWatch(limits);
    watch.begin(pulseOf(() => told.push(0)));
    limits.idleMs = 20;
    watch.begin(pulseOf(({ limitMs }) => told.push(limitMs)));
    limits.idleMs = 40;
    watch.begin(pulseOf(({ limitMs }) => told.push(limitMs)));
    pass(150);
    expect(told).toEqual([20, 40]);
  });

  test("keeps a connection that moves, however slowly, and reports when it stops", () => {
    const told: string[] = [];
    const watch = createQuietWatch({ idleMs: 60, halfClosedMs: 0, tickMs });
    const pulse = pulseOf(() => told.push("moving"));
    watch.begin(pulse);
    watch.begin(pulseOf(() => told.push("silent")));
    for (let i = 0; i < 15; i += 1) {
      pulse.moved = true;
      pass(60);
    }
    expect(told).toEqual(["silent"]);
    pass(tickMs);
    expect(told).toEqual(["silent", "moving"]);
  });

  test("has another limit for a half-closed connection, of which the shorter counts", () => {
    const ends = (idleMs: number, halfClosedMs: number): Silence | undefined => {
      let told: Silence | undefined;
      const watch = createQuietWatch({ idleMs, halfClosedMs, tickMs });
      const pulse = pulseOf((silence) => {
        told = silence;
      });
      watch.begin(pulse);
      watch.halfClosed(pulse);
      pass(120);
      watch.end(pulse);
      return told;
    };
    const silence = { halfClosed: true, limitMs: 30 };
    expect(ends(1000, 30)).toEqual(silence);
    expect(ends(30, 1000)).toEqual(silence);
    expect(ends(30, 0)).toEqual(silence);
    expect(ends(0, 0)).toBeUndefined();
  });

  test("forgets an ended connection, and watches later ones after a pause", () => {
    const told: string[] = [];
    const watch = createQuietWatch({ idleMs: 20, halfClosedMs: 20, tickMs });
    const ended = pulseOf(() => told.push("ended"));
    watch.begin(ended);
    watch.end(ended);
    pass(60);
    watch.begin(pulseOf(() => told.push("later")));
    pass(100);
    expect(told).toEqual(["later"]);
  });

  test("waits for ever without a limit", () => {
    const pulse = pulseOf(() => expect.unreachable("nothing is too quiet"));
    patient.begin(pulse);
    patient.halfClosed(pulse);
    pass(1_000_000);
    patient.end(pulse);
    expect(pulse.limitMs).toBe(Number.POSITIVE_INFINITY);
  });
});
