/**
 * Calls `listener` once when `signal` aborts, and at once if it has aborted.
 * Returns a function that removes the listener; it is idempotent. A missing
 * signal never aborts.
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
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
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const unhook = onAbort(signal, () => reject(signal.reason));
  void work.then(resolve, reject).finally(unhook);
  return promise;
}

const nothingToUndo = (): void => undefined;
