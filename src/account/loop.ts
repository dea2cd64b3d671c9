import { retryDelay } from "../model/backoff.ts";
import { later, type Moment, moment } from "../model/moment.ts";

/** How a pass ended, for the time of the next one. */
export type PassEnd =
  | { readonly kind: "ok" }
  /** A pass soon, since a reply from ngrok needs confirmation. */
  | { readonly kind: "confirm" }
  | { readonly kind: "failed"; readonly error: unknown }
  /** No pass without a kick: there is no API key. */
  | { readonly kind: "idle" };

export interface Loop {
  /**
   * Asks for a pass that begins after this call. Settles when that pass has
   * ended. Never rejects.
   */
  kick(): Promise<void>;
  /** Prevents further passes. Settles when the running one has ended. */
  stop(): Promise<void>;
  readonly schedule: Schedule;
}

/** When the next pass begins, and how many have failed. */
export interface Schedule {
  /** Passes in a row that have failed. */
  readonly failures: number;
  /** Undefined while a pass runs, or if only a kick starts the next one. */
  readonly next: Moment | undefined;
}

export interface LoopOptions {
  /** One pass; must not reject. */
  readonly pass: (signal: AbortSignal) => Promise<PassEnd>;
  /** Milliseconds between passes that succeed; read before each wait. */
  readonly intervalMs: () => number;
  readonly random?: () => number;
}

/**
 * Runs the passes, one at a time. Timer, signals and the control socket all
 * kick this one loop.
 */
export function startLoop(options: LoopOptions): Loop {
  const { pass, intervalMs, random = Math.random } = options;
  const abort = new AbortController();
  let wake: () => void = () => {};
  let waiters: (() => void)[] = [];
  let kicked = true;
  let failures = 0;
  let next: Moment | undefined;
  const finished = run();
  return {
    kick() {
      if (abort.signal.aborted) return Promise.resolve();
      kicked = true;
      const done = new Promise<void>((resolve) => waiters.push(resolve));
      wake();
      return done;
    },
    async stop() {
      abort.abort();
      wake();
      await finished;
    },
    get schedule() {
      return { failures, next };
    },
  };

  async function run(): Promise<void> {
    while (!abort.signal.aborted) {
      kicked = false;
      const served = waiters;
      waiters = [];
      const end = await pass(abort.signal);
      for (const done of served) done();
      failures = end.kind === "failed" ? failures + 1 : 0;
      const delay = delayAfter(end, failures, intervalMs(), random());
      if (kicked || abort.signal.aborted) continue;
      next = delay === undefined ? undefined : later(moment(), delay);
      await sleep(delay);
      next = undefined;
    }
    for (const done of waiters) done();
  }

  function sleep(ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(() => wake(), ms);
      wake = () => {
        clearTimeout(timer);
        wake = () => {};
        resolve();
      };
    });
  }
}

const confirmMs = 2000;

/**
 * Pure: milliseconds to the next pass; undefined if only a kick starts it.
 * `random` is 0 to 1, as {@link retryDelay} takes it.
 */
export function delayAfter(
  end: PassEnd,
  failures: number,
  intervalMs: number,
  random: number,
): number | undefined {
  if (end.kind === "idle") return undefined;
  if (end.kind === "ok") return intervalMs;
  if (end.kind === "confirm") return Math.min(confirmMs, intervalMs);
  return retryDelay(end.error, failures, random);
}
