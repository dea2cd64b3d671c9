import type { Ring } from "./ring.ts";
import type { Series } from "./series.ts";
import type { Tally } from "./tally.ts";
import type { ClientAddress, Ending, Trace } from "./trace.ts";

/**
 * What a history passes on to the process after it, as plain data. The other
 * process has another steady clock, so times are milliseconds before now.
 */
export interface Legacy {
  /** By their end. */
  readonly past: PastConnection[];
  /** The oldest first. */
  readonly rows: LegacyRow[];
  /** How many seconds are complete; null: nothing is left out. */
  readonly completeSeconds: number | null;
}

export interface PastConnection {
  readonly account: string;
  readonly endpoint: string;
  readonly client: ClientAddress;
  readonly uid: number | null;
  /** Milliseconds since the epoch. */
  readonly acceptedAt: number;
  readonly agoMs: number;
  readonly from: "pool" | "dial" | null;
  /** Milliseconds since the accept; null if the step was not reached. */
  readonly steps: Readonly<Record<Step, number | null>>;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly ending: string;
  readonly detail: string;
}

const steps = ["connected", "ready", "upgraded", "firstUp", "firstDown", "ended"] as const;
type Step = (typeof steps)[number];

/** Endpoint, seconds ago, up, down, opened, ended, failed. */
export type LegacyRow = [string, number, number, number, number, number, number];

/** How much of a history was passed on. */
export interface Mark {
  readonly past: number;
  readonly rows: number;
}
export const fromStart: Mark = { past: 0, rows: 0 };

/** More would hold up the handover of a busy daemon. */
const most: Mark = { past: 1000, rows: 20_000 };

/** What has come since `mark`, and the next mark. `now`: performance.now(). */
export function legacySince(
  { past, series }: { readonly past: Ring<Trace>; readonly series: Series },
  mark: Mark,
  { now, seconds }: { readonly now: number; readonly seconds: number },
): { readonly legacy: Legacy; readonly mark: Mark } {
  const connections: PastConnection[] = [];
  const first = Math.max(past.first, mark.past + 1, past.last - most.past + 1);
  for (let i = first; i <= past.last; i += 1) {
    const trace = past.at(i);
    if (trace !== undefined) connections.push(pastOf(trace, now));
  }
  const rows: LegacyRow[] = [];
  const second = Math.floor(now / 1000);
  const firstRow = Math.max(mark.rows, series.count - most.rows);
  series.from(firstRow, (row) => {
    const ago = second - row.second;
    const { endpoint, up, down, opened, ended, failed } = row;
    if (ago <= seconds) rows.push([endpoint, ago, up, down, opened, ended, failed]);
  });
  const oldest = firstRow > mark.rows ? (rows[0]?.[1] ?? 0) - 1 : Number.POSITIVE_INFINITY;
  const complete = Math.min(oldest, second - series.completeFrom);
  return {
    legacy: {
      past: connections,
      rows,
      completeSeconds: Number.isFinite(complete) ? complete : null,
    },
    mark: { past: past.last, rows: series.count },
  };
}

/** Pure: whether there is nothing to pass on. */
export const isEmpty = ({ past, rows }: Legacy): boolean => past.length + rows.length === 0;

/** Pure. */
function pastOf(trace: Trace, now: number): PastConnection {
  const { account, endpoint, client, uid, acceptedAt, accepted, from } = trace;
  const since = (step: Step): number | null => {
    const time = trace[step];
    return time === undefined ? null : time - accepted;
  };
  return {
    account,
    endpoint,
    client,
    uid: uid ?? null,
    acceptedAt,
    agoMs: now - accepted,
    from: from ?? null,
    steps: Object.fromEntries(steps.map((step) => [step, since(step)])) as PastConnection["steps"],
    bytesUp: trace.bytesUp,
    bytesDown: trace.bytesDown,
    ending: trace.ending ?? "finished",
    detail: trace.detail,
  };
}

/** Takes what another process has passed on. Returns its connections. */
export function adoptLegacy(
  {
    past,
    series,
    nextId,
  }: {
    readonly past: Ring<Trace>;
    readonly series: Series;
    readonly nextId: () => number;
  },
  { past: others, rows, completeSeconds }: Legacy,
): Trace[] {
  const now = performance.now();
  const second = Math.floor(now / 1000);
  for (const [endpoint, ago, up, down, opened, ended, failed] of rows)
    series.note(second - ago, [{ endpoint, up, down, opened, ended, failed }]);
  if (completeSeconds !== null) series.lack(second - completeSeconds);
  return others.map((one) => {
    const trace = traceOf(one, { id: nextId(), now });
    past.push(trace);
    return trace;
  });
}

/** Pure. */
function traceOf(
  { agoMs, steps: reached, uid, from, ending, ...same }: PastConnection,
  { id, now }: { readonly id: number; readonly now: number },
): Trace {
  const accepted = now - agoMs;
  const at = (step: Step): number | undefined => {
    const ms = reached[step];
    return ms === null ? undefined : accepted + ms;
  };
  const tally: Tally = { ...noTraffic, endpoint: same.endpoint };
  return {
    ...same,
    id,
    uid: uid ?? undefined,
    accepted,
    from: from ?? undefined,
    connected: at("connected"),
    ready: at("ready"),
    upgraded: at("upgraded"),
    firstUp: at("firstUp"),
    firstDown: at("firstDown"),
    ended: at("ended"),
    // A newer program may know more ways to end.
    ending: ending as Ending,
    tally,
  };
}

const noTraffic = { active: 0, up: 0, down: 0, opened: 0, ended: 0, failed: 0, stirred: false };
