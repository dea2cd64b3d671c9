import { hostPortText } from "../model/host-port.ts";
import { isLookupFailure, type Look, type Patience, watchingResolver } from "../net/resolver.ts";
import type { Address, Conn, DialOptions, Net } from "../net/types.ts";

/** With an address to fall back on; a lookup takes milliseconds. */
const impatience: Patience = { askAfterMs: 500, silenceMs: 1000 };
/** Without one, the dial's own deadline ends it. */
const patience: Patience = { askAfterMs: 500, silenceMs: 24 * 3_600_000 };
/** How long after a silence no dial waits for the name servers. */
const distrustMs = 30_000;

/**
 * Dials as {@link Net.dial} does. If the name servers cannot resolve a host,
 * its last known address is dialled. TLS still proves the host's name.
 */
export function createDialer(
  net: Net,
  look?: Look,
  now: () => number = () => performance.now(),
): (target: { host: string; port: number }, options: DialOptions) => Promise<Conn> {
  const known = new Map<string, Address>();
  let silentUntil = Number.NEGATIVE_INFINITY;

  return async (target, options) => {
    const key = hostPortText(target);
    // Through a proxy, the proxy looks up the host.
    const last = options.via === undefined ? known.get(key) : undefined;
    if (last !== undefined && now() < silentUntil) return await net.dial(last, options);
    const looked = options.via?.host ?? target.host;
    try {
      const conn = await watchingResolver(
        looked,
        options.signal,
        last === undefined ? patience : impatience,
        (signal) => net.dial(target, { ...options, signal }),
        look,
      );
      if (options.via === undefined) known.set(key, conn.remote);
      return conn;
    } catch (error) {
      if (last === undefined || options.signal?.aborted || !isLookupFailure(error)) throw error;
      silentUntil = now() + distrustMs;
      return await net.dial(last, options);
    }
  };
}
