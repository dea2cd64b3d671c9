/** The times of the seam, all in ms. */

/**
 * How long a connection idles before the kernel starts to ask whether its peer
 * is still there. Bun then gives it 10 s to answer: any sooner, and idle
 * connections would not outlive a Wi-Fi that is away for as long; and it has to
 * be noticed within two minutes in all.
 */
export const keepAliveIdle = 60_000;

/** How long a client of a TLS listener may take for its handshake. */
export const handshakeLimit = 10_000;

/**
 * After close(): how long nothing may move until the descriptor is given back
 * without the peer's FIN.
 */
export const lingerStep = 30_000;

/**
 * After close(): for how many of those steps at most, whatever a peer that
 * never finishes goes on sending.
 */
export const lingerSteps = 10;

/**
 * How long node.ts looks at a certificate that failed to verify, only to name
 * it in the error.
 */
export const lookLimit = 5_000;

/**
 * How long a dial waits for one of a name's addresses before it tries the next
 * beside it (RFC 8305, section 5).
 */
export const dialStagger = 250;

/**
 * How long a connection from before can still be in the pool of the runtime's
 * fetch: Bun 1.4.5 gives idle ones up after 5 minutes, Deno 2.9 after 90
 * seconds, and one that is in use gets there with the end of its request.
 */
export const pooledAtMost = 6 * 60_000;
