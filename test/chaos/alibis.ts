/**
 * Deliberate events that may end or refuse connections, with their time spans.
 */
export type Deed =
  /**
   * From kill -9 until all listen again. Every connection in this span may end
   * in any way.
   */
  | { readonly kind: "killed" }
  /**
   * ngrok does not offer this place (`host:port`), or the daemon may not have
   * noticed that it is back.
   */
  | { readonly kind: "removed"; readonly place: string }
  /**
   * The operator was deleted, or its certificate has expired while the API
   * refused to renew it. No connection can be opened.
   */
  | { readonly kind: "unknown" };

export type Span = Deed & { readonly from: number; to: number };

/** A connection that did not complete. Times are ms of performance.now(). */
export interface Suspect {
  readonly place: string;
  readonly from: number;
  readonly to: number;
  /** The bytes that came down. If there are any, the connection was open. */
  readonly received: number;
  /**
   * It ended cleanly before its last byte. Only the end of the daemon explains
   * this.
   */
  readonly short: boolean;
  readonly reason: string;
}

export type Why = Deed["kind"] | "cut";

export interface Alibis {
  readonly spans: readonly Span[];
  /** Begins a span now, or at `from`. Returns the function that ends it. */
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
 * Pure: the explanation of each failure, or undefined. A run looks for failures
 * without one. `cuts` are the times at which single connections to the ingress
 * were cut. Each explains one failure of a connection that was open then.
 */
export function explain(
  suspects: readonly Suspect[],
  spans: readonly Span[],
  cuts: readonly number[],
): Map<Suspect, Why | undefined> {
  const why = new Map<Suspect, Why | undefined>();
  const left = [...cuts];
  // In the order of their ends, each takes the earliest cut that fits. This
  // explains the most failures.
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
