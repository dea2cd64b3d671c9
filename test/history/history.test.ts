import { describe, expect, test } from "bun:test";
import { createHistory, keptConnections } from "../../src/history/history.ts";
import { fromStart } from "../../src/history/legacy.ts";
import type { Row } from "../../src/history/series.ts";

const newcomer = {
  account: "default",
  endpoint: "hello.demo:80",
  client: { host: "127.0.0.1", port: 50_000 },
  uid: undefined,
};

describe("the history of connections", () => {
  test("has a connection among the open ones until it ends, then among the past ones", () => {
    const history = createHistory();
    const trace = history.begin(newcomer);
    history.opened(trace);
    history.carriedUp(trace, 10);
    history.carriedDown(trace, 20);
    history.carriedDown(trace, 30);
    const during = { open: history.open.size, past: history.past.last };
    history.ended(trace, "finished", "");
    history.stop();
    expect({ during, after: { open: history.open.size, past: history.past.at(1) } }).toEqual({
      during: { open: 1, past: 0 },
      after: { open: 0, past: trace },
    });
    expect(trace).toMatchObject({ id: 1, bytesUp: 10, bytesDown: 50, ending: "finished" });
    const { accepted, upgraded = 0, firstUp = 0, firstDown = 0, ended = 0 } = trace;
    const times = [accepted, upgraded, firstUp, firstDown, ended];
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });

  test("tells each opened and each ended connection, in their order", () => {
    const history = createHistory();
    const one = history.begin(newcomer);
    const two = history.begin(newcomer);
    history.opened(two);
    history.ended(one, "dial", "no way");
    history.stop();
    expect(history.events.after(0, 10).events.map(({ number, event }) => [number, event])).toEqual([
      [1, { kind: "connection.opened", trace: two }],
      [2, { kind: "connection.ended", trace: one }],
    ]);
  });

  test("keeps a bounded number of past connections, the newest ones", () => {
    const history = createHistory();
    for (let i = 0; i < keptConnections + 5; i += 1)
      history.ended(history.begin(newcomer), "finished", "");
    history.stop();
    const { first, last, at } = history.past;
    expect({ first, last, gone: at(first - 1), oldest: at(first)?.id }).toEqual({
      first: 6,
      last: keptConnections + 5,
      gone: undefined,
      oldest: 6,
    });
  });
});

describe("what a history passes on", () => {
  const rowsOf = (history: ReturnType<typeof createHistory>): Row[] => {
    const rows: Row[] = [];
    history.series.since(Number.NEGATIVE_INFINITY, (row) => rows.push({ ...row }));
    return rows.reverse();
  };
  /** As the bytes between two processes. */
  const sent = <T>(value: T): T => JSON.parse(JSON.stringify(value));

  test("is the same in the next process: connections with their steps, and traffic", () => {
    const [before, after] = [createHistory(), createHistory()];
    const trace = before.begin({ ...newcomer, uid: 1000 });
    trace.from = "pool";
    before.opened(trace);
    before.carriedUp(trace, 10);
    before.carriedDown(trace, 20);
    before.ended(trace, "reset", "the client has reset it");
    const { legacy } = before.passOn(fromStart);
    after.inherit(sent(legacy));
    const found = after.past.at(1);
    const own = after.begin(newcomer);
    for (const history of [before, after]) history.stop();
    const factsOf = ({ accepted, upgraded, firstUp, firstDown, ended, ...one }: typeof trace) => {
      const { id: _id, tally: _tally, ...facts } = one;
      const times = [upgraded, firstUp, firstDown, ended];
      return { ...facts, steps: times.map((time = 0) => (time - accepted).toFixed(6)) };
    };
    expect(found && factsOf(found)).toEqual(factsOf(trace));
    expect({ own: own.id, events: after.events.last }).toEqual({ own: 2, events: 0 });
    const [row] = rowsOf(after);
    expect(row).toMatchObject({ endpoint: "hello.demo:80", up: 10, down: 20, opened: 1, ended: 1 });
    expect(after.series.completeFrom).toBe(Number.NEGATIVE_INFINITY);
  });

  test("comes once: later it is what is new, and then it is told", () => {
    const [before, after] = [createHistory(), createHistory()];
    const open = before.begin(newcomer);
    before.ended(before.begin(newcomer), "finished", "");
    const first = before.passOn(fromStart);
    after.inherit(sent(first.legacy));
    expect(before.passOn(first.mark).legacy).toEqual({ past: [], rows: [], completeSeconds: null });
    before.carriedUp(open, 5);
    before.ended(open, "finished", "");
    after.hear(sent(before.passOn(first.mark).legacy));
    for (const history of [before, after]) history.stop();
    const told = after.events.after(0, 10).events.map(({ event }) => event);
    expect(told).toMatchObject([{ kind: "connection.ended", trace: { id: 2, bytesUp: 5 } }]);
    expect(rowsOf(after).map(({ up, ended }) => ({ up, ended }))).toEqual([
      { up: 0, ended: 1 },
      { up: 5, ended: 1 },
    ]);
  });

  test("is bounded, and says from when on it is complete", () => {
    const [before, after] = [createHistory(), createHistory()];
    for (let i = 0; i < 1200; i += 1) before.ended(before.begin(newcomer), "finished", "");
    const now = Math.floor(performance.now() / 1000);
    const counts = { up: 1, down: 1, opened: 0, ended: 0, failed: 0 };
    for (let ago = 1000; ago >= 0; ago -= 1)
      before.series.note(
        now - ago,
        Array.from({ length: 100 }, (_, i) => ({ endpoint: `e${i}:80`, ...counts })),
      );
    const { legacy } = before.passOn(fromStart);
    after.inherit(sent(legacy));
    for (const history of [before, after]) history.stop();
    expect({ past: after.past.last, rows: legacy.rows.length }).toEqual({
      past: 1000,
      rows: 20_000,
    });
    // Ages are whole seconds, and a second may have ended on either side.
    const ended = Math.floor(performance.now() / 1000) - now;
    const ago = now - after.series.completeFrom;
    expect(ago).toBeGreaterThanOrEqual(198 - ended);
    expect(ago).toBeLessThanOrEqual(198 + ended);
  });
});
