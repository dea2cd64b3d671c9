/**
 * The lines that a log may have within a window of time. An equal message is
 * only counted after its first line, and so is a message of a kind that has had
 * its lines. The counts are logged at the end of the window. A failing endpoint
 * under load thus costs two lines a minute, and thousands of them cost a few
 * dozen.
 */
export interface LogBudget {
  /**
   * Calls `emit` now with an empty remark, or later with the count. Each
   * message is a line of its own if it has no `repeats`.
   */
  pass(message: string, repeats: boolean, emit: (remark: string) => void): void;
  /** Logs the counts that are still held back. */
  flush(): void;
}

interface Limits {
  readonly windowMs: number;
  /** The most lines of one kind, and of all kinds. */
  readonly ofKind: number;
  readonly inAll: number;
}

/** Messages without a line of their own: how many, and the one to log. */
interface Held {
  held: number;
  emit: (remark: string) => void;
}

type Kind = Held & { printed: number };

export function createLogBudget({ windowMs, ofKind, inAll }: Limits): LogBudget {
  const equals = new Map<string, Held>();
  const kinds = new Map<string, Kind>();
  let [printed, timer]: [number, ReturnType<typeof setTimeout> | undefined] = [0, undefined];
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    printed = 0;
    const remarks = [
      ...[...equals.values()].map((one) => ({ ...one, what: counted(one.held, "more time") })),
      ...[...kinds.values()].map((one) => ({ ...one, what: counted(one.held, "other") })),
    ];
    equals.clear();
    kinds.clear();
    for (const { held, emit, what } of remarks) if (held > 0) emit(` (${what})`);
  };
  const holdBack = (held: Held, emit: Held["emit"]): void => {
    held.held += 1;
    held.emit = emit;
  };
  return {
    pass(message, repeats, emit) {
      if (timer === undefined) {
        timer = setTimeout(flush, windowMs);
        timer.unref?.();
      }
      const equal = equals.get(message);
      if (equal !== undefined) return holdBack(equal, equal.emit);
      const name = printed < inAll ? kindOf(message) : "";
      const kind = kinds.get(name) ?? { printed: 0, held: 0, emit };
      kinds.set(name, kind);
      if (kind.printed >= ofKind || printed >= inAll) return holdBack(kind, emit);
      kind.printed += 1;
      printed += 1;
      if (repeats) equals.set(message, { held: 0, emit });
      emit("");
    },
    flush,
  };
}

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;

/**
 * Pure: the level and the first three words of a message, without quoted texts,
 * names, addresses and numbers. Our own words are in front, and what comes from
 * outside is behind them.
 */
export function kindOf(message: string): string {
  const words = message
    .slice(0, 300)
    .replaceAll(/"(?:[^"\\]|\\.)*"?/g, '"')
    .split(/\s+/);
  return words
    .map((word) => (/\d|[.:/@*_-]./.test(word) ? "#" : word))
    .slice(0, 4)
    .join(" ");
}
