import { describe, expect, test } from "bun:test";
import { createHistory, keptConnections } from "../../src/history/history.ts";

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
