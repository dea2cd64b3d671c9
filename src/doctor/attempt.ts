import { NgrokdError } from "../model/error.ts";

/**
 * The result of work that may fail, with its duration in milliseconds. A
 * failure is a value here, since it becomes a finding.
 */
export type Attempt<T> =
  | { readonly ok: true; readonly value: T; readonly tookMs: number }
  | { readonly ok: false; readonly error: unknown; readonly tookMs: number };

/**
 * Runs `work` for at most `withinMs` milliseconds. Then the signal aborts, and
 * work that ignores it is abandoned. Never rejects.
 */
export async function attempt<T>(
  what: string,
  withinMs: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<Attempt<T>> {
  const started = performance.now();
  const took = (): number => Math.round((performance.now() - started) * 10) / 10;
  const late = new AbortController();
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const error = new NgrokdError("timeout", `${what}: no answer within ${withinMs / 1000} s`);
    late.abort(error);
    reject(error);
  }, withinMs);
  try {
    return { ok: true, value: await Promise.race([work(late.signal), promise]), tookMs: took() };
  } catch (error) {
    return { ok: false, error, tookMs: took() };
  } finally {
    clearTimeout(timer);
  }
}

export interface Pace {
  /** The number of items at the same time. */
  readonly atOnce: number;
  /** After this many milliseconds no further item starts. */
  readonly budgetMs: number;
}

/**
 * Runs `work` on the items in order, several at once, within the time. Returns
 * the results in the order of the items.
 */
export async function paced<T, R>(
  items: readonly T[],
  { atOnce, budgetMs }: Pace,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const end = performance.now() + budgetMs;
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length && (next === 0 || performance.now() < end)) {
      const at = next;
      next += 1;
      results[at] = await work(items[at] as T);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  return results;
}
