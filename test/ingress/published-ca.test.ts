import { afterAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createIngressDialer } from "../../src/ingress/ingress-dialer.ts";
import { fingerprintsOf, keepCa, publishedIn } from "../../src/ingress/published-ca.ts";
import { loadTrust, ngrokCa } from "../../src/ingress/trust.ts";
import { NgrokdError } from "../../src/model/error.ts";
import type { Conn } from "../../src/net/types.ts";
import { net } from "../support/conns.ts";
import { type Authority, type Identity, intermediateCa, issue, rootCa } from "../support/pki.ts";

const root = await rootCa("Root of ours");
const published = await intermediateCa(root, "Published CA");
const stranger = await rootCa("Stranger");
const client = await issue(root, "operator", { usage: ["client"] });
const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256;
const folder = mkdtempSync(join(tmpdir(), "ngrokd-published-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** An ingress that shows `cert`, and notes the bytes that it gets. */
async function ingressWith({ cert, key }: Identity) {
  const state = { bytes: 0, dials: 0 };
  const conns = new Set<Conn>();
  const listener = await net.listen(
    { host: "127.0.0.1", port: 0 },
    async (conn) => {
      conns.add(conn);
      state.dials += 1;
      for (;;) {
        const chunk = await Promise.try(() => conn.read()).catch(() => null);
        if (chunk === null) return conn.close();
        state.bytes += chunk.length;
      }
    },
    { tls: { cert, key } },
  );
  const { port } = listener.address as { port: number };
  const close = (): void => {
    listener.close();
    for (const conn of conns) conn.abort();
  };
  return { port, state, [Symbol.dispose]: close };
}

const serverOf = async (ca: Authority, names = ["127.0.0.1"]): Promise<Identity> =>
  await issue(ca, "ingress", { names, usage: ["server"] });

function dialerTo(port: number, fingerprints: readonly string[]) {
  const adopted: string[] = [];
  const dialer = createIngressDialer(net, () => ({
    host: "127.0.0.1",
    port,
    cert: client.cert,
    key: client.key,
    ca: [stranger.cert, ...adopted],
    insecureSkipVerify: false,
    resume: true,
    published: { fingerprints, adopt: (pem) => void adopted.push(pem) },
  }));
  return { dialer, adopted };
}

const dialed = async (dialer: ReturnType<typeof dialerTo>["dialer"]) =>
  await dialer.dial(AbortSignal.timeout(5000)).then(
    (conn) => {
      conn.abort();
      return "connected";
    },
    (error: unknown) => (error instanceof NgrokdError ? error.code : "another error"),
  );

describe("a published CA", () => {
  test("that the ingress shows is adopted, and the first dial already succeeds", async () => {
    const server = await serverOf(published);
    using ingress = await ingressWith({ ...server, cert: server.cert + published.cert });
    const { dialer, adopted } = dialerTo(ingress.port, [fingerprint(published.cert)]);
    expect(await dialed(dialer)).toBe("connected");
    expect(adopted.map(fingerprint)).toEqual([fingerprint(published.cert)]);
    expect(dialer.trouble).toBeUndefined();
    expect(await dialed(dialer)).toBe("connected");
    expect(adopted).toHaveLength(1);
  });

  test("that does not have a published fingerprint is not adopted", async () => {
    const server = await serverOf(published);
    using ingress = await ingressWith({ ...server, cert: server.cert + published.cert });
    const { dialer, adopted } = dialerTo(ingress.port, [ngrokCa.fingerprint256]);
    expect(await dialed(dialer)).toBe("tls");
    expect(adopted).toEqual([]);
    expect(ingress.state.bytes).toBe(0);
  });

  test("that did not sign the certificate shown is not adopted", async () => {
    const imposter = await intermediateCa(root, "Published CA");
    const servers = [await serverOf(stranger), await serverOf(imposter), await serverOf(root)];
    for (const server of servers) {
      using ingress = await ingressWith({ ...server, cert: server.cert + published.cert });
      const adopted: string[] = [];
      const dialer = createIngressDialer(net, () => ({
        ...{ host: "127.0.0.1", port: ingress.port, cert: client.cert, key: client.key },
        ...{ ca: [], insecureSkipVerify: false, resume: true },
        published: {
          fingerprints: [fingerprint(published.cert)],
          adopt: (pem) => void adopted.push(pem),
        },
      }));
      expect(await dialed(dialer)).toBe("tls");
      expect(adopted).toEqual([]);
      expect(ingress.state.bytes).toBe(0);
    }
  });

  test("is not adopted for a certificate of another name", async () => {
    const server = await serverOf(published, ["other.test"]);
    using ingress = await ingressWith({ ...server, cert: server.cert + published.cert });
    const { dialer, adopted } = dialerTo(ingress.port, [fingerprint(published.cert)]);
    expect(await dialed(dialer)).toBe("tls");
    expect(adopted).toEqual([]);
  });

  test("is looked for in failures of trust alone", () => {
    const chain = [new X509Certificate(published.cert).raw];
    const failing = (reason: string): NgrokdError => {
      const details = Object.defineProperty({ reason }, "chain", { value: chain });
      return new NgrokdError("tls", "no", { details });
    };
    const known = [fingerprint(published.cert)];
    expect(publishedIn(failing("UNABLE_TO_VERIFY_LEAF_SIGNATURE"), known)).toBeDefined();
    expect(publishedIn(failing("CERT_HAS_EXPIRED"), known)).toBeUndefined();
    expect(publishedIn(failing("ERR_TLS_CERT_ALTNAME_INVALID"), known)).toBeUndefined();
    expect(publishedIn(new Error("no"), known)).toBeUndefined();
  });

  test("is always ngrok's own too", () => {
    expect(fingerprintsOf({ ingress_ca_sha256: ["AA"] })).toEqual([ngrokCa.fingerprint256, "AA"]);
  });
});

describe("the kept CA", () => {
  test("is trusted from its file if its fingerprint is a published one", async () => {
    const kept = { path: join(folder, "kept.pem"), fingerprints: [fingerprint(published.cert)] };
    const nowhere = join(folder, "nowhere");
    expect((await loadTrust({ folder: nowhere, kept })).sources).toHaveLength(1);
    await keepCa(kept, published.cert);
    await keepCa(kept, published.cert);
    expect(readFileSync(kept.path, "utf8")).toBe(published.cert);
    const { sources } = await loadTrust({ folder: nowhere, kept });
    expect(sources[1]).toEqual({ name: kept.path, certificates: 1 });
  });

  test("is not trusted if another program has written it", async () => {
    const path = join(folder, "foreign.pem");
    writeFileSync(path, stranger.cert);
    const kept = { path, fingerprints: [fingerprint(published.cert)] };
    const { ca } = await loadTrust({ folder: join(folder, "nowhere"), kept });
    expect(ca.map(fingerprint)).not.toContain(fingerprint(stranger.cert));
  });
});
