import type { TlsSessions } from "../net/types.ts";

/**
 * In milliseconds. A ticket of this age is replaced by a newer one, and not
 * used beyond twice this age. The server may refuse it earlier.
 */
const freshMs = 5 * 60_000;

/**
 * The latest TLS session of one ingress under one set of settings. A resumed
 * session skips the verification of the chain and keeps the old client identity
 * (docs/design.md, "Ready connections"). So a change of the address, the name,
 * the CA or the certificate needs a new store.
 */
export function createSessions(now: () => number = () => performance.now()): TlsSessions {
  let latest: { session: Uint8Array; at: number } | undefined;
  return {
    get: () =>
      latest === undefined || now() - latest.at > 2 * freshMs ? undefined : latest.session,
    wanted: () => latest === undefined || now() - latest.at > freshMs,
    put(session) {
      latest = { session, at: now() };
    },
  };
}
