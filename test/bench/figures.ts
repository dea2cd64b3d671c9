/**
 * The measurements: one value a round for each contender and metric, in the
 * order of first appearance.
 */
export interface Figures {
  add(contender: string, metric: string, value: number): void;
  readonly contenders: readonly string[];
  readonly metrics: readonly string[];
  values(contender: string, metric: string): readonly number[];
  /** NaN without a measurement. */
  median(contender: string, metric: string): number;
}

export function createFigures(): Figures {
  const found = new Map<string, Map<string, number[]>>();
  const values = (contender: string, metric: string): readonly number[] =>
    found.get(contender)?.get(metric) ?? [];
  return {
    add(contender, metric, value) {
      const metrics = found.get(contender) ?? new Map<string, number[]>();
      found.set(contender, metrics.set(metric, [...(metrics.get(metric) ?? []), value]));
    },
    get contenders() {
      return [...found.keys()];
    },
    get metrics() {
      return [...new Set([...found.values()].flatMap((metrics) => [...metrics.keys()]))];
    },
    values,
    median: (contender, metric) => medianOf(values(contender, metric)),
  };
}

/** NaN for an empty list. */
export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}

/** One bar, and whether it was reached. */
export interface Verdict {
  readonly what: string;
  readonly must: string;
  readonly measured: string;
  /** Undefined if it could not be measured here. */
  readonly reached: boolean | undefined;
}

/** `value` against a fixed bar. */
export function bar(
  what: string,
  value: number,
  limit: { atMost?: number; atLeast?: number; unit: string; of?: string },
): Verdict {
  const {
    atMost = Number.POSITIVE_INFINITY,
    atLeast = Number.NEGATIVE_INFINITY,
    unit,
    of = "",
  } = limit;
  const [sign, border] = Number.isFinite(atMost) ? ["<=", atMost] : [">=", atLeast];
  const reached = Number.isNaN(value) ? undefined : value >= atLeast && value <= atMost;
  const suffix = unit === "" ? "" : ` ${unit}`;
  return {
    what,
    must: `${sign} ${border}${suffix}${of === "" ? "" : ` ${of}`}`,
    measured: Number.isNaN(value) ? "not measured" : `${short(value)}${suffix}`,
    reached,
  };
}

/** `ours / theirs` against a bar; `of` names `theirs`. */
export function ratio(
  what: string,
  ours: number,
  theirs: number,
  limit: { atMost?: number; atLeast?: number; of: string },
): Verdict {
  return bar(what, ours / theirs, { ...limit, unit: "x" });
}

/** A bar that counts as missed if connections failed in that case. */
export function unfailing(figures: Figures, contender: string, verdict: Verdict): Verdict {
  const failed = figures.metrics
    .filter((metric) => metric.endsWith("failed"))
    .flatMap((metric) => figures.values(contender, metric));
  const sum = failed.reduce((total, count) => total + count, 0);
  return sum === 0
    ? verdict
    : { ...verdict, measured: `${verdict.measured}, ${sum} failed`, reached: false };
}

/** Three significant digits. */
export function short(value: number): string {
  if (Number.isInteger(value)) return String(value);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toFixed(Math.min(digits, 3));
}

/** The median of the rounds, and their range. Empty without a round. */
export function spread(values: readonly number[]): string {
  if (values.length === 0) return "";
  const [median, low, high] = [medianOf(values), Math.min(...values), Math.max(...values)].map(
    short,
  );
  return low === high ? `${median}` : `${median} (${low} to ${high})`;
}
