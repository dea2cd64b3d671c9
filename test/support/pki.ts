/**
 * Throw-away certificates for tests: P-256, PEM texts, made in a millisecond or
 * two each.
 */
import "reflect-metadata"; // @peculiar/x509 needs it before itself
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";

/** A certificate and its private key (PKCS #8), both PEM. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

/**
 * A CA: its PEM texts, and the keys with which {@link issue} and {@link
 * intermediateCa} sign.
 */
export interface Authority extends Identity {
  readonly certificate: x509.X509Certificate;
  readonly keys: CryptoKeyPair;
}

export interface Validity {
  /** Both default to a time around now: an hour ago, a day ahead. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

export interface LeafOptions extends Validity {
  /**
   * Host names and IP addresses for the subject alternative name; none by
   * default.
   */
  readonly names?: readonly string[];
  /** Extended key usage; both by default. */
  readonly usage?: readonly ("server" | "client")[];
  /** P-256 by default. */
  readonly key?: "P-256" | "RSA-1024" | "RSA-2048";
  /** The hash of the signature; SHA-256 by default. */
  readonly hash?: Hash;
}

export type Hash = "SHA-1" | "SHA-256";

/** A self-signed root CA with the given common name. */
export async function rootCa(name = "Test Root CA", validity: Validity = {}): Promise<Authority> {
  const keys = await newKeys();
  const certificate = await sign({
    name,
    keys,
    issuer: { name: `CN=${name}, O=Test`, keys },
    validity,
    extensions: caExtensions(1),
  });
  return { ...(await identity(certificate, keys)), certificate, keys };
}

/** A CA that `parent` signed; it may sign leaves only. */
export async function intermediateCa(
  parent: Authority,
  name = "Test Intermediate CA",
  validity: Validity = {},
  hash?: Hash,
): Promise<Authority> {
  const keys = await newKeys();
  const issuer = { name: parent.certificate.subject, keys: parent.keys };
  const extensions = caExtensions(0);
  const certificate = await sign({ name, keys, issuer, validity, extensions, hash });
  return { ...(await identity(certificate, keys)), certificate, keys };
}

/** A leaf certificate for a server, a client or both. */
export async function issue(
  authority: Authority,
  name: string,
  options: LeafOptions = {},
): Promise<Identity> {
  const keys = await newKeys(options.key);
  const issuer = { name: authority.certificate.subject, keys: authority.keys };
  const usage = (options.usage ?? ["server", "client"]).map(
    (use) => x509.ExtendedKeyUsage[use === "server" ? "serverAuth" : "clientAuth"],
  );
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(
      x509.KeyUsageFlags.digitalSignature |
        (options.key?.startsWith("RSA") === true ? x509.KeyUsageFlags.keyEncipherment : 0),
      true,
    ),
    new x509.ExtendedKeyUsageExtension(usage),
  ];
  const names = options.names ?? [];
  if (names.length > 0) {
    const alternatives = names.map(
      (value): x509.JsonGeneralName => ({ type: isIP(value) === 0 ? "dns" : "ip", value }),
    );
    extensions.push(new x509.SubjectAlternativeNameExtension(alternatives));
  }
  const { hash } = options;
  return identity(await sign({ name, keys, issuer, validity: options, extensions, hash }), keys);
}

/** Times for {@link Validity}: `hours(-1)` is an hour ago. */
export function hours(n: number): Date {
  return new Date(Date.now() + n * 3_600_000);
}

interface ToSign {
  readonly name: string;
  readonly keys: CryptoKeyPair;
  readonly issuer: { readonly name: string; readonly keys: CryptoKeyPair };
  readonly validity: Validity;
  readonly extensions: readonly x509.Extension[];
  readonly hash?: Hash | undefined;
}

async function sign({
  name,
  keys,
  issuer,
  validity,
  extensions,
  hash = "SHA-256",
}: ToSign): Promise<x509.X509Certificate> {
  return x509.X509CertificateGenerator.create({
    // The leading 01 keeps the number positive.
    serialNumber: `01${Buffer.from(crypto.getRandomValues(new Uint8Array(15))).toString("hex")}`,
    subject: `CN=${name}, O=Test`,
    issuer: issuer.name,
    notBefore: validity.notBefore ?? hours(-1),
    notAfter: validity.notAfter ?? hours(24),
    signingAlgorithm: { name: "ECDSA", hash },
    publicKey: keys.publicKey,
    signingKey: issuer.keys.privateKey,
    extensions: [
      ...extensions,
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey),
    ],
  });
}

function caExtensions(pathLength: number): x509.Extension[] {
  return [
    new x509.BasicConstraintsExtension(true, pathLength, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
  ];
}

function newKeys(kind: LeafOptions["key"] = "P-256"): Promise<CryptoKeyPair> {
  const algorithm =
    kind === "P-256"
      ? { name: "ECDSA", namedCurve: "P-256" }
      : {
          name: "RSASSA-PKCS1-v1_5",
          modulusLength: Number(kind.slice(4)),
          publicExponent: Uint8Array.of(1, 0, 1),
          hash: "SHA-256",
        };
  return crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

async function identity(certificate: x509.X509Certificate, keys: CryptoKeyPair): Promise<Identity> {
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  // Each ends with a newline, so that a chain is a plain concatenation.
  return {
    cert: `${certificate.toString("pem")}\n`,
    key: `${x509.PemConverter.encode(pkcs8, "PRIVATE KEY")}\n`,
  };
}
