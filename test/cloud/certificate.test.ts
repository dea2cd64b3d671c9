import "reflect-metadata"; // @peculiar/x509 needs it before itself
import { describe, expect, test } from "bun:test";
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { Pkcs10CertificateRequest } from "@peculiar/x509";
import fc from "fast-check";
import {
  checkKeyPem,
  createCsr,
  createKey,
  fitsKey,
  inspectCertificate,
  renewalDue,
} from "../../src/cloud/certificate.ts";
import { isNgrokdError } from "../../src/model/error.ts";
import { hours, issue, rootCa } from "../support/pki.ts";

const ca = await rootCa("Some CA");
const ecKey = (namedCurve: string, type: "pkcs8" | "sec1") =>
  generateKeyPairSync("ec", { namedCurve }).privateKey.export({ type, format: "pem" }).toString();
const keys: [string, string][] = [
  ["P-256, PRIVATE KEY", ecKey("P-256", "pkcs8")],
  ["P-256, EC PRIVATE KEY", ecKey("P-256", "sec1")],
  ["P-384, PRIVATE KEY", ecKey("P-384", "pkcs8")],
  ["P-384, EC PRIVATE KEY, as the Go program writes it", ecKey("P-384", "sec1")],
];

const opensslTest = test.skipIf(Bun.which("openssl") === null);

/** Openssl's output for a PEM text. */
function openssl(args: string[], stdin: string): { exitCode: number; text: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["openssl", ...args], {
    stdin: Buffer.from(stdin),
  });
  return { exitCode, text: `${stdout}${stderr}` };
}

describe("createKey", () => {
  test("makes a P-256 key in PKCS #8, another one each time", async () => {
    const [one, two] = [await createKey(), await createKey()];
    expect(one).toStartWith("-----BEGIN PRIVATE KEY-----\n");
    expect(checkKeyPem(one)).toEqual({ ok: true, value: "P-256" });
    expect(one).not.toBe(two);
  });
});

describe("createCsr", () => {
  test.each(keys)("signs a request with an empty subject by a key in %s", async (_, key) => {
    const request = new Pkcs10CertificateRequest(await createCsr(key));
    expect(await request.verify()).toBe(true);
    expect(request.subject).toBe("");
    expect(Buffer.from(request.publicKey.rawData)).toEqual(
      createPublicKey(key).export({ type: "spki", format: "der" }),
    );
  });

  opensslTest.each(keys)("signs what openssl verifies, by a key in %s", async (_, key) => {
    const csr = await createCsr(key);
    expect(csr).toStartWith("-----BEGIN CERTIFICATE REQUEST-----\n");
    const { exitCode, text } = openssl(["req", "-verify", "-noout", "-subject", "-text"], csr);
    expect(text).toMatch(/verify OK/);
    expect(text).toMatch(/^subject=\s*$/m);
    expect(exitCode).toBe(0);
    const wanted =
      createPrivateKey(key).asymmetricKeyDetails?.namedCurve === "secp384r1"
        ? "ecdsa-with-SHA384"
        : "ecdsa-with-SHA256";
    expect(text).toContain(`Signature Algorithm: ${wanted}`);
  });

  opensslTest(
    "carries the attributes field, empty, which strict parsers such as Go's want",
    async () => {
      const { text } = openssl(["asn1parse", "-i"], await createCsr(keys[0]?.[1] ?? ""));
      expect(text).toMatch(/d=2\s+hl=2 l=\s*0 cons:\s+cont \[ 0 \]/);
    },
  );

  test.each([
    [
      "an RSA key",
      generateKeyPairSync("rsa", { modulusLength: 1024 })
        .privateKey.export({ type: "pkcs8", format: "pem" })
        .toString(),
      "rsa",
    ],
    ["a P-521 key", ecKey("P-521", "pkcs8"), "secp521r1"],
    ["nothing", "", "not a private key"],
    [
      "garbage",
      "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
      "not a private key",
    ],
    ["a certificate", ca.cert, "not a private key"],
  ])("refuses %s by its name", async (_, key, said) => {
    const error = await createCsr(key).catch((thrown) => thrown);
    expect(isNgrokdError(error, "state")).toBe(true);
    expect(error.message).toContain(said);
    expect(checkKeyPem(key).ok).toBe(false);
  });
});

describe("inspectCertificate", () => {
  test("returns names, times, fingerprint and public key", async () => {
    const leaf = await issue(ca, "client", {
      notBefore: new Date("2026-01-01T00:00:00Z"),
      notAfter: new Date("2026-04-01T00:00:00Z"),
    });
    const found = inspectCertificate(leaf.cert);
    if (!found.ok) throw new Error(found.reason);
    expect(found.value).toMatchObject({
      subject: "CN=client, O=Test",
      issuer: "CN=Some CA, O=Test",
    });
    expect(found.value.notBefore.toISOString()).toBe("2026-01-01T00:00:00.000Z");
    expect(found.value.notAfter.toISOString()).toBe("2026-04-01T00:00:00.000Z");
    const der = Buffer.from(leaf.cert.replaceAll(/-----.*-----|\s/g, ""), "base64");
    const sha256 = createHash("sha256").update(der).digest("hex").toUpperCase();
    expect(found.value.fingerprint256).toBe(sha256.match(/../g)?.join(":") ?? "");
  });

  test("looks at the first of a chain", async () => {
    const leaf = await issue(ca, "client");
    expect(inspectCertificate(leaf.cert + ca.cert)).toMatchObject({
      value: { subject: "CN=client, O=Test" },
    });
  });

  test.each([
    "",
    "hello",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ecKey("P-256", "pkcs8"),
  ])("says that %j is none", (text) => {
    expect(inspectCertificate(text)).toMatchObject({ ok: false });
  });
});

describe("fitsKey", () => {
  test("is true for a certificate and its key alone", async () => {
    const [one, two] = [await issue(ca, "one"), await issue(ca, "two")];
    expect(fitsKey(one.cert, one.key)).toBe(true);
    expect(fitsKey(one.cert + ca.cert, one.key)).toBe(true);
    expect(
      fitsKey(
        one.cert,
        createPrivateKey(one.key).export({ type: "sec1", format: "pem" }).toString(),
      ),
    ).toBe(true);
    expect(fitsKey(one.cert, two.key)).toBe(false);
    expect(fitsKey(one.cert, ecKey("P-384", "sec1"))).toBe(false);
    expect(fitsKey("", one.key)).toBe(false);
    expect(fitsKey(one.cert, "")).toBe(false);
  });
});

describe("renewalDue", () => {
  const life = { notBefore: hours(0), notAfter: hours(90) };

  test("turns true when less than a third of the life is left", () => {
    const turn =
      life.notBefore.getTime() + ((life.notAfter.getTime() - life.notBefore.getTime()) * 2) / 3;
    expect(renewalDue(life, new Date(turn))).toBe(false);
    expect(renewalDue(life, new Date(turn + 1))).toBe(true);
    expect(renewalDue(life, hours(1000))).toBe(true);
    expect(renewalDue(life, hours(-1000))).toBe(false);
  });

  test("never turns back with time", () => {
    const span = fc.integer({ min: 1, max: 1e12 });
    fc.assert(
      fc.property(span, span, span, (length, at, later) => {
        const certificate = { notBefore: new Date(0), notAfter: new Date(length) };
        return (
          !renewalDue(certificate, new Date(at)) || renewalDue(certificate, new Date(at + later))
        );
      }),
    );
  });
});
