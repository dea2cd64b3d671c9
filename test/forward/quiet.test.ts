import { describe, expect, test } from "bun:test";
import { createQuietWatch, type Pulse, patient, type Silence } from "../../src/forward/quiet.ts";
import { later } from "../support/conns.ts";

const tickMs = 10;

const pulseOf = (tooQuiet: (silence: Silence) => void): Pulse => ({ moved: false, halfClosed: true, limitMs: 0, quietMs: 0, tooQuiet });

describe("the watch for quiet connections", () => {
  test("tells once, after the limit and not before", async () => {
    const told: Silence[] = [];
    const watch = createQuietWatch({ idleMs: 50, halfClosedMs: 0, tickMs });
    const since = performance.now();
    let after = 0;
    watch.begin(
      pulseOf((silence) => {
        told.push(silence);
        after = performance.now() - since;
      }),
    );
    await later(200);
    expect(told).toEqual([{ halfClosed: false, limitMs: 50 }]);
    expect(after).toBeGreaterThanOrEqual(45);
  });

  test("has limits that may change, and those that count for a connection already go on", async () => {
    const told: number[] = [];
    const limits = { idleMs: 0, halfClosedMs: 0, tickMs };
    const watch = createQuietWatch(limits);
    watch.begin(pulseOf(() => told.push(0)));
    limits.idleMs = 20;
    watch.begin(pulseOf(({ limitMs }) => told.push(limitMs)));
    limits.idleMs = 40;
    watch.begin(pulseOf(({ limitMs }) => told.push(limitMs)));
    await later(150);
    expect(told).toEqual([20, 40]);
  });

  test("lets a connection be that moves, however slowly, and tells when it stops", async () => {
    const told: string[] = [];
    const watch = createQuietWatch({ idleMs: 60, halfClosedMs: 0, tickMs });
    const pulse = pulseOf(() => told.push("moving"));
    watch.begin(pulse);
    watch.begin(pulseOf(() => told.push("silent")));
    for (let i = 0; i < 15; i += 1) {
      pulse.moved = true;
      await later(10);
    }
    expect(told).toEqual(["silent"]);
    await later(150);
    expect(told).toEqual(["silent", "moving"]);
  });

  test("has another limit for a half-closed connection, of which the shorter counts", async () => {
    const ends = async (idleMs: number, halfClosedMs: number): Promise<Silence | undefined> => {
      let told: Silence | undefined;
      const watch = createQuietWatch({ idleMs, halfClosedMs, tickMs });
      const pulse = pulseOf((silence) => {
        told = silence;
      });
      watch.begin(pulse);
      watch.halfClosed(pulse);
      await later(120);
      watch.end(pulse);
      return told;
    };
    const [longer, shorter, onlyIdle, neither] = await Promise.all([ends(1000, 30), ends(30, 1000), ends(30, 0), ends(0, 0)]);
    expect([longer, shorter, onlyIdle, neither]).toEqual([
      { halfClosed: true, limitMs: 30 },
      { halfClosed: true, limitMs: 30 },
      { halfClosed: true, limitMs: 30 },
      undefined,
    ]);
  });

  test("forgets a connection that has ended, and watches those that come after a pause of its own", async () => {
    const told: string[] = [];
    const watch = createQuietWatch({ idleMs: 20, halfClosedMs: 20, tickMs });
    const ended = pulseOf(() => told.push("ended"));
    watch.begin(ended);
    watch.end(ended);
    await later(60);
    watch.begin(pulseOf(() => told.push("later")));
    await later(100);
    expect(told).toEqual(["later"]);
  });

  test("is patient where nobody sets a limit", async () => {
    const pulse = pulseOf(() => expect.unreachable("nothing is too quiet"));
    patient.begin(pulse);
    patient.halfClosed(pulse);
    await later(30);
    patient.end(pulse);
    expect(pulse.limitMs).toBe(Number.POSITIVE_INFINITY);
  });
});
