import { isNgrokdError } from "../model/error.ts";

/** How a pass ended, as far as the next one is concerned. */
export type PassEnd =
  | { readonly kind: "ok" }
  /** Look again soon: something was seen that must be confirmed. */
  | { readonly kind: "confirm" }
  | { readonly kind: "failed"; readonly error: unknown }
  /** Nothing to do until somebody kicks: there is no API key. */
  | { readonly kind: "idle" };

export interface Loop {
  /** Asks for a pass that begins after this call; settles when that pass has ended, and never rejects. */
  kick(): Promise<void>;
  /** No further passes; settles when the running one has ended. */
  stop(): Promise<void>;
}

export interface LoopOptions {
  /** One pass; must not reject. */
  readonly pass: (signal: AbortSignal) => Promise<PassEnd>;
  /** Milliseconds between passes that succeed; asked anew every time. */
  readonly intervalMs: () => number;
  readonly random?: () => number;
}

/** The one runner for "again, please": timer, signals and the socket all kick it, and passes never overlap. */
export function startLoop(options: LoopOptions): Loop {
  const { pass, intervalMs, random = Math.random } = options;
  const abort = new AbortController();
  let wake: () => void = () => {};
  let waiters: (() => void)[] = [];
  let kicked = true;
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
  };

  async function run(): Promise<void> {
    let failures = 0;
    while (!abort.signal.aborted) {
      kicked = false;
      const served = waiters;
      waiters = [];
      const end = await pass(abort.signal);
      for (const done of served) done();
      failures = end.kind === "failed" ? failures + 1 : 0;
      const delay = delayAfter(end, failures, intervalMs(), random());
      if (!kicked && !abort.signal.aborted) await sleep(delay);
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

const firstRetryMs = 1000;
const longestRetryMs = 5 * 60_000;
/** A server that asks for more is not believed. */
const longestAskedMs = 60 * 60_000;
const confirmMs = 2000;

/**
 * Pure: milliseconds to the next pass, or undefined for "until kicked". After failures: doubling from 1 s to 5 min, with `random`
 * (0 to 1) taking off up to half so that many daemons do not return together; longer where ngrok names a time.
 */
export function delayAfter(end: PassEnd, failures: number, intervalMs: number, random: number): number | undefined {
  if (end.kind === "idle") return undefined;
  if (end.kind === "ok") return intervalMs;
  if (end.kind === "confirm") return Math.min(confirmMs, intervalMs);
  const backoff = Math.min(longestRetryMs, firstRetryMs * 2 ** Math.min(failures - 1, 20));
  const jittered = backoff * (1 - random / 2);
  const asked = isNgrokdError(end.error, "rate-limited") ? Number(end.error.details.retryAfterMs ?? 0) : 0;
  return Math.max(jittered, Number.isFinite(asked) ? Math.min(asked, longestAskedMs) : 0);
}
