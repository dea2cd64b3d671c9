import { unlessAborted } from "./abort.ts";

/**
 * Runs one piece of work at a time, in the order of the calls. The result or
 * the failure of the work is the caller's alone. `signal` ends the wait for a
 * turn: the promise rejects at once with its reason, and the work never runs.
 * Work that runs already is not stopped.
 */
export type Serial = <T>(work: () => Promise<T>, signal?: AbortSignal) => Promise<T>;

/**
 * An empty queue. Not p-queue: it rejects running work on an abort, and starts
 * the next while that work still runs. Not async-mutex: its wait cannot be
 * aborted.
 */
export function createSerial(): Serial {
  let last: Promise<unknown> = Promise.resolve();
  return (work, signal) => {
    const turn = signal === undefined ? last : unlessAborted(last, signal);
    const result = turn.then(work);
    // Without the values: each would hold on to the one before it.
    last = Promise.allSettled([last, result]).then(() => undefined);
    return result;
  };
}
