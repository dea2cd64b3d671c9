import type { Conn } from "./types.ts";

/**
 * The methods without promises for a Conn that has only those with promises: a
 * wrapper, or a fake.
 */
export function waitingVerbs(
  conn: Pick<Conn, "read" | "write" | "closed">,
): Pick<Conn, "readFor" | "writeFor" | "watch"> {
  return {
    readFor(waiter) {
      const next = conn.read();
      if (!(next instanceof Promise)) return next;
      next.then(
        (bytes) => waiter.arrived(bytes),
        (error) => waiter.failed(error),
      );
      return undefined;
    },
    writeFor(bytes, waiter) {
      const room = conn.write(bytes);
      room?.then(
        () => waiter.drained(),
        (error) => waiter.failed(error),
      );
      return room === undefined;
    },
    watch: watching(conn.closed),
  };
}

function watching(closed: Conn["closed"]): Conn["watch"] {
  let current: Parameters<Conn["watch"]>[0];
  let told: (() => void) | undefined;
  void closed.then((error) => {
    told = () => current?.gone(error);
    told();
  });
  return (watcher) => {
    current = watcher;
    told?.();
  };
}
