/**
 * The upper bounds of the buckets, in seconds; above the last one there is one
 * more.
 */
export const bucketBounds: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

/**
 * Durations, counted by size. Thousands of endpoints have one that stays empty,
 * and costs next to nothing.
 */
export interface Histogram {
  /**
   * How many fell between a bound and the one before it; empty until there is
   * one.
   */
  counts: number[];
  /** Of all durations, in seconds. */
  sum: number;
}

export const createHistogram = (): Histogram => ({ counts: [], sum: 0 });

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
 * The duration, in seconds, that a part `q` (0 to 1) of all stayed below;
 * undefined without any. Within a bucket they are taken to be spread evenly;
 * beyond the last bound, that bound is the answer.
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
