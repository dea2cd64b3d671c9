import type { Case } from "./cases.ts";
import { type Figures, medianOf, short, type Verdict } from "./figures.ts";

export interface Result {
  readonly of: Case;
  readonly figures: Figures;
  readonly verdicts: readonly Verdict[];
}

/** The bars, as a table. */
export function verdictTable(results: readonly Result[]): string {
  const rows = results.flatMap(({ verdicts }) =>
    verdicts.map(({ what, must, measured, reached }) => [
      what,
      must,
      measured,
      reached === undefined ? "not measured" : reached ? "yes" : "**no**",
    ]),
  );
  return table(["case", "must reach", "measured", "reached"], rows);
}

/**
 * One case in full, with a row for each contender and a column for each metric.
 * A cell has the median and the range of the rounds.
 */
export function figureTable({ figures }: Result): string {
  const { contenders, metrics } = figures;
  const rows = contenders.map((contender) => [
    contender,
    ...metrics.map((metric) => spread(figures.values(contender, metric))),
  ]);
  // Many metrics of one contender are easier to read from top to bottom.
  if (contenders.length === 1)
    return table(
      ["", contenders[0] ?? ""],
      metrics.map((metric) => [metric, spread(figures.values(contenders[0] ?? "", metric))]),
    );
  return table(["", ...metrics], rows);
}

/** docs/benchmarks.md. */
export function page(results: readonly Result[], facts: readonly [string, string][]): string {
  const reached = results
    .flatMap(({ verdicts }) => verdicts)
    .filter((verdict) => verdict.reached === true).length;
  const all = results.flatMap(({ verdicts }) => verdicts).length;
  return `# Benchmarks

\`make bench\` (test/bench/) makes this page. Do not edit it by hand. ngrokd is the compiled binary,
registered at a stand-in for ngrok's API. It has its usual settings unless a row says otherwise.
The peers are Debian's, with one thread each (haproxy nbthread 1, nginx worker_processes 1, stunnel
held to one core). They relay plain TCP to mutual TLS, and send no upgrade header. "no relay" means
that the load speaks TLS to the ingress itself. It shows the capacity of ingress and load without a
relay. Everything runs on one machine, over loopback. The contenders take turns in each round.
Compare rows, and do not take the figures as absolute. Each figure is the median of the rounds, with
their range in brackets. Ratios are those of medians.

${reached} of ${all} bars reached.

${verdictTable(results)}

## How and on what

${table(["", ""], facts)}
${results.map(section).join("")}`;
}

function section(result: Result): string {
  const { title, about, limits } = result.of;
  return `\n## ${title}\n\n${about}\n\n${figureTable(result)}\n${limits === undefined ? "" : `\nWhat limits it: ${limits}\n`}`;
}

function spread(values: readonly number[]): string {
  if (values.length === 0) return "";
  const [median, low, high] = [medianOf(values), Math.min(...values), Math.max(...values)].map(
    short,
  );
  return low === high ? `${median}` : `${median} (${low} to ${high})`;
}

/** A Markdown table, aligned so that the plain text is readable too. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) =>
    Math.max(3, title.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, i) => (cells[i] ?? "").padEnd(width)).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
