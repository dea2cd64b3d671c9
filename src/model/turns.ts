/**
 * For a long series of steps that must not delay other work, such as the bytes
 * of connections. Between steps, `await turn()` lets other work run if the
 * steps since the last time took `ms` milliseconds.
 */
export function createTurns(
  ms = 0.5,
  now = () => performance.now(),
): () => Promise<void> | undefined {
  let began = now();
  return () => {
    if (now() - began < ms) return undefined;
    return new Promise((resolve) => {
      setImmediate(() => {
        began = now();
        resolve();
      });
    });
  };
}
