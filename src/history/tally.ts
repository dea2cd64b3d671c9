/** What an endpoint did since the last full second. */
export interface Tally {
  readonly endpoint: string;
  /** Open connections now. */
  active: number;
  up: number;
  down: number;
  opened: number;
  ended: number;
  failed: number;
  /** Whether anything is to be noted at the next second. */
  stirred: boolean;
}

/**
 * The tallies of the endpoints with traffic. One timer for all notes them each
 * second. It runs only while something moves, so an idle machine has none.
 */
export interface Tallies {
  /** The tally of an endpoint, made if there is none. */
  of(endpoint: string): Tally;
  /** The tally has changed. */
  stir(tally: Tally): void;
  /** Notes the pending changes now instead of at the next second. */
  flush(): void;
  stop(): void;
}

export function createTallies(note: (tallies: Iterable<Tally>) => void, tickMs = 1000): Tallies {
  const known = new Map<string, Tally>();
  const stirred = new Set<Tally>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  return {
    of(endpoint) {
      const found = known.get(endpoint);
      if (found !== undefined) return found;
      const tally = { endpoint, active: 0, ...nothing, stirred: false };
      known.set(endpoint, tally);
      return tally;
    },
    stir(tally) {
      tally.stirred = true;
      stirred.add(tally);
      if (timer !== undefined) return;
      timer = setTimeout(tick, tickMs);
      timer.unref?.();
    },
    flush() {
      clearTimeout(timer);
      tick();
    },
    stop() {
      clearTimeout(timer);
      timer = undefined;
    },
  };

  function tick(): void {
    timer = undefined;
    note(stirred);
    for (const tally of stirred) {
      Object.assign(tally, nothing);
      tally.stirred = false;
      if (tally.active === 0) known.delete(tally.endpoint);
    }
    stirred.clear();
  }
}

const nothing = { up: 0, down: 0, opened: 0, ended: 0, failed: 0 };
