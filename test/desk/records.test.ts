import { describe, expect, test } from "bun:test";
import { trafficSchema } from "../../src/desk/history-schemas.ts";
import { trafficRecord } from "../../src/desk/records.ts";
import { createHistory } from "../../src/history/history.ts";
import { createSeries } from "../../src/history/series.ts";

const to = new Date("2026-01-02T03:04:05Z");
const usual = { active: 0, stirred: false, up: 0, down: 0, opened: 0, ended: 0, failed: 0 };

describe("the traffic record", () => {
  test("has the sums of each slot, the oldest first", () => {
    const series = createSeries();
    series.note(90, [{ ...usual, endpoint: "a:80", up: 1, opened: 2 }]);
    series.note(95, [{ ...usual, endpoint: "a:80", up: 10, ended: 1 }]);
    series.note(99, [{ ...usual, endpoint: "b:80", down: 7, opened: 1, failed: 1, ended: 1 }]);
    const history = { ...createHistory(), series };
    for (const endpoint of ["a:80"])
      history.begin({ account: "default", endpoint, client: { path: "" }, uid: undefined });
    history.stop();
    const ask = { now: 100, to, seconds: 15, step: 5, of: undefined, each: true };
    const record = trafficRecord(history, ask);
    expect(trafficSchema.parse(record)).toEqual(record);
    expect(record.total).toEqual({
      up: [0, 1, 10],
      down: [0, 0, 7],
      opened: [0, 2, 1],
      ended: [0, 0, 2],
      failed: [0, 0, 1],
      active: [0, 2, 1],
    });
    expect(Object.keys(record.endpoints).sort()).toEqual(["a:80", "b:80"]);
    const one = trafficRecord(history, { ...ask, of: "b", each: false });
    expect({ down: one.total.down, endpoints: one.endpoints }).toEqual({
      down: [0, 0, 7],
      endpoints: {},
    });
  });

  test("has quantiles of the connections that were accepted in a slot", () => {
    const history = createHistory();
    for (const took of [1, 2, 3, 4, 100]) {
      const client = { path: "" };
      const one = history.begin({ account: "default", endpoint: "a:80", client, uid: undefined });
      one.upgraded = one.accepted + took;
      one.firstDown = one.upgraded + 2 * took;
      history.ended(one, "finished", "");
    }
    history.stop();
    const now = Math.floor(performance.now() / 1000) + 1;
    const record = trafficRecord(history, { now, to, seconds: 20, step: 10, of: "a", each: false });
    const { upgrade, first_byte } = record.latency_ms;
    expect({ upgrade, first_byte }).toEqual({
      upgrade: { p50: [null, 3], p90: [null, 100], p99: [null, 100] },
      first_byte: { p50: [null, 6], p90: [null, 200], p99: [null, 200] },
    });
  });
});
