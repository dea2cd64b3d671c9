/** What runtimes say of sockets, turned into NgrokdError. Pure. */
import { type ErrorCode, NgrokdError } from "../model/error.ts";
import { type Address, addressText, type PeerCertificate } from "./types.ts";

/** A listener that could not be opened: `address-in-use`, `address-unavailable`, `permission` or `network`. */
export function listenFailed(address: Address, cause: unknown): NgrokdError {
  if (cause instanceof NgrokdError) return cause;
  const { errno: said_, text } = said(cause);
  const code = listenCodes[errno ?? ""] ?? "network";
  return new NgrokdError(code, `Cannot listen on "${addressText(address)}": ${sentences[errno ?? ""] ?? text}`, {
    cause,
    details: errno === undefined ? {} : { errno },
  });
}

/** A dial that failed before TLS: `permission` or `network`. */
export function dialFailed(address: Address, cause: unknown): NgrokdError {
  const { errno, text } = said(cause);
  const sentence = "path" in address && errno === "ENOENT" ? "the path does not exist" : sentences[errno ?? ""];
  return new NgrokdError(
    errno === "EACCES" || errno === "EPERM" ? "permission" : "network",
    `Cannot connect to "${addressText(address)}": ${sentence ?? text}`,
    { cause, details: errno === undefined ? {} : { errno } },
  );
}

/** A name that has no address, or that nobody could be asked for. */
export function lookupFailed(host: string, cause: unknown): NgrokdError {
  const { errno, text } = said(cause);
  return new NgrokdError("network", `Cannot look up "${host}": ${sentences[errno ?? ""] ?? text}`, {
    cause,
    details: errno === undefined ? {} : { errno },
  });
}

/** A handshake that failed, or a certificate that does not prove what it should. */
export function tlsFailed(address: Address, cause: unknown, certificate?: PeerCertificate): NgrokdError {
  const reason = tlsReason(cause) ?? said(cause).errno ?? "UNKNOWN";
  const message = `Cannot connect to "${addressText(address)}" over TLS: ${verdicts[reason] ?? mishaps[reason] ?? alertText(reason)}`;
  return new NgrokdError("tls", message, { cause, details: certificate === undefined ? { reason } : { reason, certificate } });
}

/** True where TLS works and the certificate is what is wrong. */
export function isVerdict(cause: unknown): boolean {
  return (said(cause).errno ?? "") in verdicts;
}

/** What ended a connection that was up: a TLS alert, or a peer that went away. */
export function lost(remote: Address, cause?: unknown): NgrokdError {
  const reason = tlsReason(cause);
  const where = addressText(remote);
  if (reason !== undefined) {
    return new NgrokdError("tls", `The TLS connection with "${where}" broke: ${alertText(reason)}`, { cause, details: { reason } });
  }
  const { errno } = said(cause);
  const what = errno === "ETIMEDOUT" ? "the peer no longer answers" : "the peer reset the connection";
  return new NgrokdError("aborted", `The connection with "${where}" broke: ${what}`, {
    cause,
    details: errno === undefined ? {} : { errno },
  });
}

/** Refused by ourselves, before the kernel would have to. */
export function tooManySockets(address: Address): NgrokdError {
  return dialFailed(address, Object.assign(new Error(), { code: "EMFILE" }));
}

/** What an aborted signal says: its own NgrokdError, `timeout` for AbortSignal.timeout(), else `cancelled`. */
export function gaveUp(address: Address, reason: unknown): NgrokdError {
  if (reason instanceof NgrokdError) return reason;
  const late = reason instanceof Error && reason.name === "TimeoutError";
  const what = late ? "no answer in time" : "given up by the caller";
  return new NgrokdError(late ? "timeout" : "cancelled", `Cannot connect to "${addressText(address)}": ${what}`, { cause: reason });
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
  EINVAL: "the path is too long, or not one that a socket can have",
  ENAMETOOLONG: "the path is too long",
  ECONNREFUSED: "connection refused",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "the network is unreachable",
  ETIMEDOUT: "no answer",
  ECONNRESET: "the peer reset the connection",
  EMFILE: "this process has too many open files",
  ENFILE: "this machine has too many open files",
  ENOTFOUND: "the name does not exist, or has no address",
  EAI_AGAIN: "the name servers do not answer",
};

/** What can be wrong with a certificate, by the runtimes' codes. */
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
};

/** What else can go wrong with a handshake. */
const mishaps: Readonly<Record<string, string>> = {
  WRONG_VERSION_NUMBER: "the server does not speak TLS",
  ECONNRESET: "the server closed the connection during the handshake",
};

/** The errno-like code and the text of whatever was thrown. */
function said(cause: unknown): { errno: string | undefined; text: string } {
  if (!(cause instanceof Error)) return { errno: undefined, text: String(cause) };
  return { errno: "code" in cause && typeof cause.code === "string" ? cause.code : undefined, text: cause.message };
}

/**
 * OpenSSL's short name for what went wrong, undefined where TLS had no part in it. Verification failures come with it as their code;
 * failures of the protocol carry it in `ERR_SSL_…` (Node.js) or at the end of `error:…:SSL routines:…:` (Bun, with the code EPROTO).
 */
function tlsReason(cause: unknown): string | undefined {
  const { errno = "", text } = said(cause);
  if (errno === "EPROTO") return /:([A-Z][A-Z0-9_]+)$/.exec(text)?.[1] ?? "EPROTO";
  if (errno.startsWith("ERR_SSL_")) return errno.slice("ERR_SSL_".length);
  return errno in verdicts ? errno : undefined;
}

/** `TLSV1_ALERT_CERTIFICATE_REQUIRED` in words. */
function alertText(reason: string): string {
  const alert = /ALERT_(.+)$/.exec(reason)?.[1];
  return alert === undefined ? reason : `the peer refused it with the alert "${alert.toLowerCase().replaceAll("_", " ")}"`;
}
