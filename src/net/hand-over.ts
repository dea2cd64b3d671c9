import type { Conn, OnConn, OnDatagram } from "./types.ts";

/**
 * Gives an accepted connection to its user. An exception or rejection of the
 * user resets this connection and no other.
 */
export function handOver(conn: Conn, onConn: OnConn): void {
  try {
    onConn(conn)?.catch(() => conn.abort());
  } catch {
    conn.abort();
  }
}

/**
 * Gives a datagram to its user. `drop` is called for an exception or rejection
 * of the user.
 */
export function deliver(
  onDatagram: OnDatagram,
  datagram: Parameters<OnDatagram>,
  drop: () => void,
): void {
  try {
    onDatagram(...datagram)?.catch(drop);
  } catch {
    drop();
  }
}
