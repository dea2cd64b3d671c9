import { short, type Verdict } from "./figures.ts";
import type { Standing } from "./standing.ts";

/** The results of all cases, as far as a verdict needs them. */
export interface Judged {
  readonly bars: readonly Verdict[];
  readonly standings: readonly Standing[];
  /** The rows of new connections, for ngrokd with early data. */
  readonly early: readonly Standing[];
}

/**
 * The benchmark in a few plain sentences, one a line: the bars, the rows where
 * a peer is ahead, and those where ngrokd is.
 */
export function verdictLines({ bars, standings, early }: Judged): string[] {
  if (standings.length === 0) return [...barLines(bars), "No row was measured beside a peer."];
  const [behind, ahead] = [standings.filter(isBehind), standings.filter(isAhead)];
  const count = rowsOf(standings.length);
  return [
    ...barLines(bars),
    behind.length === 0
      ? `No peer is ahead in any of ${count}.`
      : `A peer is ahead in ${behind.length} of ${count}: ${behind.map(told).join("; ")}.`,
    ahead.length === 0
      ? `ngrokd is ahead in none of ${count}.`
      : `ngrokd is ahead in ${ahead.length} of ${count}, ${range(ahead)}.`,
    ...earlyLines(early),
  ];
}

const isBehind = ({ lead }: Standing): boolean => lead < 1;
const isAhead = ({ lead }: Standing): boolean => lead > 1;
const rowsOf = (count: number): string => (count === 1 ? "1 row" : `${count} rows`);

function barLines(bars: readonly Verdict[]): string[] {
  if (bars.length === 0) return [];
  const missed = bars.filter(({ reached }) => reached === false);
  const unknown = bars.filter(({ reached }) => reached === undefined);
  const reached = bars.length - missed.length - unknown.length;
  const told = missed.map(({ what, measured, must }) => `${what} (${measured}, must be ${must})`);
  return [
    `${reached} of ${bars.length} bars are reached.`,
    ...(missed.length === 0 ? [] : [`Missed: ${told.join("; ")}.`]),
    ...(unknown.length === 0
      ? []
      : [`Not measured: ${unknown.map(({ what }) => what).join("; ")}.`]),
  ];
}

function earlyLines(early: readonly Standing[]): string[] {
  if (early.length === 0) return [];
  const [behind, ahead] = [early.filter(isBehind), early.filter(isAhead)];
  const rows = behind.map(({ row, peer, lead }) => `${row.what} (${peer}, by ${factor(lead)})`);
  const peers = rows.length === 0 ? "" : `, and a peer in ${rows.length}: ${rows.join("; ")}`;
  return [
    `With \`forward.early_data: on\`, which is off by default, it is ahead in ${ahead.length} of ${rowsOf(early.length)} of new connections${peers}.`,
  ];
}

/** One row: the two medians, and by how much the better one is better. */
function told({ row, peer, own, theirs, lead, rounds }: Standing): string {
  const unit = unitOf(row.metric);
  const values = `${peer} ${short(theirs)}, ngrokd ${short(own)}${unit === "1/s" ? "/s" : ` ${unit}`}`;
  const doubt = rounds === "overlap" ? ", but their rounds overlap" : "";
  return `${row.what} (${values}: by ${factor(lead)}${doubt})`;
}

/** From the smallest lead to the biggest one. */
function range(ahead: readonly Standing[]): string {
  const sorted = ahead.toSorted((a, b) => a.lead - b.lead);
  const [first, last] = [sorted[0], sorted.at(-1)];
  const doubtful = ahead.filter(({ rounds }) => rounds === "overlap").length;
  const by = [...new Set([first, last])].flatMap((one) =>
    one === undefined ? [] : [`${factor(one.lead)} (${one.row.what})`],
  );
  const doubt = doubtful === 0 ? "" : `; in ${doubtful} of them the rounds overlap`;
  return `by ${by.join(" to ")}${doubt}`;
}

/** How many times as good the better one is. */
export const factor = (lead: number): string => `${short(lead < 1 ? 1 / lead : lead)} x`;

/** The unit stands at the end of a metric's name. */
export const unitOf = (metric: string): string => metric.split(", ").at(-1) ?? "";
