import { isIP } from "node:net";
import type * as X509 from "@peculiar/x509";
import { reasonOf } from "../model/error.ts";
import { type Parsed, parsed, unparsed } from "../model/parsed.ts";

// In this order, which a bundle does not keep for plain imports.
await import("reflect-metadata");
const x509 = await import("@peculiar/x509");

/**
 * The certificate authority of the local cloud, new at every start. It has a
 * root and an intermediate that signs everything, since ngrok also publishes an
 * intermediate for its ingress (docs/protocol.md, "The ingress").
 */
export interface Ca {
  /** PEM, one certificate each. */
  readonly rootPem: string;
  readonly intermediatePem: string;
  /**
   * A server certificate for these host names and IPs, followed by the
   * intermediate, and its key. All PEM.
   */
  issueServer(names: readonly string[]): Promise<{ cert: string; key: string }>;
  /**
   * Signs a client's CSR (PEM). The subject is `commonName`, not the CSR's.
   * Returns the reason if the CSR is invalid.
   */
  signClient(csr: string, commonName: string): Promise<Parsed<ClientCertificate>>;
}

export interface ClientCertificate {
  readonly pem: string;
  /** SHA-256 of the certificate, `AB:CD:…`, as TLS reports it. */
  readonly fingerprint256: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/**
 * `clientLifetimeMs`: the lifetime of client certificates, read for each one.
 * X.509 has whole seconds.
 */
export async function createCa(options: { clientLifetimeMs: number }): Promise<Ca> {
  const root = await authority("Root CA", undefined);
  const intermediate = await authority("Intermediate CA", root);
  return {
    rootPem: root.pem,
    intermediatePem: intermediate.pem,

    async issueServer(names) {
      const keys = await newKeys();
      const certificate = await sign({
        subject: `CN=${names[0]}`,
        publicKey: keys.publicKey,
        issuer: intermediate,
        lifetimeMs: caLifetimeMs,
        extensions: [
          ...leafExtensions(x509.ExtendedKeyUsage.serverAuth),
          new x509.SubjectAlternativeNameExtension(
            names.map((value) => ({
              type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const),
              value,
            })),
          ),
        ],
      });
      const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
      return {
        cert: pem(certificate) + intermediate.pem,
        key: `${x509.PemConverter.encode(pkcs8, "PRIVATE KEY")}\n`,
      };
    },

    async signClient(csr, commonName) {
      const request = await readCsr(csr);
      if (!request.ok) return request;
      const certificate = await sign({
        subject: `CN=${commonName}`,
        publicKey: request.value.publicKey,
        issuer: intermediate,
        lifetimeMs: options.clientLifetimeMs,
        extensions: leafExtensions(x509.ExtendedKeyUsage.clientAuth),
      });
      const { notBefore, notAfter } = certificate;
      const hash = Buffer.from(await certificate.getThumbprint("SHA-256")).toString("hex");
      return parsed({
        pem: pem(certificate),
        fingerprint256: hash.toUpperCase().replaceAll(/..(?=.)/g, "$&:"),
        notBefore,
        notAfter,
      });
    },
  };
}

interface Authority {
  readonly subject: string;
  readonly keys: CryptoKeyPair;
  readonly pem: string;
}

const caLifetimeMs = 10 * 365 * 24 * 3_600_000;
const organization = "ngrokd local cloud";

/** Self-signed without a `parent`. */
async function authority(name: string, parent: Authority | undefined): Promise<Authority> {
  const keys = await newKeys();
  const subject = `CN=${organization} ${name}, O=${organization}`;
  const certificate = await sign({
    subject,
    publicKey: keys.publicKey,
    issuer: parent ?? { subject, keys },
    lifetimeMs: caLifetimeMs,
    extensions: [
      new x509.BasicConstraintsExtension(true, parent === undefined ? 1 : 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
    ],
  });
  return { subject, keys, pem: pem(certificate) };
}

/**
 * Checks a CSR as ngrok does: signed by its own key, and without a name
 * (docs/protocol.md, "Identity").
 */
async function readCsr(text: string): Promise<Parsed<X509.Pkcs10CertificateRequest>> {
  try {
    const request = new x509.Pkcs10CertificateRequest(text);
    if (!(await request.verify())) return unparsed("the CSR's signature does not fit its key");
    if (request.subjectName.getField("CN").length > 0)
      return unparsed("the CSR's CommonName must be empty");
    return parsed(request);
  } catch (error) {
    return unparsed(`the CSR is not a PKCS #10 request in PEM: ${reasonOf(error)}`);
  }
}

interface SigningRequest {
  readonly subject: string;
  readonly publicKey: CryptoKey | X509.PublicKey;
  readonly issuer: Pick<Authority, "subject" | "keys">;
  readonly lifetimeMs: number;
  readonly extensions: readonly X509.Extension[];
}

async function sign({
  subject,
  publicKey,
  issuer,
  lifetimeMs,
  extensions,
}: SigningRequest): Promise<X509.X509Certificate> {
  const notBefore = new Date(Math.floor(Date.now() / 1000) * 1000);
  return await x509.X509CertificateGenerator.create({
    // A leading 01 makes the number positive.
    serialNumber: `01${Buffer.from(crypto.getRandomValues(new Uint8Array(15))).toString("hex")}`,
    subject,
    issuer: issuer.subject,
    notBefore,
    notAfter: new Date(notBefore.getTime() + lifetimeMs),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    publicKey,
    signingKey: issuer.keys.privateKey,
    extensions: [
      ...extensions,
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey),
    ],
  });
}

const leafExtensions = (usage: string): X509.Extension[] => [
  new x509.BasicConstraintsExtension(false, undefined, true),
  new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
  new x509.ExtendedKeyUsageExtension([usage]),
];

const newKeys = (): Promise<CryptoKeyPair> =>
  crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);

const pem = (certificate: X509.X509Certificate): string => `${certificate.toString("pem")}\n`;
