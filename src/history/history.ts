/**
 * history/ remembers what has happened: the last connections with their steps,
 * traffic by second, and events. All of it is in memory and bounded. A
 * connection that is idle costs one object, and no timer.
 */
import { randomHex } from "../model/random.ts";
import type { EndpointState, Phase } from "../model/state.ts";
import { createEventLog, type EventLog } from "./events.ts";
import { adoptLegacy, type Legacy, legacySince, type Mark } from "./legacy.ts";
import { createRing, type Ring } from "./ring.ts";
import { createSeries, type Series } from "./series.ts";
import { createTallies } from "./tally.ts";
import { type ClientAddress, type Ending, newTrace, type Trace } from "./trace.ts";

/** What the daemon tells its history. `account` is a profile. */
export type Happening =
  | {
      readonly kind: "endpoint.raised" | "endpoint.failed" | "endpoint.gone";
      readonly endpoint: EndpointState;
    }
  | { readonly kind: "connection.opened" | "connection.ended"; readonly trace: Trace }
  | {
      readonly kind: "poll";
      readonly account: string;
      readonly ok: boolean;
      readonly tookMs: number;
      readonly reason: string;
      readonly hint: string;
      readonly endpoints: number;
    }
  | {
      readonly kind: "certificate";
      readonly account: string;
      readonly notAfter: Date;
      readonly fingerprint: string;
      /** Why the last renewal failed; empty if this certificate is new. */
      readonly reason: string;
    }
  | {
      readonly kind: "notice";
      readonly account: string;
      readonly endpoint: string;
      readonly text: string;
    }
  | { readonly kind: "warning"; readonly text: string; readonly isOver: boolean }
  | {
      readonly kind: "phase";
      readonly phase: Phase;
      readonly reason: string;
      readonly hint: string;
    };

/** A client, before its connection has an end. */
export interface Newcomer {
  readonly account: string;
  /** `host:port`. */
  readonly endpoint: string;
  readonly client: ClientAddress;
  readonly uid: number | undefined;
  /** When it was accepted; by default now. */
  readonly since?: Pick<Trace, "accepted" | "acceptedAt"> | undefined;
}

/** What a relay tells about its connections. Every call is cheap. */
export interface Recorder {
  /** A connection was accepted. */
  begin(newcomer: Newcomer): Trace;
  /** The ingress has accepted it. */
  opened(trace: Trace): void;
  /** The ingress has said something new about its endpoint. */
  noticed(trace: Trace, text: string): void;
  carriedUp(trace: Trace, bytes: number): void;
  carriedDown(trace: Trace, bytes: number): void;
  /** Called once for each {@link begin}. */
  ended(trace: Trace, ending: Ending, detail: string): void;
}

export interface History extends Recorder {
  /** Tells other processes' event numbers apart: they begin again at 1. */
  readonly run: string;
  readonly open: ReadonlySet<Trace>;
  /** Those that have ended, by their end. */
  readonly past: Ring<Trace>;
  readonly series: Series;
  readonly events: EventLog<Happening>;
  tell(happening: Happening): void;
  /** What has come since the mark, for the process after this one. */
  passOn(mark: Mark): { readonly legacy: Legacy; readonly mark: Mark };
  /** Takes what the process before this one has passed on at first. */
  inherit(legacy: Legacy): void;
  /** Takes the later records of that process, and reports them as events. */
  hear(legacy: Legacy): void;
  stop(): void;
}

export const keptConnections = 10_000;
const keptEvents = 10_000;
/** How far back traffic is kept. */
export const keptSeconds = 15 * 60;

export function createHistory(): History {
  const open = new Set<Trace>();
  const past = createRing<Trace>(keptConnections);
  const events = createEventLog<Happening>(keptEvents);
  const series = createSeries();
  const tallies = createTallies((stirred) =>
    series.note(Math.floor(performance.now() / 1000), stirred),
  );
  let count = 0;
  const tell = (happening: Happening): void => events.push(happening, Date.now());

  const nextId = (): number => {
    count += 1;
    return count;
  };
  const adopt = (legacy: Legacy): Trace[] => adoptLegacy({ past, series, nextId }, legacy);

  return {
    run: randomHex(4),
    open,
    past,
    series,
    events,
    tell,
    passOn(mark) {
      tallies.flush();
      const now = performance.now();
      return legacySince({ past, series }, mark, { now, seconds: keptSeconds });
    },
    inherit: (legacy) => void adopt(legacy),
    hear(legacy) {
      for (const trace of adopt(legacy)) tell({ kind: "connection.ended", trace });
    },
    stop: tallies.stop,
    begin({ account, endpoint, client, uid, since }) {
      const tally = tallies.of(endpoint);
      tally.active += 1;
      tally.opened += 1;
      const trace = newTrace({ id: nextId(), account, endpoint, client, uid, tally }, since);
      open.add(trace);
      if (!tally.stirred) tallies.stir(tally);
      return trace;
    },
    opened(trace) {
      trace.upgraded = performance.now();
      tell({ kind: "connection.opened", trace });
    },
    noticed({ account, endpoint }, text) {
      tell({ kind: "notice", account, endpoint, text });
    },
    carriedUp(trace, bytes) {
      const { tally } = trace;
      trace.bytesUp += bytes;
      trace.firstUp ??= performance.now();
      tally.up += bytes;
      if (!tally.stirred) tallies.stir(tally);
    },
    carriedDown(trace, bytes) {
      const { tally } = trace;
      trace.bytesDown += bytes;
      trace.firstDown ??= performance.now();
      tally.down += bytes;
      if (!tally.stirred) tallies.stir(tally);
    },
    ended(trace, ending, detail) {
      const { tally } = trace;
      trace.ended = performance.now();
      trace.ending = ending;
      trace.detail = detail;
      open.delete(trace);
      past.push(trace);
      tally.active -= 1;
      tally.ended += 1;
      if (trace.upgraded === undefined && ending !== "left") tally.failed += 1;
      if (!tally.stirred) tallies.stir(tally);
      tell({ kind: "connection.ended", trace });
    },
  };
}
