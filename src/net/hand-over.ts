import type { Conn } from "./types.ts";

export type OnConn = (conn: Conn) => void | Promise<void>;

/**
 * Gives an accepted connection to its user. One that throws costs its own
 * connection, which the peer sees as a reset, and nothing else.
 */
export function handOver(conn: Conn, onConn: OnConn): void {
  try {
    onConn(conn)?.catch(() => conn.abort());
  } catch {
    conn.abort();
  }
}
