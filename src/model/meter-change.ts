import { bucketBounds, type Histogram, noDurations } from "./histogram.ts";
import { createMeter, type ErrorKind, errorKinds, type Meter, sumOfErrors } from "./meter.ts";

/** Pure: a copy that the traffic does not change. */
export const copyOf = (meter: Meter): Meter => ({
  ...meter,
  upgrade: copyHistogram(meter.upgrade),
  firstByte: copyHistogram(meter.firstByte),
});

const copyHistogram = ({ counts, sum }: Histogram): Histogram => ({ counts: [...counts], sum });

/**
 * Pure: what has to be added to `before` for `now`. `active` may be negative.
 */
export function changeOf(before: Meter, now: Meter): Meter {
  const errorsBy = { ...now.errorsBy };
  for (const kind of errorKinds) errorsBy[kind] -= before.errorsBy[kind];
  const refusedBy = { ...now.refusedBy };
  for (const [code, count] of Object.entries(before.refusedBy))
    refusedBy[code] = (refusedBy[code] ?? 0) - count;
  const change: Meter = {
    ...now,
    errorsBy,
    refusedBy,
    upgrade: difference(now.upgrade, before.upgrade),
    firstByte: difference(now.firstByte, before.firstByte),
  };
  for (const name of counters) change[name] -= before[name];
  return change;
}

/**
 * Adds a change, `active` included. The latest error is the change's own, or
 * none if a connection has worked in it.
 */
export function addChange(meter: Meter, change: Meter): void {
  for (const name of counters) meter[name] += change[name];
  meter.errorsBy = sumOfErrors(meter.errorsBy, change.errorsBy);
  const refusedBy = { ...meter.refusedBy };
  for (const [code, count] of Object.entries(change.refusedBy))
    refusedBy[code] = (refusedBy[code] ?? 0) + count;
  meter.refusedBy = refusedBy;
  meter.upgrade = sumOf(meter.upgrade, change.upgrade);
  meter.firstByte = sumOf(meter.firstByte, change.firstByte);
  meter.lastActivity = Math.max(meter.lastActivity, change.lastActivity);
  if (change.lastError !== "" || change.upgrade.sum > 0) meter.lastError = change.lastError;
  if (change.lastNotice !== "") meter.lastNotice = change.lastNotice;
}

/** Pure: whether a change adds nothing. */
export const isNothing = (change: Meter): boolean => counters.every((name) => change[name] === 0);

const counters = ["active", "total", "bytesUp", "bytesDown", "refused", "errors"] as const;

function difference(now: Histogram, before: Histogram): Histogram {
  if (before.counts.length === 0) return copyHistogram(now);
  const counts = now.counts.map((count, i) => count - (before.counts[i] ?? 0));
  return { counts, sum: now.sum - before.sum };
}

function sumOf(a: Histogram, b: Histogram): Histogram {
  if (b.counts.length === 0) return a;
  const counts = bucketBounds
    .concat(Number.POSITIVE_INFINITY)
    .map((_, i) => (a.counts[i] ?? 0) + (b.counts[i] ?? 0));
  return { counts, sum: a.sum + b.sum };
}

/** Pure: a meter with the values of another program, as far as it has them. */
export function meterFrom(known: PlainMeter): Meter {
  const meter = createMeter();
  for (const name of counters) meter[name] = known[name];
  const errorsBy = { ...meter.errorsBy };
  for (const kind of errorKinds) errorsBy[kind] = known.errorsBy[kind] ?? 0;
  meter.errorsBy = errorsBy;
  meter.refusedBy = { ...known.refusedBy };
  meter.upgrade = sumOf(noDurations, known.upgrade ?? noDurations);
  meter.firstByte = sumOf(noDurations, known.firstByte ?? noDurations);
  meter.lastActivity = known.lastActivity;
  meter.lastError = known.lastError;
  meter.lastNotice = known.lastNotice;
  return meter;
}

/** A meter as JSON. */
export type PlainMeter = Omit<Meter, "errorsBy" | "upgrade" | "firstByte"> & {
  readonly errorsBy: Partial<Record<ErrorKind, number>>;
  readonly upgrade?: Histogram | undefined;
  readonly firstByte?: Histogram | undefined;
};
