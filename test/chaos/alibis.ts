/**
 * What was done on purpose, for a time, and may end connections or refuse them.
 */
export type Deed =
  /**
   * From kill -9 until everything listens again: whatever falls into it may end
   * in any way.
   */
  | { readonly kind: "killed" }
  /**
   * ngrok does not offer this place (`host:port`), or the daemon may not have
   * seen yet that it does again.
   */
  | { readonly kind: "removed"; readonly place: string }
  /**
   * The operator was deleted, or its certificate has expired since the API
   * would not renew it: connections cannot be opened.
   */
  | { readonly kind: "unknown" };

export type Span = Deed & { readonly from: number; to: number };

/** A connection that did not complete. Times are ms of performance.now(). */
export interface Suspect {
  readonly place: string;
  readonly from: number;
  readonly to: number;
  /**
   * Bytes that came down: a connection that has received something was open.
   */
  readonly received: number;
  /**
   * It ended cleanly before its last byte, which only the end of the daemon
   * itself explains.
   */
  readonly short: boolean;
  readonly reason: string;
}

export type Why = Deed["kind"] | "cut";

export interface Alibis {
  readonly spans: readonly Span[];
  /** A span that begins now, or began at `from`; answers what ends it. */
  begin(deed: Deed, from?: number): () => void;
}

export function createAlibis(): Alibis {
  const spans: Span[] = [];
  return {
    spans,
    begin(deed, from = performance.now()) {
      const span: Span = { ...deed, from, to: Number.POSITIVE_INFINITY };
      spans.push(span);
      return () => {
        span.to = performance.now();
      };
    },
  };
}

/**
 * Pure: what explains each of these; undefined where nothing does, which is
 * what a run looks for. `cuts` are the moments at which single connections were
 * cut on the way to the ingress; each explains one that was open then.
 */
export function explain(
  suspects: readonly Suspect[],
  spans: readonly Span[],
  cuts: readonly number[],
): Map<Suspect, Why | undefined> {
  const why = new Map<Suspect, Why | undefined>();
  const left = [...cuts];
  // By their ends, each takes the earliest cut that fits: no other way explains
  // more.
  for (const suspect of [...suspects].sort((a, b) => a.to - b.to)) {
    const span = spans.find((one) => overlap(one, suspect) && explains(one, suspect));
    const cut =
      span === undefined && !suspect.short
        ? left.findIndex((at) => at >= suspect.from && at <= suspect.to)
        : -1;
    if (cut >= 0) left.splice(cut, 1);
    why.set(suspect, span?.kind ?? (cut >= 0 ? "cut" : undefined));
  }
  return why;
}

export const overlap = (
  a: { from: number; to: number },
  b: { from: number; to: number },
): boolean => a.from <= b.to && b.from <= a.to;

function explains(span: Span, { place, received, short }: Suspect): boolean {
  switch (span.kind) {
    case "killed":
      return true;
    case "removed":
      return !short && span.place === place;
    case "unknown":
      return !short && received === 0;
  }
}
