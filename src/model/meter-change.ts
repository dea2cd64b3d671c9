import { bucketBounds, createHistogram, type Histogram } from "./histogram.ts";
import { createMeter, type ErrorKind, errorKinds, type Meter } from "./meter.ts";

/** Pure: a copy that the traffic does not change. */
export const copyOf = (meter: Meter): Meter => ({
  ...meter,
  refusedBy: { ...meter.refusedBy },
  errorsBy: { ...meter.errorsBy },
  upgrade: copyHistogram(meter.upgrade),
  firstByte: copyHistogram(meter.firstByte),
});

const copyHistogram = ({ counts, sum }: Histogram): Histogram => ({ counts: [...counts], sum });

/**
 * Pure: what has to be added to `before` for `now`. `active` may be negative.
 */
export function changeOf(before: Meter, now: Meter): Meter {
  const change: Meter = {
    ...copyOf(now),
    upgrade: difference(now.upgrade, before.upgrade),
    firstByte: difference(now.firstByte, before.firstByte),
  };
  for (const name of counters) change[name] -= before[name];
  for (const kind of errorKinds) change.errorsBy[kind] -= before.errorsBy[kind];
  for (const [code, count] of Object.entries(before.refusedBy))
    change.refusedBy[code] = (change.refusedBy[code] ?? 0) - count;
  return change;
}

/**
 * Adds a change, `active` included. The latest error is the change's own, or
 * none if a connection has worked in it.
 */
export function addChange(meter: Meter, change: Meter): void {
  for (const name of counters) meter[name] += change[name];
  for (const kind of errorKinds) meter.errorsBy[kind] += change.errorsBy[kind];
  for (const [code, count] of Object.entries(change.refusedBy))
    meter.refusedBy[code] = (meter.refusedBy[code] ?? 0) + count;
  addHistogram(meter.upgrade, change.upgrade);
  addHistogram(meter.firstByte, change.firstByte);
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

function addHistogram(sum: Histogram, { counts, sum: seconds }: Histogram): void {
  if (counts.length === 0) return;
  sum.counts = bucketBounds
    .concat(Number.POSITIVE_INFINITY)
    .map((_, i) => (sum.counts[i] ?? 0) + (counts[i] ?? 0));
  sum.sum += seconds;
}

/** Pure: a meter with the values of another program, as far as it has them. */
export function meterFrom(known: PlainMeter): Meter {
  const meter = createMeter();
  for (const name of counters) meter[name] = known[name];
  for (const kind of errorKinds) meter.errorsBy[kind] = known.errorsBy[kind] ?? 0;
  Object.assign(meter.refusedBy, known.refusedBy);
  addHistogram(meter.upgrade, known.upgrade ?? createHistogram());
  addHistogram(meter.firstByte, known.firstByte ?? createHistogram());
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
