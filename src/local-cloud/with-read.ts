import type { Conn } from "../net/types.ts";
import { waitingVerbs } from "../net/waiting.ts";

/** `conn` with another read, and perhaps another end of its half. */
function withRead(
  conn: Conn,
  { read, closeWrite = () => conn.closeWrite() }: Pick<Conn, "read"> & Partial<Conn>,
): Conn {
  const verbs = { closed: conn.closed, read, write: (bytes: Uint8Array) => conn.write(bytes) };
  return {
    ...verbs,
    ...waitingVerbs(verbs),
    closeWrite,
    remote: conn.remote,
    local: conn.local,
    // A wrapper may change the bytes, and does so in read() only.
    readNow: () => undefined,
    unread: (bytes) => conn.unread(bytes),
    peer: conn.peer,
    limitBuffers: (bytes) => conn.limitBuffers(bytes),
    close: () => conn.close(),
    abort: () => conn.abort(),
  };
}

/** `conn` with a read that is already pending. */
export function withFirstRead(conn: Conn, first: Promise<Uint8Array | null>): Conn {
  let waiting: Promise<Uint8Array | null> | undefined = first;
  return withRead(conn, {
    read() {
      const next = waiting ?? conn.read();
      waiting = undefined;
      return next;
    },
  });
}

/**
 * `conn` of a server that closes its socket behind the last byte, as Go servers
 * do: the system then answers all bytes of the client with a reset. If
 * `mayGoOn` returns true at that time, only the server's half ends.
 */
export function closingFully(conn: Conn, mayGoOn: () => boolean): Conn {
  let closed = false;
  return withRead(conn, {
    async read() {
      const bytes = await conn.read();
      if (closed && bytes !== null) conn.abort();
      return bytes;
    },
    closeWrite() {
      closed ||= !mayGoOn();
      conn.closeWrite();
    },
  });
}
