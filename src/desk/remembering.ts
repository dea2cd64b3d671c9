import type { History } from "../history/history.ts";
import type { Trace } from "../history/trace.ts";
import { NgrokdError } from "../model/error.ts";
import type { Feed } from "./feed.ts";
import type { Connections, Events, Traffic } from "./history-schemas.ts";
import type { Input } from "./operations.ts";
import { connectionRecord, isOf, type NameOf, trafficRecord } from "./records.ts";

/** What the daemon remembers, for the operations about it. */
export interface Memory {
  readonly history: History;
  readonly nameOf: NameOf;
  readonly feed: Feed;
}

export function connections(
  { history, nameOf }: Memory,
  { host = "", state, limit = 100, before = Number.POSITIVE_INFINITY }: Input<"connections">,
): Connections {
  const { open, past } = history;
  const isMeant = ({ id, endpoint }: Trace): boolean =>
    id < before && (host === "" || isOf(endpoint, host));
  const meant: Trace[] = [];
  if (state !== "ended") for (const trace of open) if (isMeant(trace)) meant.push(trace);
  if (state !== "open")
    for (let i = past.last; i >= past.first; i -= 1) {
      const trace = past.at(i);
      if (trace !== undefined && isMeant(trace)) meant.push(trace);
    }
  meant.sort((a, b) => b.id - a.id);
  return {
    open: open.size,
    ended: past.last - past.first + 1,
    connections: meant.slice(0, limit).map((trace) => connectionRecord(trace, nameOf)),
  };
}

export function traffic(
  { history }: Memory,
  { host = "", seconds = 900, step = 15, each = false }: Input<"traffic">,
): Traffic {
  const now = Math.floor(performance.now() / 1000);
  const of = host === "" ? undefined : host;
  return trafficRecord(history, { now, to: new Date(), seconds, step, of, each });
}

/** Each waiting reader keeps a place of the control socket. */
const mostWaiting = 32;
const waiting = new WeakMap<Feed, number>();

export async function events(
  { feed }: Memory,
  { host, after, kinds, limit = 100, wait = 0 }: Input<"events">,
): Promise<Events> {
  let found = feed.read({ host, kinds }, after, limit);
  if (found.events.length > 0 || wait === 0) return found;
  const count = waiting.get(feed) ?? 0;
  if (count >= mostWaiting)
    throw new NgrokdError("refused", `${mostWaiting} readers wait for events already`, {
      hint: "ask without `wait`, or end another reader",
    });
  waiting.set(feed, count + 1);
  const signal = AbortSignal.timeout(wait * 1000);
  try {
    while (found.events.length === 0 && !signal.aborted) {
      await feed.changed(found.next, signal);
      found = feed.read({ host, kinds }, found.next, limit);
    }
    return found;
  } finally {
    waiting.set(feed, (waiting.get(feed) ?? 1) - 1);
  }
}
