/**
 * The same socket, with an idempotent close() that calls `after` once. Here and
 * not inside of its callers: it keeps everything that its function can see, and
 * there are thousands of listeners.
 */
export function closing<T extends { close(): void }>(socket: T, after: () => void): T {
  const { close } = socket;
  let open = true;
  socket.close = () => {
    if (!open) return;
    close.call(socket);
    open = false;
    after();
  };
  return socket;
}
