/**
 * A fixed number of places for the connections of a server that any program may
 * connect to. If all are taken, a new connection replaces the one that has
 * rested for the longest time. So idle connections keep no other out.
 */
export interface Places {
  /**
   * Takes a place, and calls `dismiss` when the connection must give way.
   * Returns undefined if all others work. The new connection rests.
   */
  enter(dismiss: () => void): Place | undefined;
  /** Dismisses all. */
  clear(): void;
}

export interface Place {
  /** A sign of life: from now on it rests. */
  rest(): void;
  /** It does not give way until it rests again. */
  work(): void;
  /** The connection has ended. Idempotent. */
  leave(): void;
}

export function createPlaces(most: number): Places {
  /** In the order of their last sign of life. */
  const resting = new Set<() => void>();
  const working = new Set<() => void>();
  const dismissFirst = (): boolean => {
    const [first] = resting;
    if (first === undefined) return false;
    resting.delete(first);
    first();
    return true;
  };
  return {
    enter(dismiss) {
      if (resting.size + working.size >= most && !dismissFirst()) return undefined;
      const guest = (): void => dismiss();
      const move = (to: Set<() => void>): void => {
        if (resting.delete(guest) || working.delete(guest)) to.add(guest);
      };
      resting.add(guest);
      return {
        rest: () => move(resting),
        work: () => move(working),
        leave() {
          resting.delete(guest);
          working.delete(guest);
        },
      };
    },
    clear() {
      const all = [...resting, ...working];
      resting.clear();
      working.clear();
      for (const dismiss of all) dismiss();
    },
  };
}
