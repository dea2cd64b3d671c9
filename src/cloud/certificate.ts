import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  X509Certificate,
} from "node:crypto";
import { promisify } from "node:util";
import { distinguishedName } from "../model/distinguished-name.ts";
import { NgrokdError } from "../model/error.ts";
import { type Parsed, parsed, unparsed } from "../model/parsed.ts";

/** The facts of a certificate that was parsed. */
export interface CertificateFacts {
  /** As `CN=x, O=y`; "" if it is empty, as ngrok's may be. */
  readonly subject: string;
  readonly issuer: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SHA-256 of the certificate, `AB:CD:…`. */
  readonly fingerprint256: string;
  /** The public key as SPKI DER. */
  readonly publicKey: Uint8Array;
}

/**
 * A new P-256 key, PKCS #8 PEM. It costs a quarter of P-384's CPU in every
 * handshake. Source: docs/protocol.md, "Identity".
 */
export async function createKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)("ec", { namedCurve: "P-256" });
  return pkcs8Pem(privateKey);
}

/**
 * A PKCS #10 request, PEM, with an empty subject: ngrok wants no common name
 * (docs/protocol.md, "Identity"). Takes P-256 and P-384 keys, as PKCS #8
 * ("PRIVATE KEY") or in Go's format ("EC PRIVATE KEY"). Rejects with
 * NgrokdError `state` for other keys.
 */
export async function createCsr(keyPem: string): Promise<string> {
  const key = readKey(keyPem);
  if (!key.ok) throw new NgrokdError("state", `Cannot make a certificate request: ${key.reason}`);
  const { Pkcs10CertificateRequestGenerator } = await loadX509();
  const { namedCurve, hash } = curves[key.value.curve];
  const algorithm = { name: "ECDSA", namedCurve, hash };
  const privateKey = key.value.object.export({ type: "pkcs8", format: "der" });
  const keys = {
    privateKey: await crypto.subtle.importKey(
      "pkcs8",
      new Uint8Array(privateKey),
      algorithm,
      false,
      ["sign"],
    ),
    publicKey: await crypto.subtle.importKey(
      "spki",
      new Uint8Array(publicKeyOf(key.value.object)),
      algorithm,
      true,
      ["verify"],
    ),
  };
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: "",
    keys,
    signingAlgorithm: algorithm,
  });
  return `${request.toString("pem")}\n`;
}

/**
 * The first certificate of a PEM text. Here and below, the runtimes' own errors
 * name parts of OpenSSL instead of the fault, so they are left out.
 */
export function inspectCertificate(pem: string): Parsed<CertificateFacts> {
  try {
    const found = new X509Certificate(pem);
    return parsed({
      subject: distinguishedName(found.subject),
      issuer: distinguishedName(found.issuer),
      notBefore: new Date(found.validFrom),
      notAfter: new Date(found.validTo),
      fingerprint256: found.fingerprint256,
      publicKey: found.publicKey.export({ type: "spki", format: "der" }),
    });
  } catch {
    return unparsed("it is not a certificate in PEM format");
  }
}

/**
 * Whether the (first) certificate was made for this key. Also false if the key
 * or the certificate cannot be read.
 */
export function fitsKey(certPem: string, keyPem: string): boolean {
  const certificate = inspectCertificate(certPem);
  const key = readPrivateKey(keyPem);
  return certificate.ok && key.ok && publicKeyOf(key.value).equals(certificate.value.publicKey);
}

/** Whether any certificate of the PEM text was made for this key. */
export const anyFitsKey = (certPem: string, keyPem: string): boolean =>
  certPem.split(/(?=-----BEGIN CERTIFICATE-----)/).some((pem) => fitsKey(pem, keyPem));

/**
 * Whether {@link createCsr} accepts this key. The reason never shows a part of
 * the key.
 */
export function checkKeyPem(keyPem: string): Parsed<"P-256" | "P-384"> {
  const key = readKey(keyPem);
  return key.ok ? parsed(curves[key.value.curve].namedCurve) : key;
}

/** The time in which a certificate is valid. */
export type Validity = Pick<CertificateFacts, "notBefore" | "notAfter">;

/**
 * The time at which a third of the certificate's life is left. Source:
 * docs/protocol.md, "Identity".
 */
export function renewalTime({ notBefore, notAfter }: Validity): Date {
  const [start, end] = [notBefore.getTime(), notAfter.getTime()];
  return new Date(end - (end - start) / 3);
}

/** Whether less than a third of the certificate's life is left. */
export const renewalDue = (certificate: Validity, now: Date): boolean =>
  now > renewalTime(certificate);

const curves = {
  prime256v1: { namedCurve: "P-256", hash: "SHA-256" },
  secp384r1: { namedCurve: "P-384", hash: "SHA-384" },
} as const;

function readKey(pem: string): Parsed<{ object: KeyObject; curve: keyof typeof curves }> {
  const key = readPrivateKey(pem);
  if (!key.ok) return key;
  const curve = key.value.asymmetricKeyDetails?.namedCurve ?? "";
  if (curve === "prime256v1" || curve === "secp384r1") return parsed({ object: key.value, curve });
  return unparsed(
    `the key is ${curve || key.value.asymmetricKeyType || "unknown"}, and P-256 or P-384 is needed`,
  );
}

function readPrivateKey(pem: string): Parsed<KeyObject> {
  if (/^-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(pem))
    return unparsed("it is encrypted, and ngrokd needs a key without a passphrase");
  try {
    return parsed(createPrivateKey(pem));
  } catch {
    return unparsed("it is not a private key in PEM format");
  }
}

/** Why a PEM text is not a usable private key; "" if it is one. */
export function privateKeyFault(pem: string): string {
  const key = readPrivateKey(pem);
  return key.ok ? "" : key.reason;
}

const publicKeyOf = (key: KeyObject): Buffer =>
  createPublicKey(key).export({ type: "spki", format: "der" });
const pkcs8Pem = (key: KeyObject): string =>
  key.export({ type: "pkcs8", format: "pem" }).toString();

/**
 * Loaded on demand: loading takes a tenth of a second, and a certificate is
 * requested once a quarter.
 */
async function loadX509() {
  await import("reflect-metadata"); // must be there before @peculiar/x509
  return await import("@peculiar/x509");
}
