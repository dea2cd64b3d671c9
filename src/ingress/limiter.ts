import { onAbort, type Signal, throwIfAborted } from "../model/abort.ts";

/** Runs at most `limit` pieces of work at once. The others wait in order. */
export interface Limiter {
  /**
   * Runs `work` at its turn. If a signal aborts earlier, the work leaves the
   * queue, and this rejects with the signal's reason.
   */
  run<T>(work: () => Promise<T>, signal?: Signal): Promise<T>;
}

export function createLimiter(limit: number): Limiter {
  let running = 0;
  const queue = new Set<() => void>();

  const turn = (signal: Signal | undefined): Promise<void> | void => {
    throwIfAborted(signal);
    if (running < limit) {
      running += 1;
      return;
    }
    return new Promise((resolve, reject) => {
      const start = (): void => {
        unhook();
        resolve();
      };
      queue.add(start);
      const unhook = onAbort(signal, () => {
        queue.delete(start);
        reject(signal?.reason);
      });
    });
  };

  const done = (): void => {
    const [next] = queue;
    if (next === undefined) running -= 1;
    else {
      // The place passes on: `running` stays as it is.
      queue.delete(next);
      next();
    }
  };

  return {
    async run(work, signal) {
      await turn(signal);
      try {
        return await work();
      } finally {
        done();
      }
    },
  };
}
