import { createGuard } from "../../src/access/guard.ts";
import { createBunNet } from "../../src/net/bun.ts";
import type { Conn } from "../../src/net/types.ts";
import { until } from "./processes.ts";

/** Fifty rules; the last one is for the endpoint, and needs the user. */
const rules = [
  ...Array.from({ length: 49 }, (_, n) => ({ endpoint: `*.team-${n}.internal`, users: ["1000"] })),
  { endpoint: "*", users: ["root"], groups: ["root"] },
];
const wanted = { host: "relay.bench", port: 7000 };

/** So many clients take turns. */
const clients = 32;

/** The time of the check of a connection, in this process. In microseconds. */
export async function accessTimes(
  host: string,
  count: number,
): Promise<{ p50: number; p99: number }> {
  const net = createBunNet();
  const accepted: Conn[] = [];
  const listener = await net.listen({ host, port: 0 }, (conn) => void accepted.push(conn));
  const dialed = Array.from({ length: clients }, () => net.dial(listener.address));
  const dialers = await Promise.all(dialed);
  await until("all are accepted", () => accepted.length === clients);
  const guard = createGuard({ net, written: () => rules, placeOf: () => "" });
  const times: number[] = [];
  for (let n = 0; n < count; n += 1) {
    const conn = accepted[n % clients] as Conn;
    const start = performance.now();
    const judged = guard.judge(conn, wanted, "users");
    const refusal = judged instanceof Promise ? await judged : judged;
    times.push((performance.now() - start) * 1000);
    if (refusal !== undefined) throw new Error(`the check is wrong: ${refusal.reason}`);
  }
  for (const client of dialers) client.abort();
  listener.close();
  // The first ones open the library, and run before the code is compiled.
  const sorted = times.slice(Math.floor(count / 10)).sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}
