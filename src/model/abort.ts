/**
 * The part of an AbortSignal that work under way needs. An AbortSignal is one,
 * and so is a {@link Cancellation}.
 */
export interface Signal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/**
 * An AbortController and its signal in one object, for each connection and each
 * dial: those of the runtime cost a tenth of a connection's CPU.
 */
export class Cancellation implements Signal {
  aborted = false;
  reason: unknown = undefined;
  private readonly listeners = new Set<() => void>();

  /** Calls all listeners, once. Later calls have no effect. */
  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    for (const listener of this.listeners) {
      this.listeners.delete(listener);
      listener();
    }
  }

  addEventListener(_: "abort", listener: () => void): void {
    if (!this.aborted) this.listeners.add(listener);
  }

  removeEventListener(_: "abort", listener: () => void): void {
    this.listeners.delete(listener);
  }
}

/**
 * Runs `work` with a cancellation of its own, which also aborts with `signal`.
 * It may be aborted until the work has settled.
 */
export async function cancellable<T>(
  signal: Signal | undefined,
  work: (cancellation: Cancellation) => Promise<T>,
): Promise<T> {
  const own = new Cancellation();
  const unhook = onAbort(signal, () => own.abort(signal?.reason));
  try {
    return await work(own);
  } finally {
    unhook();
  }
}

/** For functions of the runtime, which take nothing else. */
export function abortSignalOf(signal: Signal): AbortSignal {
  if (signal instanceof AbortSignal) return signal;
  const controller = new AbortController();
  onAbort(signal, () => controller.abort(signal.reason));
  return controller.signal;
}

/** Throws the reason of a signal that has aborted. */
export function throwIfAborted(signal: Signal | undefined): void {
  if (signal?.aborted) throw signal.reason;
}

/**
 * Calls `listener` once when `signal` aborts, and at once if it has aborted.
 * Returns a function that removes the listener; it is idempotent. A missing
 * signal never aborts.
 */
export function onAbort(signal: Signal | undefined, listener: () => void): () => void {
  if (signal === undefined) return nothingToUndo;
  if (signal.aborted) {
    listener();
    return nothingToUndo;
  }
  // Without the event: a listener such as `resolve` would take it as its value.
  const hook = (): void => listener();
  signal.addEventListener("abort", hook, { once: true });
  return () => signal.removeEventListener("abort", hook);
}

/**
 * Settles as `work` does. An abort rejects at once with the signal's reason;
 * the work itself goes on, and its end is ignored.
 */
export function unlessAborted<T>(work: Promise<T>, signal: Signal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const unhook = onAbort(signal, () => reject(signal.reason));
  void work.then(resolve, reject).finally(unhook);
  return promise;
}

const nothingToUndo = (): void => undefined;
