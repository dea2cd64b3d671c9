import { clearTimeout, setTimeout } from "node:timers";
import type { Feed, Wanted } from "../desk/feed.ts";
import type { Event } from "../desk/history-schemas.ts";

/** A sign of life for proxies and for the quiet watch. Milliseconds. */
const beatMs = 15_000;
const eventsAtOnce = 200;

/**
 * The events of a feed as server-sent events. Nothing is read from the feed
 * before the client takes it, so a slow one costs no memory, and gets a gap.
 * `ended` is called once.
 */
export function eventStream(
  feed: Feed,
  wanted: Wanted,
  after: string | undefined,
  ended: () => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const gone = new AbortController();
  let at = after;
  if (at === undefined) at = feed.read(wanted, undefined, 1).next;
  // Throws for a wrong id before the reply begins.
  else feed.read(wanted, at, 1);
  let told = false;
  return new ReadableStream(
    {
      async pull(controller) {
        while (!gone.signal.aborted) {
          const { events, next } = feed.read(wanted, at, eventsAtOnce);
          at = next;
          if (events.length > 0) return controller.enqueue(encoder.encode(textOf(events)));
          // At once, so that the client knows that it is connected.
          const isAlive = told && (await stirs(feed, next, gone.signal));
          told = true;
          if (!isAlive && !gone.signal.aborted) return controller.enqueue(encoder.encode(beat));
        }
      },
      cancel() {
        gone.abort();
        ended();
      },
    },
    { highWaterMark: 0 },
  );
}

/** Whether something has happened before the next beat is due. */
async function stirs(feed: Feed, after: string, gone: AbortSignal): Promise<boolean> {
  const due = new AbortController();
  const timer = setTimeout(() => due.abort(), beatMs);
  await feed.changed(after, AbortSignal.any([due.signal, gone]));
  clearTimeout(timer);
  return !due.signal.aborted;
}

const textOf = (events: readonly Event[]): string =>
  events.map((event) => `id: ${event.id}\ndata: ${JSON.stringify(event)}\n\n`).join("");

/** A comment. */
const beat = ": \n\n";
