import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  bucketBounds,
  countOf,
  createHistogram,
  quantile,
  record,
} from "../../src/model/histogram.ts";

const closeTo = (seconds: number): number => expect.closeTo(seconds, 6);
const durations = fc.array(fc.double({ min: 0, max: 100, noNaN: true }), {
  minLength: 1,
  maxLength: 200,
});
const filled = (values: readonly number[]) => {
  const histogram = createHistogram();
  for (const value of values) record(histogram, value);
  return histogram;
};

describe("a histogram", () => {
  test("is empty at first, and has no buckets then", () => {
    expect(createHistogram()).toEqual({ counts: [], sum: 0 });
    expect(countOf(createHistogram())).toBe(0);
    expect(quantile(createHistogram(), 0.5)).toBeUndefined();
  });

  test("counts a duration in the first bucket whose bound it does not exceed", () => {
    const { counts } = filled([0, 0.001, 0.0011, 30, 30.1, 1e9]);
    expect(counts).toEqual([2, 1, ...new Array(bucketBounds.length - 3).fill(0), 1, 2]);
  });

  test("counts every duration once, and adds them up", () => {
    fc.assert(
      fc.property(durations, (values) => {
        const histogram = filled(values);
        expect(countOf(histogram)).toBe(values.length);
        expect(histogram.counts.length).toBe(bucketBounds.length + 1);
        expect(histogram.sum).toBeCloseTo(
          values.reduce((sum, value) => sum + value, 0),
          6,
        );
      }),
    );
  });

  test("estimates a quantile within the bucket of the true one", () => {
    fc.assert(
      fc.property(durations, fc.constantFrom(0.1, 0.5, 0.9, 0.99, 1), (values, q) => {
        const sorted = values.toSorted((a, b) => a - b);
        const truth = sorted[Math.ceil(q * values.length - 1e-9) - 1] ?? 0;
        const at = bucketBounds.findIndex((bound) => truth <= bound);
        const estimate = quantile(filled(values), q) ?? Number.NaN;
        if (at < 0) expect(estimate).toBe(bucketBounds.at(-1) as number);
        else
          expect(estimate).toBeWithin(
            (bucketBounds[at - 1] ?? 0) - 1e-9,
            (bucketBounds[at] ?? 0) + 1e-9,
          );
      }),
    );
  });

  test("spreads the durations of a bucket evenly", () => {
    const histogram = filled([...new Array(50).fill(0.02), ...new Array(50).fill(0.08)]);
    for (const [q, seconds] of [
      [0.25, 0.0175],
      [0.5, 0.025],
      [0.75, 0.075],
      [1, 0.1],
    ] as const)
      expect({ q, seconds: quantile(histogram, q) }).toEqual({ q, seconds: closeTo(seconds) });
  });
});
