import type { Case } from "./cases.ts";
import { type Figures, short, spread, type Verdict } from "./figures.ts";
import type { Standing } from "./standing.ts";
import { factor, type Judged, unitOf, verdictLines } from "./verdict.ts";

export interface Result {
  readonly of: Case;
  readonly figures: Figures;
  readonly verdicts: readonly Verdict[];
  readonly standings: readonly Standing[];
  /** The same for ngrokd with early data, in cases that measure it. */
  readonly early: readonly Standing[];
}

export const judged = (results: readonly Result[]): Judged => ({
  bars: results.flatMap(({ verdicts }) => verdicts),
  standings: results.flatMap(({ standings }) => standings),
  early: results.flatMap(({ early }) => early),
});

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

/** ngrokd beside its best peer, as a table. Empty without a peer. */
export function standingTable(results: readonly Result[]): string {
  const { standings, early } = judged(results);
  if (standings.length === 0) return "";
  const rows = standings.map((standing) => {
    const { row, peer, own, theirs, rounds } = standing;
    const unit = unitOf(row.metric);
    const withEarly = early.find((one) => one.row === row);
    return [
      `${row.what}, ${unit}`,
      short(own),
      `${short(theirs)} (${peer})`,
      place(standing),
      rounds,
      withEarly === undefined ? "" : `${short(withEarly.own)}, ${place(withEarly)}`,
    ];
  });
  const head = ["row", "ngrokd", "best peer", "ngrokd is", "rounds", "with early data"];
  return table(head, rows);
}

function place({ lead }: Standing): string {
  if (lead === 1) return "level";
  return lead > 1 ? `${factor(lead)} ahead` : `**${factor(lead)} behind**`;
}

export interface Page {
  readonly results: readonly Result[];
  readonly facts: readonly [string, string][];
  /** The measured peers: Debian's, and the loops of ngrok's Go programs. */
  readonly peers: { readonly installed: readonly string[]; readonly loops: readonly string[] };
  /** The chart of a case, by the case's name. Cases without one are absent. */
  readonly charts: ReadonlyMap<string, string>;
}

/** docs/benchmarks.md. */
export function page({ results, facts, peers, charts }: Page): string {
  const standing = standingTable(results);
  return `# Benchmarks

${verdictLines(judged(results)).join("\n")}

\`make bench\` (test/bench/) makes this page. Do not edit it by hand. ngrokd is the compiled binary,
registered at a stand-in for ngrok's API. It has its usual settings unless a row says otherwise.
${aboutPeers(peers)}
"no relay" means that the load speaks TLS to the ingress itself. It shows the capacity of ingress and
load without a relay. Everything runs on one machine, over loopback. The contenders take turns in
each round, and each begins when the one before has no work left. Compare rows, and do not take the
figures as absolute. Each figure is the median of the rounds, with their range in brackets. Ratios
are those of medians. The line on a bar of a chart is the range. It is cut where it leaves the picture.

## Beside the best peer

${standing === "" ? "No peer was measured.\n" : `"Overlap" means that a round of the one was no better than one of the other.\n\n${standing}\n`}
## Bars

${verdictTable(results)}

## How and on what

${table(["", ""], facts)}
${results.map((result) => section(result, charts.get(result.of.name))).join("")}`;
}

/** Which programs the peers are, and which they are not. */
function aboutPeers({ installed, loops }: Page["peers"]): string {
  const debian =
    installed.length === 0
      ? []
      : [
          `Debian's peers (${installed.join(", ")}) relay plain TCP to mutual TLS, and send no upgrade header.`,
          "Each has one thread (haproxy nbthread 1, nginx worker_processes 1, stunnel held to one core).",
        ];
  const go =
    loops.length === 0
      ? []
      : [
          `The other peers (${loops.join(", ")})`,
          "are the forwarding loops of ngrok's Kubernetes operator, and of the Go program named ngrokd (0.2,",
          "its way for TCP). They are not these programs. The loops are written again from",
          "[protocol.md](protocol.md), in `test/bench/ingress/forward.go`, and built by the installed Go with",
          "GOMAXPROCS=1. Like ngrokd they send the upgrade header. They dial for each",
          "connection, resume no session, and copy with buffers of 32 KiB. Their log lines, and the operator's",
          "look-up of the pod behind a connection, are left out, which is in their favour.",
        ];
  return [...debian, ...go].join("\n") || "No peer was measured.";
}

function section(result: Result, chart: string | undefined): string {
  const { title, about, limits } = result.of;
  const picture = chart === undefined ? "" : `![${title}](${chart})\n\n`;
  return `\n## ${title}\n\n${about}\n\n${picture}${figureTable(result)}\n${limits === undefined ? "" : `\nWhat limits it: ${limits}\n`}`;
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
