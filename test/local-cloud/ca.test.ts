import "reflect-metadata"; // @peculiar/x509 needs it before itself
import { beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import fc from "fast-check";
import { createCsr, createKey, fitsKey } from "../../src/cloud/certificate.ts";
import { type Ca, createCa } from "../../src/local-cloud/ca.ts";
import { value } from "./support.ts";

let ca: Ca;
beforeAll(async () => {
  ca = await createCa({ clientLifetimeMs: 60_000 });
});

describe("the authority", () => {
  test("is a root, and an intermediate signed by it that may sign leaves only", () => {
    const [root, intermediate] = [
      new X509Certificate(ca.rootPem),
      new X509Certificate(ca.intermediatePem),
    ];
    expect(root.verify(root.publicKey)).toBe(true);
    expect(intermediate.verify(root.publicKey)).toBe(true);
    expect(intermediate.issuer).toBe(root.subject);
    expect(root.ca).toBe(true);
    expect(intermediate.ca).toBe(true);
    const limits = new x509.X509Certificate(ca.intermediatePem).getExtension(
      x509.BasicConstraintsExtension,
    );
    expect(limits?.pathLength).toBe(0);
  });

  test("issues server certificates for names and addresses, with the intermediate", async () => {
    const { cert, key } = await ca.issueServer(["127.0.0.1", "localhost"]);
    const [leaf = "", issuer = "", ...more] =
      cert.match(/-----BEGIN.*?-----END CERTIFICATE-----\n/gs) ?? [];
    const certificate = new X509Certificate(leaf);
    expect(issuer).toBe(ca.intermediatePem);
    expect(more).toEqual([]);
    expect(certificate.checkIP("127.0.0.1")).toBe("127.0.0.1");
    expect(certificate.checkHost("localhost")).toBe("localhost");
    expect(certificate.ca).toBe(false);
    expect(certificate.verify(new X509Certificate(ca.intermediatePem).publicKey)).toBe(true);
    expect(fitsKey(leaf, key)).toBe(true);
  });
});

describe("signClient", () => {
  test("signs a client's request under a name of our own, for the lifetime that is set", async () => {
    const key = await createKey();
    const before = Math.floor(Date.now() / 1000) * 1000;
    const signed = value(await ca.signClient(await createCsr(key), "k8sop_1"));
    const certificate = new X509Certificate(signed.pem);
    expect(certificate.subject).toBe("CN=k8sop_1");
    expect(certificate.issuer).toBe(new X509Certificate(ca.intermediatePem).subject);
    expect(certificate.verify(new X509Certificate(ca.intermediatePem).publicKey)).toBe(true);
    expect(certificate.fingerprint256).toBe(signed.fingerprint256);
    expect(fitsKey(signed.pem, key)).toBe(true);
    expect(Date.parse(certificate.validFrom)).toBe(signed.notBefore.getTime());
    expect(Date.parse(certificate.validTo)).toBe(signed.notAfter.getTime());
    expect(signed.notBefore.getTime()).toBeGreaterThanOrEqual(before);
    expect(signed.notAfter.getTime() - signed.notBefore.getTime()).toBe(60_000);
  });

  test("takes the Go program's P-384 key with an organization, but no common name", async () => {
    expect((await ca.signClient(await csr("P-384", "O=ngrokd"), "a")).ok).toBe(true);
    expect(await ca.signClient(await csr("P-256", "CN=me"), "a")).toEqual({
      ok: false,
      reason: "the CSR's CommonName must be empty",
    });
  });

  test("refuses a CSR that another key signed", async () => {
    const good = new x509.Pkcs10CertificateRequest(await createCsr(await createKey()));
    const other = new x509.Pkcs10CertificateRequest(await createCsr(await createKey()));
    const bytes = Buffer.from(good.rawData);
    const theirs = Buffer.from(other.publicKey.rawData);
    bytes.set(theirs, bytes.indexOf(Buffer.from(good.publicKey.rawData)));
    const forged = x509.PemConverter.encode(bytes, "CERTIFICATE REQUEST");
    expect(await ca.signClient(forged, "a")).toEqual({
      ok: false,
      reason: "the CSR's signature does not fit its key",
    });
  });

  test("refuses everything else with a reason, and never throws", async () => {
    const good = await createCsr(await createKey());
    const damaged = fc
      .tuple(fc.nat(), fc.string({ minLength: 1, maxLength: 4 }))
      .map(([at, text]) => {
        const cut = at % good.length;
        return good.slice(0, cut) + text + good.slice(cut + text.length);
      });
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), damaged), async (text) => {
        const signed = await ca.signClient(text, "a");
        // Damage outside the Base64 text leaves the CSR intact.
        if (!signed.ok) expect(signed.reason).toMatch(/^the CSR/);
        else expect(text).toContain("BEGIN CERTIFICATE REQUEST");
      }),
      { numRuns: 60 },
    );
  });
});

async function csr(namedCurve: string, name: string): Promise<string> {
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve }, true, [
    "sign",
    "verify",
  ]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name,
    keys,
    signingAlgorithm: { name: "ECDSA", hash: namedCurve === "P-384" ? "SHA-384" : "SHA-256" },
  });
  return request.toString("pem");
}
