import { upgrade } from "../../src/ingress/upgrade.ts";
import { Cancellation } from "../../src/model/abort.ts";
import type { Net, TlsClientOptions } from "../../src/net/types.ts";
import { bytesAt } from "./pattern.ts";
import { headerOf, type Plan } from "./traffic.ts";

/**
 * The same way without the daemon: a new connection to the ingress, and one
 * byte to the service and back. Its time shows how busy this machine and this
 * process are at the moment.
 */
export interface Yardstick {
  /**
   * Milliseconds of the longest exchange of which a part was in this span of
   * time (ms of performance.now()); 0 if there was none.
   */
  longestDuring(from: number, to: number): number;
  /** Resolves when the exchange under way has ended. */
  stop(): Promise<void>;
}

interface Exchange {
  readonly from: number;
  /** Undefined: it is under way. */
  to: number | undefined;
}

/** Milliseconds between two exchanges. */
const pauseMs = 20;
const plan: Plan = { n: 1_000_000_000, kind: "ping-pong", up: 1, down: 1, chunk: 1 };

/** One exchange after the other, until it is stopped or one fails. */
export function startYardstick(options: {
  net: Net;
  /** Of a proxy to the ingress without faults. */
  port: number;
  tls: TlsClientOptions;
  target: { host: string; port: number };
  onFailure: (reason: string) => void;
}): Yardstick {
  const exchanges: Exchange[] = [];
  let isStopped = false;
  const repeat = async (): Promise<void> => {
    while (!isStopped) {
      const exchange: Exchange = { from: performance.now(), to: undefined };
      exchanges.push(exchange);
      await exchangeByte(options);
      exchange.to = performance.now();
      await Bun.sleep(pauseMs);
    }
  };
  const ended = repeat().catch((error: Error) => options.onFailure(error.message));
  return {
    longestDuring: (from, to) =>
      exchanges
        .map((one) => ({ from: one.from, to: one.to ?? performance.now() }))
        .filter((one) => one.from <= to && one.to >= from)
        .reduce((longest, one) => Math.max(longest, one.to - one.from), 0),
    stop() {
      isStopped = true;
      return ended;
    },
  };
}

async function exchangeByte({
  net,
  port,
  tls,
  target,
}: Parameters<typeof startYardstick>[0]): Promise<void> {
  const dialed = await net.dial({ host: "127.0.0.1", port }, { tls });
  const opened = await upgrade(dialed, target, new Cancellation());
  if (opened.kind !== "accepted") throw new Error(`the ingress refused: ${opened.message}`);
  const { conn } = opened;
  await conn.write(Buffer.concat([headerOf(plan), bytesAt(2 * plan.n, 0, 1)]));
  let received = 0;
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read())
    received += bytes.length;
  conn.close();
  if (received !== 1) throw new Error(`${received} bytes came back instead of one`);
}
