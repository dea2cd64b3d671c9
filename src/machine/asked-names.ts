import type { Hostname } from "../model/hostname.ts";

/**
 * The names below wildcards that were asked for. Their order is that of the
 * last question, the longest ago first.
 */
export interface AskedNames {
  readonly all: ReadonlySet<Hostname>;
  readonly size: number;
  /** Counts up with every name that comes or goes. */
  readonly changes: number;
  /** Notes a question; a name that is not known is added. */
  add(name: Hostname): void;
  /** Notes a question if the name is known. */
  touch(name: string): void;
  remove(name: Hostname): void;
  /** The names without a question for `ms` or longer, the longest first. */
  idleFor(ms: number): Iterable<Hostname>;
}

/** `now`: milliseconds of a steady clock. */
export function createAskedNames(
  saved: ReadonlySet<Hostname>,
  now: () => number = () => performance.now(),
): AskedNames {
  // A saved name may still be known to a program, so it counts as asked now.
  const askedAt = new Map([...saved].map((name) => [name, now()]));
  let changes = 0;
  const note = (name: Hostname): void => {
    askedAt.delete(name);
    askedAt.set(name, now());
  };
  return {
    get all() {
      return new Set(askedAt.keys());
    },
    get size() {
      return askedAt.size;
    },
    get changes() {
      return changes;
    },
    add(name) {
      if (!askedAt.has(name)) changes += 1;
      note(name);
    },
    touch(name) {
      if (askedAt.has(name as Hostname)) note(name as Hostname);
    },
    remove(name) {
      if (askedAt.delete(name)) changes += 1;
    },
    *idleFor(ms) {
      for (const [name, at] of askedAt) {
        if (now() - at < ms) return;
        yield name;
      }
    },
  };
}
