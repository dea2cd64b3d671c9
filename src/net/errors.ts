/** Turns the errors of the runtimes' sockets into NgrokdError. Pure. */

import { errnoOf, errnoSentence } from "../model/errno.ts";
import { type ErrorCode, isNgrokdError, NgrokdError } from "../model/error.ts";
import { type Address, addressText, type PeerCertificate } from "./types.ts";

/**
 * A listener that could not be opened: `address-in-use`, `address-unavailable`,
 * `permission` or `network`.
 */
export function listenFailed(address: Address, cause: unknown): NgrokdError {
  // Deno 2.9.6 says EINVAL of an address that this machine does not have.
  const errno = "host" in address && errnoOf(cause) === "EINVAL" ? "EADDRNOTAVAIL" : errnoOf(cause);
  return failed(
    listenCodes[errno ?? ""] ?? "network",
    `Cannot listen on "${addressText(address)}"`,
    errno,
    cause,
  );
}

/** A descriptor that cannot be adopted as a listener. */
export function notAdopted(descriptor: number, why: string, cause?: unknown): NgrokdError {
  return new NgrokdError("network", `Cannot listen on the descriptor ${descriptor}: ${why}`, {
    cause,
  });
}

/** A dial that failed before TLS: `permission` or `network`. */
export function dialFailed(address: Address, cause: unknown): NgrokdError {
  const errno = errnoOf(cause);
  const denied = errno === "EACCES" || errno === "EPERM";
  return failed(
    denied ? "permission" : "network",
    `Cannot connect to "${addressText(address)}"`,
    errno,
    cause,
    dialSentences,
  );
}

/** A name without an address, or a failed lookup. */
export function lookupFailed(host: string, cause: unknown): NgrokdError {
  return failed("network", `Cannot look up "${host}"`, errnoOf(cause), cause);
}

/** A handshake that failed, or a certificate that was not verified. */
export function tlsFailed(
  address: Address,
  cause: unknown,
  certificate?: PeerCertificate,
  chain: readonly Uint8Array[] = [],
): NgrokdError {
  const reason = tlsReason(cause) ?? errnoOf(cause) ?? "UNKNOWN";
  const what = verdicts[reason] ?? mishaps[reason] ?? alertText(reason) ?? textOf(cause);
  const details = certificate === undefined ? { reason } : { reason, certificate };
  const message = `Cannot connect to "${addressText(address)}" over TLS: ${what}`;
  const error = new NgrokdError("tls", message, { cause, details });
  if (chain.length > 0) chains.set(error, chain);
  return error;
}

/** Beside the errors, since their details are printed. */
const chains = new WeakMap<object, readonly Uint8Array[]>();

/**
 * The certificates that a server showed in a failed handshake, each DER, its
 * own first. Nothing about them is verified.
 */
export const shownChain = (error: unknown): readonly Uint8Array[] =>
  (error instanceof NgrokdError ? chains.get(error) : undefined) ?? [];

/** True if TLS works and the certificate is the problem. */
export function isVerdict(cause: unknown): boolean {
  return (errnoOf(cause) ?? "") in verdicts;
}

/**
 * The end of an open connection: `tls` for an alert, `aborted` for a peer that
 * went away.
 */
export function lost(remote: Address, cause?: unknown): NgrokdError {
  const reason = tlsReason(cause);
  const what = `The connection with "${addressText(remote)}" broke`;
  if (reason !== undefined)
    return new NgrokdError("tls", `${what}: ${alertText(reason) ?? reason}`, {
      cause,
      details: { reason },
    });
  return failed("aborted", what, errnoOf(cause) ?? "ECONNRESET", cause);
}

/** The end of an open TLS connection that its peer did not end. */
export function cut(remote: Address): NgrokdError {
  return new NgrokdError(
    "aborted",
    `The connection with "${addressText(remote)}" was cut: it ended without TLS's close_notify, so data may be missing`,
    { details: { reason: cutOff } },
  );
}
const cutOff = "CUT";

/** Whether it is an error of {@link cut}. */
export const isCut = (error: unknown): boolean =>
  isNgrokdError(error, "aborted") && error.details.reason === cutOff;

/**
 * The error of an aborted signal: its own NgrokdError, `timeout` for
 * AbortSignal.timeout(), else `cancelled`.
 */
export function gaveUp(address: Address, reason: unknown): NgrokdError {
  if (reason instanceof NgrokdError) return reason;
  const late = reason instanceof Error && reason.name === "TimeoutError";
  const what = late ? "no answer in time" : "given up by the caller";
  return new NgrokdError(
    late ? "timeout" : "cancelled",
    `Cannot connect to "${addressText(address)}": ${what}`,
    { cause: reason },
  );
}

/** An error like a runtime's, for a failure that we find ourselves. */
export function coded(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function failed(
  code: ErrorCode,
  what: string,
  errno: string | undefined,
  cause: unknown,
  words = sentences,
): NgrokdError {
  const details = errno === undefined ? {} : { errno };
  return new NgrokdError(
    code,
    `${what}: ${words[errno ?? ""] ?? sentences[errno ?? ""] ?? errnoSentence(errno ?? "") ?? textOf(cause)}`,
    { cause, details },
  );
}

const listenCodes: Readonly<Record<string, ErrorCode>> = {
  EADDRINUSE: "address-in-use",
  EADDRNOTAVAIL: "address-unavailable",
  EACCES: "permission",
  EPERM: "permission",
};

const sentences: Readonly<Record<string, string>> = {
  EADDRINUSE: "the address is already in use",
  EADDRNOTAVAIL: "this machine has no such address",
  EACCES: "permission denied",
  EPERM: "not permitted",
  ENOENT: "a folder of the path does not exist",
  ENOTDIR: "a part of the path is not a folder",
  EINVAL: "the path is too long for a socket",
  ENAMETOOLONG: "the path is too long",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "the network is unreachable",
  ETIMEDOUT: "the peer does not answer",
  ECONNRESET: "the peer reset the connection",
  EPIPE: "the peer reset the connection",
  EMFILE: "this process has too many open files",
  ENFILE: "this machine has too many open files",
  ENOTFOUND: "the name does not exist, or has no address",
  EAI_AGAIN: "the name servers do not answer",
};

const dialSentences: Readonly<Record<string, string>> = {
  // Bun 1.4.5 says ECONNREFUSED for whatever keeps a TCP connection from being
  // made (oven-sh/bun#37093).
  ECONNREFUSED: "connection refused, or no program listens there",
  ENOENT: "the path does not exist",
  EAGAIN: "its queue of waiting connections is full",
};

/** The problems of a certificate, by the runtimes' codes. */
const verdicts: Readonly<Record<string, string>> = {
  UNABLE_TO_GET_ISSUER_CERT: "the certificate's CA is not trusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "the certificate's CA is not trusted",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "the certificate's CA is not trusted",
  SELF_SIGNED_CERT_IN_CHAIN: "the certificate's CA is not trusted",
  DEPTH_ZERO_SELF_SIGNED_CERT: "the certificate is self-signed and not trusted",
  CERT_HAS_EXPIRED: "the certificate has expired",
  CERT_NOT_YET_VALID: "the certificate is not valid yet",
  INVALID_PURPOSE: "the certificate is not meant for servers",
  ERR_TLS_CERT_ALTNAME_INVALID: "the certificate is for another name",
  CERT_WITHOUT_ALTNAME:
    "the certificate has no alternative name, and its common name does not count",
  CERT_SIGNATURE_TOO_WEAK: "the certificate or its CA's is signed with SHA-1 or weaker",
  CERT_KEY_TOO_WEAK: "the certificate or its CA's has an RSA key of less than 2048 bits",
};

/** The other problems of a handshake. */
const mishaps: Readonly<Record<string, string>> = {
  WRONG_VERSION_NUMBER: "the server does not speak TLS",
  ECONNRESET: "the server closed the connection during the handshake",
  ERR_OSSL_X509_KEY_VALUES_MISMATCH: "our certificate and our key do not belong together",
};

/**
 * OpenSSL's short name for the failure; undefined if it is not a TLS failure. A
 * failed verification has it as its code. A failure of the protocol has it in
 * `ERR_SSL_…` (Node.js, Deno) or at the end of `error:…:SSL routines:…:` (Bun,
 * with the code EPROTO).
 */
function tlsReason(cause: unknown): string | undefined {
  const errno = errnoOf(cause) ?? "";
  if (errno === "EPROTO") return /:([A-Z][A-Z0-9_]+)$/.exec(textOf(cause))?.[1] ?? errno;
  if (errno.startsWith("ERR_SSL_")) return errno.slice("ERR_SSL_".length);
  return errno in verdicts ? errno : undefined;
}

/** `TLSV13_ALERT_CERTIFICATE_REQUIRED` in words. */
function alertText(reason: string): string | undefined {
  const alert = /ALERT_(.+)$/.exec(reason)?.[1];
  return (
    alert && `the peer refused it with the alert "${alert.toLowerCase().replaceAll("_", " ")}"`
  );
}

const textOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
