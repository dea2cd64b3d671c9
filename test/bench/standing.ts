import type { Figures } from "./figures.ts";

/** A metric that ngrokd and its peers are compared by. */
export interface Row {
  /** The name for the reader. */
  readonly what: string;
  readonly metric: string;
  readonly better: "less" | "more";
}

/** ngrokd beside the best of its peers. */
export interface Standing {
  readonly row: Row;
  readonly peer: string;
  /** Medians. */
  readonly own: number;
  readonly theirs: number;
  /** Above 1 if ngrokd is ahead, and below 1 if the peer is. */
  readonly lead: number;
  /**
   * `overlap` if some rounds of the two are in the opposite order, or equal.
   * One round says nothing about that.
   */
  readonly rounds: "one" | "apart" | "overlap";
}

/**
 * Compares by medians. A row without a measurement of `contender`, or of any
 * peer, has no standing.
 */
export function standings(
  rows: readonly Row[],
  figures: Figures,
  contender: string,
  peers: readonly string[],
): Standing[] {
  return rows.flatMap((row) => {
    const [best] = peers
      .map((peer) => ({ peer, theirs: figures.median(peer, row.metric) }))
      .filter(({ theirs }) => !Number.isNaN(theirs))
      .sort((a, b) => gain(row, b.theirs, a.theirs) - gain(row, a.theirs, b.theirs));
    const own = figures.median(contender, row.metric);
    if (best === undefined || Number.isNaN(own)) return [];
    const [mine = [], others = []] = [contender, best.peer].map((name) =>
      figures.values(name, row.metric),
    );
    return [
      { row, ...best, own, lead: gain(row, own, best.theirs), rounds: roundsOf(mine, others) },
    ];
  });
}

/** The ratio of two values, above 1 if the first is better. */
const gain = ({ better }: Row, first: number, second: number): number =>
  better === "more" ? first / second : second / first;

function roundsOf(a: readonly number[], b: readonly number[]): Standing["rounds"] {
  if (a.length < 2 || b.length < 2) return "one";
  const overlap = Math.min(...a) <= Math.max(...b) && Math.min(...b) <= Math.max(...a);
  return overlap ? "overlap" : "apart";
}
