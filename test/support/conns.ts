/** Connections for tests: real pairs over loopback, and scripted ones. */
import { createBunNet } from "../../src/net/bun.ts";
import type { Conn } from "../../src/net/types.ts";
import { waitingVerbs } from "../../src/net/waiting.ts";

export const net = createBunNet();

export const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

export const later = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/** Two ends of one TCP connection. */
export async function pair(): Promise<readonly [near: Conn, far: Conn]> {
  const accepted = Promise.withResolvers<Conn>();
  const listener = await net.listen({ host: "127.0.0.1", port: 0 }, accepted.resolve);
  const near = await net.dial(listener.address);
  const far = await accepted.promise;
  listener.close();
  return [near, far];
}

/**
 * The bytes that arrive until there are at least `length` of them, or until the
 * peer has finished. Rejects on a reset.
 */
export async function read(conn: Conn, length = Number.POSITIVE_INFINITY): Promise<string> {
  const chunks: Uint8Array[] = [];
  for (let size = 0; size < length; ) {
    const chunk = await conn.read();
    if (chunk === null) break;
    chunks.push(chunk);
    size += chunk.length;
  }
  return Buffer.concat(chunks).toString();
}

/** How a connection ends for a reader: `FIN`, or the error's code. */
export async function ending(conn: Conn): Promise<string> {
  try {
    while ((await conn.read()) !== null);
    return "FIN";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

/**
 * A Conn without a socket: it delivers `chunks` and then ends, or stays silent.
 */
export function scripted(chunks: readonly Uint8Array[], last: "FIN" | "silence", promises = false) {
  const left = [...chunks];
  const gone = Promise.withResolvers<undefined>();
  const cut = Promise.withResolvers<never>();
  cut.promise.catch(() => undefined);
  const conn = {
    written: [] as Uint8Array[],
    fate: "open" as "open" | "closed" | "aborted",
    remote: { host: "127.0.0.1", port: 1 },
    local: { host: "127.0.0.1", port: 2 },
    peer: undefined,
    closed: gone.promise,
    read() {
      const next = left.shift() ?? (last === "FIN" ? null : undefined);
      if (next === undefined) return cut.promise;
      return promises ? Promise.resolve(next) : next;
    },
    readNow: () => left.shift(),
    unread(chunk: Uint8Array) {
      if (chunk.length > 0) left.unshift(chunk);
    },
    write(chunk: Uint8Array) {
      conn.written.push(chunk);
    },
    closeWrite() {},
    limitBuffers() {},
    close: () => end("closed"),
    abort: () => end("aborted"),
  };
  const end = (fate: "closed" | "aborted"): void => {
    if (conn.fate === "open") conn.fate = fate;
    gone.resolve(undefined);
    cut.reject(new Error("the connection was given up"));
  };
  // Returns the object itself, so that a test can replace its methods.
  return Object.assign(conn, waitingVerbs(conn)) satisfies Conn;
}
