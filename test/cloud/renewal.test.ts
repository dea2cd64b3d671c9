import { describe, expect, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApi } from "../../src/cloud/api.ts";
import { createKey } from "../../src/cloud/certificate.ts";
import { identityPaths, loadIdentity, register, savePart } from "../../src/cloud/registration.ts";
import { acceptable, renewCertificate } from "../../src/cloud/renewal.ts";
import type { ApiKey } from "../../src/model/api-key.ts";
import { fakeNgrok } from "../support/fake-api.ts";
import { hours, issue, rootCa } from "../support/pki.ts";

const ca = await rootCa("Some CA");
const host = { hostname: "build-box", os: "linux", arch: "x64", version: "1.2.3" };
const selectors = ["true"];

async function setUp() {
  const folder = await mkdtemp(join(tmpdir(), "ngrokd-renewal-"));
  const ngrok = await fakeNgrok();
  ngrok.hours = 10;
  const paths = identityPaths({
    client_cert: join(folder, "tls.crt"),
    client_key: join(folder, "tls.key"),
  });
  const api = createApi({ url: ngrok.url, key: "a-good-api-key" as ApiKey, userAgent: "test" });
  const identity = await register({ api, paths, facts: { selectors }, host });
  return {
    folder,
    ngrok,
    paths,
    identity,
    async renew() {
      const renewed = await renewCertificate({ api, identity });
      await savePart(paths, renewed, "certificate");
      await savePart(paths, renewed, "ingress");
      return renewed;
    },
    async [Symbol.asyncDispose]() {
      await ngrok[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

describe("renewCertificate", () => {
  test("certifies the same key for the same operator, and replaces one file", async () => {
    await using set = await setUp();
    set.ngrok.hours = 90;
    const before = await readdir(set.folder);
    const renewed = await set.renew();
    expect(set.ngrok.requests.at(-1)).toMatchObject({
      method: "PATCH",
      path: "/kubernetes_operators/k8sop_1",
    });
    // ngrok keeps the fields that are not sent. A renewal does not change the
    // selectors.
    expect(set.ngrok.requests.at(-1)?.json).toEqual({
      binding: { csr: expect.stringContaining("CERTIFICATE REQUEST") },
    });
    expect({ ...renewed, certPem: "" }).toEqual({ ...set.identity, certPem: "" });
    expect(renewed.certPem).not.toBe(set.identity.certPem);
    expect(await loadIdentity(set.paths)).toEqual({ kind: "identity", identity: renewed });
    expect(await readdir(set.folder)).toEqual(before);
  });

  test("changes nothing if ngrok refuses, or sends a certificate that is no better", async () => {
    await using set = await setUp();
    set.ngrok.hours = 5;
    await expect(set.renew()).rejects.toMatchObject({
      code: "api",
      message: expect.stringContaining("no later than the one in use"),
    });
    set.ngrok.intercept = () => ({ status: 503, text: "" });
    await expect(set.renew()).rejects.toMatchObject({ code: "api" });
    expect(await loadIdentity(set.paths)).toEqual({ kind: "identity", identity: set.identity });
  });

  test("writes nothing beside a key that an administrator is replacing", async () => {
    await using set = await setUp();
    set.ngrok.hours = 90;
    const foreign = await createKey();
    await writeFile(set.paths.key, foreign);
    expect((await set.renew()).keyPem).toBe(set.identity.keyPem);
    expect(await readFile(set.paths.cert, "utf8")).toBe(set.identity.certPem);
    expect(await readFile(set.paths.key, "utf8")).toBe(foreign);
  });

  test("keeps the ingress if the answer names none, and takes another one", async () => {
    await using set = await setUp();
    set.ngrok.hours = 90;
    set.ngrok.operators.get("k8sop_1").binding.ingress_endpoint = undefined;
    expect((await set.renew()).ingressEndpoint).toBe("ingress.example.com:443");
    set.ngrok.hours = 120;
    set.ngrok.operators.get("k8sop_1").binding.ingress_endpoint = "eu.example.com:8443";
    expect((await set.renew()).ingressEndpoint).toBe("eu.example.com:8443");
    expect(await readFile(set.paths.ingressEndpoint, "utf8")).toBe("eu.example.com:8443\n");
  });
});

describe("acceptable", () => {
  test("is only one that parses, fits the key, is valid now, and ends later", async () => {
    const { cert: certPem, key: keyPem } = await issue(ca, "a", {
      notBefore: hours(-2),
      notAfter: hours(2),
    });
    const inUse = { certPem, keyPem };
    const now = new Date();
    const refused = async (pem: string | undefined, at = now) => {
      const found = acceptable(pem, inUse, at);
      return found.ok ? "accepted" : found.reason;
    };
    const stranger = await issue(ca, "b", { notAfter: hours(9) });
    expect(await refused(undefined)).toContain("no certificate");
    expect(await refused("nonsense")).toContain("cannot be used");
    expect(await refused(stranger.cert)).toContain("does not fit our key");
    expect(await refused(certPem)).toContain("no later than the one in use");
    expect(await refused(certPem, hours(3))).toContain("expired on");
    expect(await refused(certPem, hours(-3))).toContain("in the future by this machine's clock");
    const older = { certPem: "unreadable", keyPem };
    expect(acceptable(certPem, older, now)).toEqual({ ok: true, value: certPem });
    // Even with a clock that is some minutes slow, the certificate must not
    // expire.
    expect(acceptable(certPem, older, new Date(hours(-2).getTime() - 4 * 60_000)).ok).toBe(true);
  });

  test("is any valid one if the one in use is not valid yet or has expired", async () => {
    const { cert: certPem, key: keyPem } = await issue(ca, "a", { notAfter: hours(2) });
    const early = await issue(ca, "b", { notBefore: hours(48), notAfter: hours(500) });
    const over = await issue(ca, "c", { notBefore: hours(-9), notAfter: hours(-1) });
    for (const inUse of [early.cert, over.cert])
      expect(acceptable(certPem, { certPem: inUse, keyPem }, new Date()).ok).toBe(true);
  });
});
