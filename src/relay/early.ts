import { clearTimeout, setTimeout } from "node:timers";
import type { Conn } from "../net/types.ts";

/**
 * The first bytes of a client, which leave in the same flight as the request
 * for its endpoint (`forward.early_data`).
 */
export interface EarlyBytes {
  /** Settles when the first bytes are here, or after a moment without any. */
  wait(): Promise<void>;
  /** Call it when bytes have come that nobody has read. */
  came(): void;
  /** The bytes until now; undefined without any. Later ones stay unread. */
  take(): Uint8Array | undefined;
  /** The bytes that were taken; undefined without any. */
  readonly taken: Uint8Array | undefined;
}

/** The most early bytes of a connection. More wait for the answer. */
const mostEarly = 16 * 1024;
/**
 * A client that speaks first does so within this time, in milliseconds. The
 * others wait for it in vain, which a round trip to the ingress outweighs.
 */
const momentMs = 2;

export function createEarlyBytes(client: Conn): EarlyBytes {
  const first = Promise.withResolvers<void>();
  let taken: Uint8Array | undefined;
  return {
    async wait() {
      const here = client.readNow();
      if (here !== undefined) return client.unread(here);
      const late = setTimeout(first.resolve, momentMs);
      await first.promise;
      clearTimeout(late);
    },
    came: first.resolve,
    take() {
      const chunks: Uint8Array[] = [];
      for (let size = 0; size < mostEarly; ) {
        const here = client.readNow();
        if (here === undefined) break;
        const some = here.subarray(0, mostEarly - size);
        client.unread(here.subarray(some.length));
        chunks.push(some);
        size += some.length;
      }
      const [only, ...more] = chunks;
      const bytes = more.length === 0 || only === undefined ? only : Buffer.concat(chunks);
      taken = bytes ?? taken;
      return bytes;
    },
    get taken() {
      return taken;
    },
  };
}
