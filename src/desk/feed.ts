import type { Happening, History } from "../history/history.ts";
import { NgrokdError } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import { type Event, type Events, eventKinds } from "./history-schemas.ts";
import { eventRecord, isOf, type NameOf } from "./records.ts";

/** Which events a reader wants. Empty texts count as not given. */
export interface Wanted {
  readonly host?: string | undefined;
  /** Kinds or their first words, with commas: `poll,connection`. */
  readonly kinds?: string | undefined;
}

/** The events of a history, as programs read them. */
export interface Feed {
  /**
   * At most `limit` events after an id, the oldest first; without an id, the
   * newest ones. Throws NgrokdError `usage` if an id or a kind is wrong.
   */
  read(wanted: Wanted, after: string | undefined, limit: number): Events;
  /** Settles when there may be more after an id, or when the signal aborts. */
  changed(after: string, signal: AbortSignal): Promise<void>;
}

/** How many events one step of the search reads. */
const looked = 1000;

export function createFeed({ run, events }: History, nameOf: NameOf): Feed {
  const idOf = (number: number): string => `${run}-${number}`;
  const numberOf = (id: string): number => {
    const [, of, number] = /^([0-9a-f]{8})-(\d{1,15})$/.exec(id) ?? [];
    if (number === undefined)
      throw new NgrokdError("usage", `${quote(id)} is not the id of an event`, {
        hint: "`next` of an earlier reply is one; without an id, the newest events are sent",
      });
    // Ids of another run, or of the future, lead to all that is kept.
    return of === run && Number(number) <= events.last ? Number(number) : -1;
  };

  return {
    read(wanted, after, limit) {
      const isWanted = wishOf(wanted);
      if (after === undefined || after === "") return newest(isWanted, limit);
      const start = numberOf(after);
      const from = Math.max(0, start);
      const gap = start < 0 ? null : events.after(from, 0).lost;
      const found: Event[] = [];
      let at = from + (gap ?? 0);
      if (gap !== 0) found.push(gapRecord(idOf(at), gap));
      while (at < events.last && found.length < limit) {
        for (const { number, at: time, event } of events.after(at, looked).events) {
          at = number;
          if (isWanted(event))
            found.push(eventRecord(event, { id: idOf(number), at: time }, nameOf));
          if (found.length >= limit) break;
        }
      }
      return { events: found, next: idOf(at) };
    },
    async changed(after, signal) {
      const number = numberOf(after);
      if (number >= 0) await events.changed(number, signal);
    },
  };

  function newest(isWanted: (event: Happening) => boolean, limit: number): Events {
    const found: Event[] = [];
    for (let i = events.last; i > 0 && found.length < limit; i -= 1) {
      const [one] = events.after(i - 1, 1).events;
      if (one === undefined || one.number !== i) break;
      if (isWanted(one.event))
        found.push(eventRecord(one.event, { id: idOf(i), at: one.at }, nameOf));
    }
    return { events: found.reverse(), next: idOf(events.last) };
  }
}

const gapRecord = (id: string, lost: number | null): Event => ({
  id,
  at: new Date().toISOString(),
  kind: "gap",
  lost,
});

function wishOf({ host = "", kinds = "" }: Wanted): (event: Happening) => boolean {
  const words = kinds.split(",").flatMap((word) => (word.trim() === "" ? [] : [word.trim()]));
  const isKind = (kind: string, word: string): boolean =>
    kind === word || kind.startsWith(`${word}.`);
  const unknown = words.find((word) => !eventKinds.some((kind) => isKind(kind, word)));
  if (unknown !== undefined)
    throw new NgrokdError("usage", `There are no events of the kind ${quote(unknown)}`, {
      hint: `the kinds are ${eventKinds.join(", ")}`,
    });
  return (event) =>
    (words.length === 0 || words.some((word) => isKind(event.kind, word))) &&
    (host === "" || isOf(endpointIn(event), host));
}

/** `host:port`; empty if an event is about no endpoint. */
function endpointIn(event: Happening): string {
  if ("trace" in event) return event.trace.endpoint;
  if (!("endpoint" in event)) return "";
  if (typeof event.endpoint === "string") return event.endpoint;
  const { host, port } = event.endpoint;
  return host === "" ? "" : `${host}:${port}`;
}
