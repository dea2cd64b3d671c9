import { clearTimeout, setTimeout } from "node:timers";
import type { Feed, Wanted } from "../desk/feed.ts";
import type { Event } from "../desk/history-schemas.ts";

/** A sign of life for proxies and for the quiet watch. Milliseconds. */
const beatMs = 15_000;
const eventsAtOnce = 200;

export interface StreamOptions {
  readonly wanted: Wanted;
  /** Begin after this event; without it, with what comes from now on. */
  readonly after: string | undefined;
  /** Asked again and again: whether the stream may go on. */
  readonly isWelcome: () => boolean;
  /** Called once, at the end. */
  readonly ended: () => void;
}

/**
 * The events of a feed as server-sent events. Nothing is read from the feed
 * before the client takes it, so a slow one costs no memory, and gets a gap.
 * Throws NgrokdError `usage` for a wrong id or kind.
 */
export function eventStream(
  feed: Feed,
  { wanted, after, isWelcome, ended }: StreamOptions,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const gone = new AbortController();
  const first = feed.read(wanted, after, 1);
  let at = after ?? first.next;
  let told = false;
  return new ReadableStream(
    {
      async pull(controller) {
        while (!gone.signal.aborted) {
          if (!isWelcome()) {
            ended();
            return controller.close();
          }
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
