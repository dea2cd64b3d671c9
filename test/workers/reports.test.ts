import { describe, expect, test } from "bun:test";
import { createHistory } from "../../src/history/history.ts";
import { createMeter, type Meter } from "../../src/model/meter.ts";
import { addChange } from "../../src/model/meter-change.ts";
import type { Lane } from "../../src/relay/lanes.ts";
import type { RelayStats } from "../../src/relay/relay.ts";
import type { Report } from "../../src/workers/messages.ts";
import { createMirror } from "../../src/workers/mirror.ts";
import { createReporter } from "../../src/workers/reports.ts";

const noStats: RelayStats = {
  open: 0,
  limit: 1,
  ingress: { hits: 0, misses: 0, retries: 0, dials: 0, ready: 0, patienceMs: 1 },
  strangers: createMeter(),
  departed: createMeter(),
};
const newcomer = {
  account: "default",
  endpoint: "a.demo:80",
  client: { host: "127.0.0.1", port: 5000 },
  uid: undefined,
};
/** The worker's clock is so much behind the daemon's. */
const offset = 1000;

/** A worker's reporter, and the daemon's mirror of it. */
function pair() {
  const meter = createMeter();
  const sum = createMeter();
  const history = createHistory();
  const lane = { conns: new Set(), waiting: [] } as unknown as Lane;
  const mirror = createMirror({
    relay: {
      add: (_key: string, change: Meter) => addChange(sum, change),
      stats: () => noStats,
    },
    history,
    laneOf: () => lane,
  });
  const reporter = createReporter({
    relay: () => ({
      meter: () => meter,
      stats: () => ({ ...noStats, open: meter.active, strangers: createMeter() }),
      trouble: () => undefined,
    }),
    accounts: () => ["default"],
    turnedAway: () => 0,
    verbose: () => false,
    send(report: Report) {
      if (report.kind === "traffic") mirror.take(structuredClone(report), offset);
    },
  });
  return { meter, sum, history, lane, mirror, reporter };
}

describe("a worker's reports", () => {
  test("give the daemon the connection, its steps, bytes and end", () => {
    const { meter, sum, history, lane, mirror, reporter } = pair();
    const { recorder } = reporter;
    const trace = recorder.begin(newcomer);
    meter.active += 1;
    meter.total += 1;
    recorder.opened(trace);
    reporter.flush();
    const [shown] = history.open;
    expect(shown?.accepted).toBe(trace.accepted + offset);
    expect(shown?.upgraded).toBe((trace.upgraded ?? 0) + offset);
    expect([sum.active, mirror.open, mirror.accepted, lane.conns.size]).toEqual([1, 1, 1, 1]);
    meter.bytesUp += 10;
    recorder.carriedUp(trace, 10);
    reporter.flush();
    expect(shown?.bytesUp).toBe(10);
    recorder.ended(trace, "finished", "");
    meter.active -= 1;
    reporter.flush();
    expect(history.open.size).toBe(0);
    expect(shown).toMatchObject({ ending: "finished", ended: (trace.ended ?? 0) + offset });
    expect([sum.active, sum.total, sum.bytesUp, lane.conns.size]).toEqual([0, 1, 10, 0]);
    history.stop();
  });

  test("that are lost with the worker end its connections as resets", () => {
    const { meter, sum, history, lane, mirror, reporter } = pair();
    reporter.recorder.begin(newcomer);
    meter.active += 1;
    meter.total += 1;
    reporter.flush();
    mirror.lose();
    expect(history.open.size).toBe(0);
    expect(history.past.at(1)?.ending).toBe("reset");
    expect([sum.active, sum.errorsBy.reset, lane.conns.size]).toEqual([0, 1, 0]);
    expect([mirror.open, mirror.active.size]).toEqual([0, 0]);
    history.stop();
  });

  test("bring an old failure once, so that it does not hide a later success", () => {
    const { meter, sum, history, reporter } = pair();
    const trace = reporter.recorder.begin(newcomer);
    meter.active += 1;
    meter.total += 1;
    meter.errors += 1;
    meter.lastError = "refused";
    reporter.flush();
    expect(sum.lastError).toBe("refused");
    sum.lastError = "";
    meter.bytesUp += 1;
    reporter.recorder.carriedUp(trace, 1);
    reporter.flush();
    expect([sum.bytesUp, sum.lastError]).toEqual([1, ""]);
    reporter.recorder.ended(trace, "finished", "");
    meter.active -= 1;
    reporter.flush();
    history.stop();
  });
});
