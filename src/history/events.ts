import { createRing } from "./ring.ts";

/** An event with its number; `at` is in milliseconds since the epoch. */
export interface Numbered<E> {
  readonly number: number;
  readonly at: number;
  readonly event: E;
}

export interface Batch<E> {
  readonly events: readonly Numbered<E>[];
  /** How many events after the asked one are no longer kept. */
  readonly lost: number;
  /** The number to ask for next. */
  readonly next: number;
}

/** The last events, for any number of readers at their own pace. */
export interface EventLog<E> {
  push(event: E, at: number): void;
  /** The number of the newest event. */
  readonly last: number;
  /** At most `limit` events after this number, the oldest first. */
  after(number: number, limit: number): Batch<E>;
  /**
   * Settles when there is an event after this number, or when the signal
   * aborts. Never rejects.
   */
  changed(number: number, signal: AbortSignal): Promise<void>;
}

/** Events that come together are told together. Milliseconds. */
const togetherMs = 20;

export function createEventLog<E>(most: number): EventLog<E> {
  const ring = createRing<Omit<Numbered<E>, "number">>(most);
  const waiting = new Set<() => void>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tell = (): void => {
    timer = undefined;
    for (const one of [...waiting]) one();
  };
  return {
    push(event, at) {
      ring.push({ event, at });
      if (waiting.size === 0 || timer !== undefined) return;
      timer = setTimeout(tell, togetherMs);
    },
    get last() {
      return ring.last;
    },
    after(number, limit) {
      const start = Math.max(number + 1, ring.first);
      const end = Math.min(ring.last, start + limit - 1);
      const events: Numbered<E>[] = [];
      for (let i = start; i <= end; i += 1) {
        const found = ring.at(i);
        if (found !== undefined) events.push({ ...found, number: i });
      }
      return { events, lost: Math.max(0, start - number - 1), next: Math.max(number, end) };
    },
    changed(number, signal) {
      if (ring.last > number || signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const settle = (): void => {
          waiting.delete(settle);
          signal.removeEventListener("abort", settle);
          resolve();
        };
        waiting.add(settle);
        signal.addEventListener("abort", settle);
      });
    },
  };
}
