/** Requirements on a server's certificate beyond those of the runtimes. */
import type { X509Certificate } from "node:crypto";
import { coded } from "./errors.ts";

/** Signatures with SHA-2, and Ed25519. RSA-PSS is allowed with SHA-2 only. */
const strongSignatures = new Set([
  ...["1.2.840.113549.1.1.10", "1.2.840.113549.1.1.11"],
  ...["1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13"],
  ...["1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4"],
  "1.3.101.112",
]);
const leastRsaBits = 2048;

/**
 * Pure: why a verified certificate is too weak; undefined if it is not. `shown`
 * is the chain from the server, its own certificate first, each DER. The
 * anchors in `ca` are trusted without a look at their signatures.
 */
export function weaknessOf(shown: readonly Uint8Array[], ca: readonly string[]): Error | undefined {
  const [own, ...above] = shown.map((der) => certificateOf(Buffer.from(der)));
  if (own === undefined) return undefined;
  if (own.subjectAltName === undefined) return coded("CERT_WITHOUT_ALTNAME");
  if (hasWeakKey(own)) return coded("CERT_KEY_TOO_WEAK");
  for (const [i, one] of [own, ...above].entries()) {
    const weak = isWeaklySigned(one)
      ? "CERT_SIGNATURE_TOO_WEAK"
      : hasWeakKey(one)
        ? "CERT_KEY_TOO_WEAK"
        : undefined;
    if (weak === undefined) continue;
    return isSelfSigned(one) || (i > 0 && isAnchor(one, ca)) ? undefined : coded(weak);
  }
  return undefined;
}

/** By its key: who forges a certificate chooses its name. */
const isSelfSigned = (one: X509Certificate): boolean =>
  one.subject === one.issuer && one.verify(one.publicKey);

/** If a runtime does not report the algorithm, it accepts no weak one. */
function isWeaklySigned(certificate: X509Certificate): boolean {
  const { signatureAlgorithmOid: oid } = certificate as { signatureAlgorithmOid?: string };
  return oid !== undefined && !strongSignatures.has(oid);
}

function hasWeakKey({ publicKey }: X509Certificate): boolean {
  const bits = publicKey.asymmetricKeyDetails?.modulusLength;
  return bits !== undefined && bits < leastRsaBits;
}

const isAnchor = ({ raw }: X509Certificate, ca: readonly string[]): boolean =>
  ca.flatMap((text) => text.match(pem) ?? []).some((one) => certificateOf(one).raw.equals(raw));

/** Without node:crypto before the first handshake, for short commands. */
const certificateOf = (text: string | Buffer): X509Certificate =>
  new (process.getBuiltinModule("node:crypto").X509Certificate)(text);

const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * The suites of TLS 1.2: with forward secrecy and authenticated encryption.
 * Those of TLS 1.3 are all of that kind.
 */
export const strongSuites = ["ECDHE-ECDSA", "ECDHE-RSA"]
  .flatMap((exchange) => [
    `${exchange}-AES128-GCM-SHA256`,
    `${exchange}-AES256-GCM-SHA384`,
    `${exchange}-CHACHA20-POLY1305`,
  ])
  .join(":");

/** The certificate that a server showed, and those above it, each DER. */
export function chainOf(shown: ShownCertificate | null | undefined): Uint8Array[] {
  const chain: Uint8Array[] = [];
  for (let one = shown; one?.raw !== undefined; one = one.issuerCertificate) {
    if (chain.some((known) => known === one?.raw) || chain.length >= longestChain) break;
    chain.push(one.raw);
  }
  return chain;
}

const longestChain = 10;

/** The result of getPeerCertificate() with its issuers. */
export interface ShownCertificate {
  readonly raw?: Uint8Array;
  readonly issuerCertificate?: ShownCertificate;
}
