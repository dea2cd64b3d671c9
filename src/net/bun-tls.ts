/** The options of TLS for Bun, and the verdict about a server. */
import type { Socket } from "./bun-stage.ts";
import { isIP } from "./is-ip.ts";
import { chainOf, type ShownCertificate, strongSuites, weaknessOf } from "./strength.ts";
import type { TlsClientOptions, TlsServerOptions } from "./types.ts";

/** Why the server is not the expected one; undefined if it is. */
export function problemOf(
  socket: Socket,
  ok: boolean,
  error: Error | null,
  tls: TlsClientOptions,
): Error | undefined {
  if (isResumed(socket, error)) return undefined;
  const proven = ok && !error && socket.authorized;
  const ours = provesAddress(tls);
  if (ours && (proven || isNameMismatch(error))) {
    const { checkServerIdentity } = process.getBuiltinModule("node:tls");
    return (
      checkServerIdentity(tls.serverName, socket.getPeerCertificate()) ?? weaknessIn(socket, tls)
    );
  }
  return proven ? weaknessIn(socket, tls) : (error ?? unverified);
}

/**
 * Whether the handshake has resumed a session (lean-session.ts). The other end
 * is then the server that was judged when the session began. Bun misses the
 * certificates of the session, and names them the problem of a handshake that
 * is complete. One that was cut off has another problem.
 */
const isResumed = (socket: Socket, error: Error | null): boolean =>
  socket.isSessionReused() && codeOf(error) === "UNABLE_TO_GET_ISSUER_CERT";

/**
 * Whether the certificate has to carry an address. Bun compares it with the
 * other end, which may be a proxy, and reports a name that does not fit after
 * every other problem. So the last comparison is ours.
 */
export const provesAddress = ({ serverName }: TlsClientOptions): boolean => isIP(serverName) !== 0;

/** Whether Bun judges the server. If a session is offered, it cannot. */
export const bunJudges = (tls: TlsClientOptions, session: Uint8Array | undefined): boolean =>
  tls.insecureSkipVerify !== true && !provesAddress(tls) && session === undefined;

/**
 * `rejectUnauthorized` is explicit since NODE_TLS_REJECT_UNAUTHORIZED would
 * decide otherwise. `allowPartialTrustChain` lets an intermediate CA be an
 * anchor. An address is no server name on the wire (RFC 6066, section 3).
 */
export function clientTls(tls: TlsClientOptions, session: Uint8Array | undefined): Bun.TLSOptions {
  const { serverName, ca, caFile, cert, key } = tls;
  const own = cert === undefined || key === undefined ? {} : { cert: unextended(cert), key };
  return {
    ...(caFile === undefined ? { ca: [...ca] } : { caFile }),
    serverName: isIP(serverName) === 0 ? serverName : "",
    ...own,
    rejectUnauthorized: bunJudges(tls, session),
    // None of them is older than TLS 1.2.
    ciphers: strongSuites,
    ...partialChain,
  };
}

/**
 * A certificate without a chain, twice. BoringSSL extends a chain of one by the
 * CAs above it, if they are among the trusted ones. It verifies them for that,
 * and so does the server, at resumed handshakes too: 0.3 ms of CPU. The server
 * has these CAs, and a repeated certificate costs nothing.
 */
const unextended = (cert: string): string =>
  cert.indexOf(begin) === cert.lastIndexOf(begin) ? `${cert}\n${cert}` : cert;

const begin = "-----BEGIN CERTIFICATE-----";

export function serverTls({ cert, key, clientCa }: TlsServerOptions): Bun.TLSOptions {
  if (clientCa === undefined) return { cert, key };
  return {
    cert,
    key,
    ca: [...clientCa],
    requestCert: true,
    rejectUnauthorized: true,
    ...partialChain,
  };
}

/** A resumed session is of a server that was judged before. */
function weaknessIn(socket: Socket, { ca }: TlsClientOptions): Error | undefined {
  return socket.isSessionReused() ? undefined : weaknessOf(chainFrom(socket), ca);
}

/** The certificates that the server has shown, each DER, its own first. */
export function chainFrom(socket: Socket): Uint8Array[] {
  // Bun returns the chain only if no short form is requested, a parameter that
  // its types lack.
  const asked = socket as { getPeerCertificate(short: boolean): ShownCertificate | null };
  return chainOf(asked.getPeerCertificate(false));
}

const unverified = new Error("the server's certificate was not verified");

/** Bun honours it, though its types lack it. */
const partialChain = { allowPartialTrustChain: true };

/**
 * The file of CAs may be gone; the list itself is still there. A check before
 * every dial would cost a twentieth of it.
 */
export function withoutMissingFile<T>(
  tls: TlsClientOptions,
  attempt: (tls: TlsClientOptions) => T,
): T {
  try {
    return attempt(tls);
  } catch (error) {
    if (tls.caFile === undefined || !isMissingFile(error)) throw error;
    return attempt({ ...tls, caFile: undefined });
  }
}

const isMissingFile = (error: unknown): boolean =>
  error instanceof TypeError && "code" in error && error.code === "ERR_INVALID_ARG_TYPE";

const isNameMismatch = (error: Error | null): boolean =>
  codeOf(error) === "ERR_TLS_CERT_ALTNAME_INVALID";

const codeOf = (error: Error | null): unknown =>
  error !== null && "code" in error ? error.code : undefined;
