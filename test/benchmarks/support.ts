import type { Case } from "../bench/cases.ts";
import { createFigures, type Figures } from "../bench/figures.ts";
import type { Result } from "../bench/report.ts";
import { type Row, standings } from "../bench/standing.ts";

export const speed: Row = { what: "bulk: throughput", metric: "down, MiB/s", better: "more" };
export const delay: Row = { what: "echo: p50", metric: "p50, us", better: "less" };

/** The values of each contender, by metric. */
export function figuresOf(
  values: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>,
): Figures {
  const figures = createFigures();
  for (const [contender, metrics] of Object.entries(values))
    for (const [metric, rounds] of Object.entries(metrics))
      for (const value of rounds) figures.add(contender, metric, value);
  return figures;
}

/** The result of a case with these rows. */
export function resultOf(rows: readonly Row[], figures: Figures, peers: readonly string[]): Result {
  const one: Case = {
    name: "sample",
    title: "A sample",
    about: "What is measured.",
    measure: async () => undefined,
    verdicts: () => [],
    rows,
  };
  return {
    of: one,
    figures,
    verdicts: [],
    standings: standings(rows, figures, "ngrokd", peers),
    early: standings(rows, figures, "ngrokd, early data", peers),
  };
}
