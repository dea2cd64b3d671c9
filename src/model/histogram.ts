/**
 * The upper bounds of the buckets, in seconds. One more bucket has no upper
 * bound.
 */
export const bucketBounds: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

/** Counts of durations by size. */
export interface Histogram {
  /** The count of each bucket; empty until the first duration. */
  counts: number[];
  /** The sum of all durations, in seconds. */
  sum: number;
}

export const createHistogram = (): Histogram => ({ counts: [], sum: 0 });

/** Without a duration; thousands of endpoints share it. It must not change. */
export const noDurations: Histogram = Object.freeze({ ...createHistogram() });

export function record(histogram: Histogram, seconds: number): void {
  if (histogram.counts.length === 0) histogram.counts = new Array(bucketBounds.length + 1).fill(0);
  const { counts } = histogram;
  let at = 0;
  while (seconds > (bucketBounds[at] ?? Number.POSITIVE_INFINITY)) at += 1;
  counts[at] = (counts[at] ?? 0) + 1;
  histogram.sum += seconds;
}

export const countOf = ({ counts }: Histogram): number =>
  counts.reduce((sum, count) => sum + count, 0);

/**
 * Pure: the quantile `q` (0 to 1), in seconds; undefined for an empty
 * histogram. Durations count as evenly spread inside a bucket. Beyond the last
 * bound, the result is that bound.
 */
export function quantile(histogram: Histogram, q: number): number | undefined {
  const count = countOf(histogram);
  if (count === 0) return undefined;
  let below = 0;
  let bound = 0;
  for (const [i, within] of histogram.counts.entries()) {
    const next = bucketBounds[i];
    if (next === undefined) break;
    if (within > 0 && below + within >= q * count)
      return bound + ((next - bound) * (q * count - below)) / within;
    below += within;
    bound = next;
  }
  return bound;
}
