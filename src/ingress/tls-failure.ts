/** A failed TLS handshake with the ingress, explained to users. */
import { NgrokdError } from "../model/error.ts";
import type { PeerCertificate } from "../net/types.ts";
import { ngrokCa } from "./ngrok-ca.ts";

/**
 * A `tls` error of {@link Net.dial} for users: with the subject, issuer and
 * SHA-256 of the peer's certificate, and advice. An error without a certificate
 * keeps its message.
 */
export function describeTlsFailure(error: NgrokdError): NgrokdError {
  const shown = error.details.certificate as PeerCertificate | undefined;
  const what =
    shown === undefined
      ? ""
      : `; the certificate shown is of ${quoteName(shown.subject)}, issued by ${quoteName(shown.issuer)}, SHA-256 ${shown.fingerprint256}`;
  const hint = error.hint ?? hintOf(String(error.details.reason ?? ""), shown);
  return new NgrokdError(error.code, error.message + what, {
    cause: error,
    hint,
    details: { ...error.details },
  });
}

/** OpenSSL's names for a chain that ends in no anchor of ours. */
const untrusted = /^(?:UNABLE_TO_GET_ISSUER|UNABLE_TO_VERIFY|SELF_SIGNED|DEPTH_ZERO_SELF_SIGNED)/;

export const isUntrusted = (reason: string): boolean => untrusted.test(reason);

function hintOf(reason: string, shown: PeerCertificate | undefined): string | undefined {
  if (isUntrusted(reason)) {
    const getIt = `\`ngrokd trust ${ngrokCa.url}\` installs it after checking its fingerprint`;
    if (shown === undefined || /\bngrok\b/i.test(shown.issuer))
      return `ngrok's CA is in no system's trust store: ${getIt}`;
    return `this CA is not ngrok's: does a proxy intercept TLS, or is \`ingressEndpoint\` wrong? If it is yours, name its PEM file in \`server.ingress_ca\`; as for ngrok's CA, ${getIt}`;
  }
  if (reason === "CERT_HAS_EXPIRED" || reason === "CERT_NOT_YET_VALID")
    return "is the clock of this machine right?";
  // With TLS 1.2 the alert comes in the handshake. With 1.3 it comes only
  // later, in `upgrade`.
  if (/ALERT_(?:UNKNOWN_CA|\w*CERTIFICATE\w*)$/.test(reason)) return refusedCertificate;
  if (reason === "ERR_TLS_CERT_ALTNAME_INVALID")
    return "the certificate is for another name: is `ingressEndpoint` right?";
  if (reason === "CERT_WITHOUT_ALTNAME" || /^CERT_\w+_TOO_WEAK$/.test(reason))
    return "an ingress of your own needs a certificate with a subject alternative name, SHA-256 or better, and RSA from 2048 bits or an elliptic curve";
  return undefined;
}

/** Advice for an ingress that refuses our client certificate. */
export const refusedCertificate =
  "our client certificate may have expired, or belong to a deleted operator: see `ngrokd doctor`, and renew it with `ngrokd refresh-cert --force`";

/**
 * Names are longer than {@link quote} keeps, and may differ at their end only.
 */
export const quoteName = (name: string): string => JSON.stringify(name.slice(0, 300));
