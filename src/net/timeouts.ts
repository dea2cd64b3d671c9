/** The timeouts of the seam, all in milliseconds. */

/**
 * The idle time of a connection before the kernel probes its peer. Bun then
 * gives the peer 10 s. A shorter time would end idle connections during an
 * equally short outage of a Wi-Fi. A lost peer must be noticed within two
 * minutes in all.
 */
export const keepAliveIdle = 60_000;

/** How long a client of a TLS listener may take for its handshake. */
export const handshakeLimit = 10_000;

/**
 * After close(): how long nothing may move before the descriptor is freed
 * without the peer's FIN.
 */
export const lingerStep = 30_000;

/**
 * After close(): the number of those steps at most, even for a peer that goes
 * on sending.
 */
export const lingerSteps = 10;

/**
 * The time in which node.ts reads a certificate that failed to verify, to name
 * it in the error.
 */
export const lookLimit = 5_000;

/**
 * How long a dial waits for one address of a name before it also tries the next
 * (RFC 8305, section 5).
 */
export const dialStagger = 250;

/**
 * How long an old connection can stay in the pool of the runtime's fetch. Bun
 * 1.4.5 drops idle ones after 5 minutes, Deno 2.9 after 90 seconds. A used one
 * gets there at the end of its request.
 */
export const pooledAtMost = 6 * 60_000;
