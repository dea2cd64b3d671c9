/**
 * Milliseconds of one count, and the number of counts. Demand is the number of
 * requests in the last ten seconds.
 */
const stepMs = 100;
const steps = 100;

export interface Demand {
  /** Records a request for one connection. */
  note(now: number): void;
  /**
   * How many ready connections this demand is worth, between `min` and `max`:
   * the arrivals during two dials, and at least the largest burst of 200 ms.
   * `dialMs` is the time of a dial. Without demand it is `min`.
   */
  target(now: number, options: { dialMs: number; min: number; max: number }): number;
}

/**
 * Counts in a ring, so recording costs an increment. Times are milliseconds of
 * any clock that does not jump.
 */
export function createDemand(): Demand {
  const counts = new Uint32Array(steps);
  let last = 0;

  const advance = (now: number): number => {
    const step = Math.floor(now / stepMs);
    for (let passed = Math.min(step - last, steps); passed > 0; passed -= 1)
      counts[(step - passed + 1) % steps] = 0;
    last = Math.max(last, step);
    return last % steps;
  };

  return {
    note(now) {
      const at = advance(now);
      counts[at] = (counts[at] ?? 0) + 1;
    },
    target(now, { dialMs, min, max }) {
      advance(now);
      let sum = 0;
      let burst = 0;
      let before = 0;
      // From the oldest count to the newest, so that neighbours in the ring are
      // neighbours in time.
      for (let i = 1; i <= steps; i += 1) {
        const count = counts[(last + i) % steps] ?? 0;
        sum += count;
        burst = Math.max(burst, before + count);
        before = count;
      }
      const arriving = (sum / (steps * stepMs)) * 2 * dialMs;
      return Math.max(min, Math.min(max, Math.ceil(Math.max(arriving, burst))));
    },
  };
}
