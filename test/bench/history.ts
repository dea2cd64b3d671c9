import { createHistory } from "../../src/history/history.ts";
import type { Trace } from "../../src/history/trace.ts";

/** What the history costs. */
export interface HistoryCosts {
  /** Microseconds of a connection, from its accept to its end. */
  readonly connection: number;
  /** Microseconds of a chunk that is carried. */
  readonly chunk: number;
  /** Bytes of an open connection. */
  readonly idle: number;
}

/** Measured in this process, `count` connections and 100 chunks of each. */
export function historyCosts(count: number): HistoryCosts {
  const history = createHistory();
  const newcomer = (i: number) => ({
    account: "default",
    endpoint: `relay-${i % 50}.bench:7000`,
    client: { host: "127.0.0.1", port: i % 65_536 },
    uid: undefined,
  });
  const round = (n: number): void => {
    for (let i = 0; i < n; i += 1) {
      const trace = history.begin(newcomer(i));
      history.opened(trace);
      history.carriedUp(trace, 100);
      history.carriedDown(trace, 1000);
      history.ended(trace, "finished", "");
    }
  };
  // The first ones run before the code is compiled.
  round(count / 10);
  const connection = timed(() => round(count)) / count;
  const trace = history.begin(newcomer(0));
  const chunk = timed(() => chunks(history.carriedDown, trace, count * 100)) / (count * 100);
  const before = heapNow();
  for (let i = 0; i < count; i += 1) history.begin(newcomer(i));
  const idle = (heapNow() - before) / count;
  history.stop();
  return { connection, chunk, idle };
}

function chunks(carry: (trace: Trace, bytes: number) => void, trace: Trace, count: number): void {
  for (let i = 0; i < count; i += 1) carry(trace, 65_536);
}

function timed(work: () => void): number {
  const start = performance.now();
  work();
  return (performance.now() - start) * 1000;
}

function heapNow(): number {
  Bun.gc(true);
  return process.memoryUsage().heapUsed;
}
