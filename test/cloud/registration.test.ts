import "reflect-metadata"; // @peculiar/x509 needs it before itself
import { describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pkcs10CertificateRequest, X509CertificateGenerator } from "@peculiar/x509";
import fc from "fast-check";
import { type Api, createApi } from "../../src/cloud/api.ts";
import { createCsr, createKey, fitsKey } from "../../src/cloud/certificate.ts";
import { saveIngressEndpoint } from "../../src/cloud/identity-files.ts";
import {
  type Identity,
  identityPaths,
  loadIdentity,
  operatorRequest,
  register,
} from "../../src/cloud/registration.ts";
import type { ApiKey } from "../../src/model/api-key.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { type FakeNgrok, fakeNgrok } from "../support/fake-api.ts";
import { hours, issue, rootCa } from "../support/pki.ts";
import { anyText } from "../support/texts.ts";

const host = { hostname: "build-box", os: "linux", arch: "x64", version: "1.2.3" };
const facts = { selectors: ["endpoint.labels.env == 'dev'"] };
const now = new Date();
const keptAs = (name: string): string =>
  `${name}.old-${now.toISOString().replaceAll(/[-:.]/g, "")}`;
const strangersCert = (await issue(await rootCa(), "somebody else")).cert;

/**
 * A state folder that does not exist yet, and a small ngrok. Both are removed
 * at the end.
 */
async function setUp(): Promise<
  AsyncDisposable & {
    folder: string;
    paths: ReturnType<typeof identityPaths>;
    ngrok: FakeNgrok;
    api: Api;
  }
> {
  const base = await mkdtemp(join(tmpdir(), "ngrokd-test-"));
  const ngrok = await fakeNgrok();
  const folder = join(base, "etc", "ngrokd");
  return {
    folder,
    paths: identityPaths({
      client_cert: join(folder, "tls.crt"),
      client_key: join(folder, "tls.key"),
    }),
    ngrok,
    api: createApi({ url: ngrok.url, key: "a-good-api-key" as ApiKey, userAgent: "test" }),
    async [Symbol.asyncDispose]() {
      await ngrok[Symbol.asyncDispose]();
      await rm(base, { recursive: true, force: true });
    },
  };
}

const call = (
  { api, paths }: { api: Api; paths: ReturnType<typeof identityPaths> },
  more: { signal?: AbortSignal } = {},
): Promise<Identity> => register({ api, paths, facts, host, now: () => now, ...more });

const failure = async (promise: Promise<unknown>): Promise<NgrokdError> => {
  const error = await promise.then(
    () => new Error("expected a failure"),
    (thrown) => thrown,
  );
  if (!(error instanceof NgrokdError)) throw error;
  return error;
};

const mode = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);
/** Name and text of every file, with trimmed texts. */
const contents = async (folder: string): Promise<[string, string][]> =>
  Promise.all(
    (await readdir(folder))
      .sort()
      .map(
        async (name) =>
          [name, (await readFile(join(folder, name), "utf8")).trim()] as [string, string],
      ),
  );
const asked = (ngrok: FakeNgrok): string[] =>
  ngrok.requests.map(({ method, path }) => `${method} ${path}`);
const load = async (paths: ReturnType<typeof identityPaths>) => loadIdentity(paths, new Date());
const reasonIn = async (paths: ReturnType<typeof identityPaths>): Promise<string> => {
  const loaded = await load(paths);
  return loaded.kind === "unusable" ? loaded.reason : loaded.kind;
};

describe("identityPaths", () => {
  test("puts the operator id beside the certificate, wherever the key is", () => {
    expect(
      identityPaths({
        client_cert: "/var/lib/ngrokd/client.crt",
        client_key: "/secrets/client.key",
      }),
    ).toEqual({
      cert: "/var/lib/ngrokd/client.crt",
      key: "/secrets/client.key",
      operatorId: "/var/lib/ngrokd/operator_id",
      ingressEndpoint: "/var/lib/ngrokd/ingress_endpoint",
    });
  });
});

describe("operatorRequest", () => {
  test("names this host, its selectors and its CSR, and no deployment", () => {
    expect(operatorRequest(facts, host, "CSR")).toEqual({
      description: "ngrokd on build-box",
      metadata:
        '{"owned-by":"ngrokd","hostname":"build-box","os":"linux","arch":"x64","version":"1.2.3"}',
      enabled_features: ["bindings"],
      region: "global",
      binding: { endpoint_selectors: ["endpoint.labels.env == 'dev'"], csr: "CSR" },
    });
    expect(operatorRequest({ ...facts, region: "eu" }, host, "CSR").region).toBe("eu");
  });

  test("stays within ngrok's limits and whole characters, for any hostname", () => {
    const text = fc.oneof(
      fc.array(anyText, { maxLength: 100 }).map((parts) => parts.join("")),
      fc.string({ unit: "grapheme", minLength: 100, maxLength: 600 }),
      fc.constant("\u0000".repeat(5000)),
      fc.constant("\u{1f600}".repeat(500)),
    );
    fc.assert(
      fc.property(text, text, text, text, (hostname, os, arch, version) => {
        const { description, metadata } = operatorRequest(
          facts,
          { hostname, os, arch, version },
          "CSR",
        );
        expect(Buffer.byteLength(description)).toBeLessThanOrEqual(255);
        expect(Buffer.byteLength(metadata)).toBeLessThanOrEqual(4096);
        expect(`ngrokd on ${hostname}`).toStartWith(description);
        expect(description.isWellFormed() || !hostname.isWellFormed()).toBe(true);
        expect(hostname).toStartWith(JSON.parse(metadata).hostname);
      }),
      { numRuns: 50 },
    );
  });
});

describe("register, from nothing", () => {
  test("makes a key, has it certified, and saves the identity", async () => {
    await using set = await setUp();
    const identity = await call(set);
    expect(identity.operatorId).toBe("k8sop_1");
    expect(identity.ingressEndpoint).toBe("ingress.example.com:443");
    expect(fitsKey(identity.certPem, identity.keyPem)).toBe(true);
    expect(asked(set.ngrok)).toEqual(["POST /kubernetes_operators"]);
    expect(set.ngrok.requests[0]?.json).toMatchObject({
      description: "ngrokd on build-box",
      binding: { endpoint_selectors: facts.selectors },
    });
    expect(await load(set.paths)).toEqual({ kind: "identity", identity });
  });

  test("gives the files the modes they need, and their folder 0700", async () => {
    await using set = await setUp();
    await call(set);
    expect((await readdir(set.folder)).sort()).toEqual([
      "ingress_endpoint",
      "operator_id",
      "tls.crt",
      "tls.key",
    ]);
    expect(await mode(set.folder)).toBe("700");
    expect(await mode(set.paths.key)).toBe("600");
    expect(await mode(set.paths.operatorId)).toBe("600");
    expect(await mode(set.paths.cert)).toBe("644");
    expect(await readFile(set.paths.operatorId, "utf8")).toBe("k8sop_1");
  });

  test("leaves a folder's mode alone that was there", async () => {
    await using set = await setUp();
    await mkdir(set.folder, { recursive: true });
    await chmod(set.folder, 0o755);
    await call(set);
    expect(await mode(set.folder)).toBe("755");
  });

  test("called again only loads, without a word to ngrok", async () => {
    await using set = await setUp();
    const identity = await call(set);
    expect(await call(set)).toEqual(identity);
    expect(set.ngrok.requests.length).toBe(1);
  });

  test("asks nothing of ngrok if the folder cannot be written", async () => {
    await using set = await setUp();
    await mkdir(join(set.folder, ".."), { recursive: true });
    await writeFile(set.folder, "a file where the folder should be");
    const error = await failure(call(set));
    expect(error.code).toBe("state");
    expect(error.message).toContain(set.folder);
    expect(set.ngrok.requests).toEqual([]);
  });

  test("takes an answer without an ingress endpoint", async () => {
    await using set = await setUp();
    set.ngrok.ingressEndpoint = undefined;
    expect((await call(set)).ingressEndpoint).toBeUndefined();
    expect(await load(set.paths)).toMatchObject({
      kind: "identity",
      identity: { ingressEndpoint: undefined },
    });
    expect(await readdir(set.folder)).not.toContain("ingress_endpoint");
  });
});

describe("register, when something fails", () => {
  test("keeps its key through a refusal, and uses it the next time", async () => {
    await using set = await setUp();
    set.ngrok.intercept = () => ({ status: 503, text: "" });
    expect((await failure(call(set))).code).toBe("api");
    const key = await readFile(set.paths.key, "utf8");
    expect(await reasonIn(set.paths)).toContain("no certificate");
    set.ngrok.intercept = () => undefined;
    expect((await call(set)).keyPem).toBe(key);
  });

  test("deletes the new operator again if it cannot be saved", async () => {
    await using set = await setUp();
    set.ngrok.intercept = ({ method }) => {
      // Between the check and the saving, a folder takes the certificate's
      // place.
      if (method === "POST") Bun.spawnSync(["mkdir", "-p", join(set.paths.cert, "x")]);
      return undefined;
    };
    const error = await failure(call(set));
    expect(error.code).toBe("state");
    expect(error.message).toContain(set.paths.cert);
    expect(asked(set.ngrok)).toEqual([
      "POST /kubernetes_operators",
      "DELETE /kubernetes_operators/k8sop_1",
    ]);
    expect(set.ngrok.operators.size).toBe(0);
  });

  test("names the operator if even the deleting fails", async () => {
    await using set = await setUp();
    set.ngrok.intercept = ({ method }) => {
      if (method === "POST") Bun.spawnSync(["mkdir", "-p", join(set.paths.cert, "x")]);
      return method === "DELETE" ? { status: 500, text: "" } : undefined;
    };
    const error = await failure(call(set));
    expect(error).toMatchObject({ code: "state", details: { operatorId: "k8sop_1" } });
    expect(error.message).toContain(set.paths.cert);
    expect(error.message).toContain("could not be deleted again");
    expect(error.hint).toContain("k8sop_1");
  });

  test.each([
    ["no certificate", { cert: { cert: "" } }],
    ["does not fit our key", { cert: { cert: strangersCert } }],
  ])("deletes the new operator after a bad reply from ngrok: %s", async (said, binding) => {
    await using set = await setUp();
    set.ngrok.intercept = ({ method }) =>
      method === "POST" ? { status: 201, json: { id: "k8sop_9", binding } } : undefined;
    const error = await failure(call(set));
    expect(error.code).toBe("api");
    expect(error.message).toContain(said);
    expect(asked(set.ngrok)).toEqual([
      "POST /kubernetes_operators",
      "DELETE /kubernetes_operators/k8sop_9",
    ]);
    expect(await readdir(set.folder)).toEqual(["tls.key"]);
  });

  test("deletes it also if the caller has given up meanwhile", async () => {
    await using set = await setUp();
    const cancel = new AbortController();
    const api: Api = {
      ...set.api,
      async createOperator(request, signal) {
        const made = await set.api.createOperator(request, signal);
        cancel.abort();
        return { ...made, certPem: undefined };
      },
    };
    expect((await failure(call({ ...set, api }, { signal: cancel.signal }))).code).toBe("api");
    expect(asked(set.ngrok)).toEqual([
      "POST /kubernetes_operators",
      "DELETE /kubernetes_operators/k8sop_1",
    ]);
  });

  test("says nothing to ngrok for a caller that has given up before", async () => {
    await using set = await setUp();
    expect((await failure(call(set, { signal: AbortSignal.abort() }))).code).toBe("cancelled");
    expect(set.ngrok.requests).toEqual([]);
  });
});

describe("register, after a crash", () => {
  test("between ngrok's answer and its saving finds its operator by the key", async () => {
    await using set = await setUp();
    const { keyPem } = await call(set);
    for (const path of [set.paths.cert, set.paths.operatorId, set.paths.ingressEndpoint])
      await rm(path);
    const identity = await call(set);
    expect(identity).toMatchObject({
      operatorId: "k8sop_1",
      keyPem,
      ingressEndpoint: "ingress.example.com:443",
    });
    expect(asked(set.ngrok).slice(1)).toEqual([
      "GET /kubernetes_operators",
      "PATCH /kubernetes_operators/k8sop_1",
    ]);
    expect(await load(set.paths)).toEqual({ kind: "identity", identity });
  });

  test("before the certificate was saved asks for it again", async () => {
    await using set = await setUp();
    await call(set);
    await rm(set.paths.cert);
    expect(await reasonIn(set.paths)).toContain("no certificate");
    expect((await call(set)).operatorId).toBe("k8sop_1");
    expect(asked(set.ngrok).slice(1)).toEqual(["PATCH /kubernetes_operators/k8sop_1"]);
  });

  test("with a key that ngrok never heard of registers with it", async () => {
    await using set = await setUp();
    await mkdir(set.folder, { recursive: true });
    const key = await createKey();
    await writeFile(set.paths.key, key, { mode: 0o600 });
    expect(await call(set)).toMatchObject({ operatorId: "k8sop_1", keyPem: key });
    expect(asked(set.ngrok)).toEqual(["GET /kubernetes_operators", "POST /kubernetes_operators"]);
  });
});

describe("register, with an identity that cannot serve", () => {
  test("renews an expired certificate, and keeps the old one", async () => {
    await using set = await setUp();
    set.ngrok.hours = -1;
    const { certPem } = await call(set);
    expect(await reasonIn(set.paths)).toContain("expired on");
    set.ngrok.hours = 24 * 90;
    const identity = await register({
      ...set,
      facts: { selectors: ["false"] },
      host,
      now: () => new Date(),
    });
    expect(identity.operatorId).toBe("k8sop_1");
    expect(set.ngrok.requests.at(-1)).toMatchObject({
      method: "PATCH",
      json: { binding: { endpoint_selectors: ["false"] } },
    });
    const kept = (await readdir(set.folder)).filter((name) => name.startsWith("tls.crt.old-"));
    expect(kept.length).toBe(1);
    expect(await readFile(join(set.folder, kept[0] ?? ""), "utf8")).toBe(certPem);
    expect((await load(set.paths)).kind).toBe("identity");
  });

  test("registers again if ngrok says that the operator is gone", async () => {
    await using set = await setUp();
    await call(set);
    set.ngrok.operators.clear();
    await rm(set.paths.cert);
    expect((await call(set)).operatorId).toBe("k8sop_2");
    expect(await readFile(join(set.folder, keptAs("operator_id")), "utf8")).toBe("k8sop_1");
    expect(asked(set.ngrok).slice(1)).toEqual([
      "PATCH /kubernetes_operators/k8sop_1",
      "GET /kubernetes_operators",
      "POST /kubernetes_operators",
    ]);
  });

  test("does not take a proxy's 404 for that", async () => {
    await using set = await setUp();
    await call(set);
    await rm(set.paths.cert);
    set.ngrok.intercept = () => ({ status: 404, text: "<html>not here</html>" });
    expect((await failure(call(set))).code).toBe("not-found");
    expect(await readFile(set.paths.operatorId, "utf8")).toBe("k8sop_1");
    expect(asked(set.ngrok).slice(1)).toEqual(["PATCH /kubernetes_operators/k8sop_1"]);
  });

  test("replaces a damaged key, and keeps it, readable by its owner alone", async () => {
    await using set = await setUp();
    await call(set);
    await writeFile(set.paths.key, "damaged");
    expect(await reasonIn(set.paths)).toContain("it is not a private key in PEM format");
    const identity = await call(set);
    expect(identity.operatorId).toBe("k8sop_1");
    expect(fitsKey(identity.certPem, identity.keyPem)).toBe(true);
    const kept = join(set.folder, keptAs("tls.key"));
    expect(await readFile(kept, "utf8")).toBe("damaged");
    expect(await mode(kept)).toBe("600");
    expect(await load(set.paths)).toEqual({ kind: "identity", identity });
  });

  test("does not touch a file that it cannot read", async () => {
    await using set = await setUp();
    await mkdir(set.paths.key, { recursive: true });
    expect((await failure(load(set.paths))).code).toBe("state");
    expect((await failure(call(set))).code).toBe("state");
    expect(set.ngrok.requests).toEqual([]);
  });
});

describe("loadIdentity", () => {
  test("finds none without any files, and without the folder", async () => {
    await using set = await setUp();
    expect(await load(set.paths)).toEqual({ kind: "none" });
  });

  test("takes the Go program's identity as it is, and so does register", async () => {
    await using set = await setUp();
    const { key, cert } = await goIdentity(set.folder);
    const identity = {
      operatorId: "k8sop_go",
      keyPem: key,
      certPem: cert,
      ingressEndpoint: undefined,
    };
    expect(await load(set.paths)).toEqual({ kind: "identity", identity });
    expect(await call(set)).toEqual(identity);
    expect(set.ngrok.requests).toEqual([]);
    expect((await readdir(set.folder)).sort()).toEqual(["operator_id", "tls.crt", "tls.key"]);
  });

  test("writes nothing beside it, not even to try: it may be a mounted secret", async () => {
    await using set = await setUp();
    await goIdentity(set.folder);
    const before = await stat(set.folder, { bigint: true });
    expect((await call(set)).operatorId).toBe("k8sop_go");
    expect((await stat(set.folder, { bigint: true })).mtimeNs).toBe(before.mtimeNs);
  });

  test("trims the operator id", async () => {
    await using set = await setUp();
    await goIdentity(set.folder);
    await writeFile(set.paths.operatorId, "  k8sop_go\r\n");
    expect(await load(set.paths)).toMatchObject({
      kind: "identity",
      identity: { operatorId: "k8sop_go" },
    });
  });

  test.each([
    ["no key", "there is no key", async (folder: string) => rm(join(folder, "tls.key"))],
    [
      "no certificate",
      "there is a key but no certificate",
      async (folder: string) => rm(join(folder, "tls.crt")),
    ],
    [
      "no operator id",
      "belongs to an unknown operator",
      async (folder: string) => rm(join(folder, "operator_id")),
    ],
    [
      "an empty operator id",
      "holds no operator id",
      async (folder: string) => writeFile(join(folder, "operator_id"), " \n"),
    ],
    [
      "two lines for an operator id",
      "holds no operator id",
      async (folder: string) => writeFile(join(folder, "operator_id"), "k8sop_1\nk8sop_2"),
    ],
    [
      "an empty certificate",
      "not a certificate",
      async (folder: string) => writeFile(join(folder, "tls.crt"), ""),
    ],
    [
      "another's key",
      "does not fit the key",
      async (folder: string) => writeFile(join(folder, "tls.key"), await createKey()),
    ],
    [
      "an empty key",
      "it is not a private key in PEM format",
      async (folder: string) => writeFile(join(folder, "tls.key"), ""),
    ],
  ])(
    "gives the reason why an identity with %s is unusable; register repairs it",
    async (_, said, damage) => {
      await using set = await setUp();
      await goIdentity(set.folder);
      await damage(set.folder);
      const before = await contents(set.folder);
      expect(await reasonIn(set.paths)).toContain(said);
      expect(await contents(set.folder)).toEqual(before);

      const identity = await call(set);
      expect(await load(set.paths)).toEqual({ kind: "identity", identity });
      const after = new Set((await contents(set.folder)).map(([, text]) => text));
      expect(before.filter(([, text]) => text !== "" && !after.has(text))).toEqual([]);
    },
  );

  test("says when a certificate has expired, to the second", async () => {
    await using set = await setUp();
    const end = new Date("2026-03-01T12:00:00Z");
    await goIdentity(set.folder, { notAfter: end });
    expect((await loadIdentity(set.paths, new Date(end.getTime() - 1))).kind).toBe("identity");
    expect(await loadIdentity(set.paths, end)).toEqual({
      kind: "unusable",
      reason: `the certificate "${set.paths.cert}" expired on 2026-03-01T12:00:00.000Z`,
    });
  });
});

describe("saveIngressEndpoint", () => {
  test("is remembered with the identity, and forgotten again", async () => {
    await using set = await setUp();
    await call(set);
    const endpoint = async () => {
      const loaded = await load(set.paths);
      return loaded.kind === "identity" ? loaded.identity.ingressEndpoint : loaded.kind;
    };
    await saveIngressEndpoint(set.paths, "eu.example.com:8443");
    expect(await endpoint()).toBe("eu.example.com:8443");
    await saveIngressEndpoint(set.paths, undefined);
    expect(await endpoint()).toBeUndefined();
    await writeFile(set.paths.ingressEndpoint, "no host at all\n");
    expect(await endpoint()).toBeUndefined();
  });

  test("writes nothing if nothing changed", async () => {
    await using set = await setUp();
    await call(set);
    const before = await stat(set.paths.ingressEndpoint);
    await saveIngressEndpoint(set.paths, "ingress.example.com:443");
    expect((await stat(set.paths.ingressEndpoint)).ino).toBe(before.ino);
  });
});

/**
 * The files of the Go program: a P-384 key in SEC 1, a certificate with an
 * organization, an id, and no others.
 */
async function goIdentity(
  folder: string,
  validity: { notAfter?: Date } = {},
): Promise<{ key: string; cert: string }> {
  await mkdir(folder, { recursive: true });
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const csr = await createCsr(privateKey.export({ type: "sec1", format: "pem" }).toString());
  const ca = await rootCa();
  const certificate = await X509CertificateGenerator.create({
    serialNumber: "01",
    subject: "O=ngrok-forward-proxy",
    issuer: ca.certificate.subject,
    notBefore: hours(-100),
    notAfter: validity.notAfter ?? hours(100),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    publicKey: new Pkcs10CertificateRequest(csr).publicKey,
    signingKey: ca.keys.privateKey,
  });
  const [key, cert] = [
    privateKey.export({ type: "sec1", format: "pem" }).toString(),
    certificate.toString("pem"),
  ];
  await writeFile(join(folder, "tls.key"), key, { mode: 0o600 });
  await writeFile(join(folder, "tls.crt"), cert);
  await writeFile(join(folder, "operator_id"), "k8sop_go");
  return { key, cert };
}
