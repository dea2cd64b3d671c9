import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tls from "node:tls";
import fc from "fast-check";
import { describeTlsFailure, installTrust, loadTrust, ngrokCa } from "../../src/ingress/trust.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { fakeServer } from "../support/fake-api.ts";
import { intermediateCa, rootCa } from "../support/pki.ts";

const root = await rootCa("Made Root");
const ours = await intermediateCa(root, "Made Intermediate");
const other = await rootCa("Other CA");
const fingerprintOf = (pem: string): string => new X509Certificate(pem).fingerprint256;
const published = fingerprintOf(ours.cert);
const broken = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";

async function tempFolder(
  files: Record<string, string> = {},
): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "ngrokd-test-"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const failure = async (promise: Promise<unknown>): Promise<NgrokdError> => {
  const error = await promise.then(
    () => new Error("expected a failure"),
    (thrown) => thrown,
  );
  if (!(error instanceof NgrokdError)) throw error;
  return error;
};

describe("loadTrust", () => {
  const nowhere = "/nowhere/at/all";
  const added = async (options: { extra?: string; folder?: string }) => {
    const trust = await loadTrust({ folder: nowhere, ...options });
    const system = new Set(tls.getCACertificates("system"));
    return {
      ...trust,
      ca: trust.ca
        .filter((pem) => !system.has(pem))
        .map((pem) => new X509Certificate(pem).subject.split("\n")[0]),
    };
  };

  test("without a folder is the system's roots, and never nothing", async () => {
    const trust = await loadTrust({ folder: nowhere });
    expect(trust.ca.length).toBeGreaterThan(10);
    expect(trust.warnings).toEqual([]);
    expect(trust.sources).toEqual([{ name: "system", certificates: expect.any(Number) }]);
  });

  test("adds every certificate of every file in the folder", async () => {
    await using folder = await tempFolder({
      "a.crt": `Subject: whatever\n${ours.cert}${ours.key}${root.cert}`,
      plain: other.cert.replaceAll("\n", "\r\n"),
    });
    expect(await added({ folder: folder.path })).toMatchObject({
      ca: ["CN=Made Intermediate", "CN=Made Root", "CN=Other CA"],
      warnings: [],
      sources: [{ name: "system" }, { name: folder.path, certificates: 3 }],
    });
  });

  test("follows links, and skips hidden files and folders, as in Kubernetes", async () => {
    await using folder = await tempFolder();
    await mkdir(join(folder.path, "..data"));
    await writeFile(join(folder.path, "..data", "ca.crt"), ours.cert);
    await symlink(join("..data", "ca.crt"), join(folder.path, "ca.crt"));
    await mkdir(join(folder.path, "sub.crt"));
    expect(await added({ folder: folder.path })).toMatchObject({
      ca: ["CN=Made Intermediate"],
      warnings: [],
    });
  });

  test("trusts the same certificate once, however often and however wrapped it is there", async () => {
    const oneLine = ours.cert
      .replaceAll(/\n(?!-|$)/g, "")
      .replace("CERTIFICATE-----", "CERTIFICATE-----\n")
      .replace("-----END", "\n-----END");
    await using folder = await tempFolder({ "a.crt": ours.cert, "b.pem": oneLine });
    expect((await added({ folder: folder.path, extra: join(folder.path, "a.crt") })).ca).toEqual([
      "CN=Made Intermediate",
    ]);
  });

  test("warns of a bad file by name, and uses the others", async () => {
    await using folder = await tempFolder({
      "bad.crt": broken,
      "empty.pem": "",
      "good.crt": ours.cert,
      "half.crt": root.cert + broken,
      "README.txt": "hello",
    });
    await symlink("/nowhere", join(folder.path, "gone.crt"));
    const { ca, warnings } = await added({ folder: folder.path });
    expect(ca).toEqual(["CN=Made Intermediate", "CN=Made Root"]);
    expect(warnings).toEqual([
      `"${folder.path}/bad.crt" holds no certificate that can be read`,
      `"${folder.path}/empty.pem" holds no certificate that can be read`,
      `Cannot read "${folder.path}/gone.crt": no such file or folder`,
      `1 of the certificates in "${folder.path}/half.crt" cannot be read`,
    ]);
  });

  test("does not wait for a pipe nor read a huge file", async () => {
    await using folder = await tempFolder({
      "big.crt": "x".repeat(4 * 1024 * 1024 + 1),
      "good.crt": ours.cert,
    });
    execFileSync("mkfifo", [join(folder.path, "pipe.crt")]);
    const { ca, warnings } = await added({ folder: folder.path });
    expect(ca).toEqual(["CN=Made Intermediate"]);
    expect(
      warnings.map((warning) => warning.includes("big.crt") || warning.includes("pipe.crt")),
    ).toEqual([true, true]);
  });

  test("takes server.ingress_ca as a file or a folder", async () => {
    await using folder = await tempFolder({ "ca.crt": ours.cert });
    expect((await added({ extra: folder.path })).ca).toEqual(["CN=Made Intermediate"]);
    expect((await added({ extra: join(folder.path, "ca.crt") })).ca).toEqual([
      "CN=Made Intermediate",
    ]);
  });

  test.each([
    ["missing", "no-such-file", "no such file or folder"],
    ["without a certificate", "key.pem", "there is no certificate in it"],
    ["unreadable as one", "bad.crt", "there is no certificate in it"],
    ["a folder without one", "empty", "there is no certificate in it"],
    ["a pipe", "pipe", "is not a file"],
  ])("refuses a server.ingress_ca that is %s", async (_, name, said) => {
    await using folder = await tempFolder({ "key.pem": ours.key, "bad.crt": broken });
    await mkdir(join(folder.path, "empty"));
    execFileSync("mkfifo", [join(folder.path, "pipe")]);
    const error = await failure(loadTrust({ folder: nowhere, extra: join(folder.path, name) }));
    expect(error.code).toBe("config");
    expect(error.message).toContain("server.ingress_ca");
    expect(error.message).toContain(said);
  });

  test("reads any bytes in a folder without failing", async () => {
    await using folder = await tempFolder();
    const pem = fc.constantFrom(
      ours.cert,
      root.cert,
      broken,
      "-----BEGIN CERTIFICATE-----",
      "-----END CERTIFICATE-----",
      "\n",
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(pem, fc.string({ maxLength: 30 })), { maxLength: 6 }),
        async (parts) => {
          await writeFile(join(folder.path, "any.crt"), parts.join(""));
          const { ca } = await added({ folder: folder.path });
          expect(["CN=Made Intermediate", "CN=Made Root"]).toEqual(expect.arrayContaining(ca));
        },
      ),
      { numRuns: 50 },
    );
  });
});

test("a folder of CAs is read up to 16 MiB, and one file up to 4 MiB", async () => {
  await using folder = await tempFolder({ "a.pem": ours.cert, "z.pem": other.cert });
  const fill = "x".repeat(4 * 1024 * 1024 - 100);
  for (const name of ["b", "c", "d", "e"]) await writeFile(join(folder.path, name), fill);
  const { ca, warnings } = await loadTrust({ folder: folder.path });
  const fingerprints = ca.map(fingerprintOf);
  expect(fingerprints).toContain(fingerprintOf(ours.cert));
  expect(fingerprints).not.toContain(fingerprintOf(other.cert));
  expect(warnings).toEqual([expect.stringContaining(`and the rest from "${folder.path}/e" on`)]);
  await writeFile(join(folder.path, "b"), `${fill}${fill}`);
  expect((await loadTrust({ folder: folder.path })).warnings[0]).toContain("no more than 4194304");
});

describe("installTrust", () => {
  test("installs ngrok's CA from a file, for all to read, under its own name", async () => {
    await using folder = await tempFolder({ "download.pem": `some text\n${ours.cert}` });
    const target = join(folder.path, "ssl", "ngrok");
    const installed = await installTrust({
      source: join(folder.path, "download.pem"),
      folder: target,
      published,
    });
    const path = join(target, "ngrok-ca.crt");
    expect(installed).toEqual([
      {
        path,
        subject: "CN=Made Intermediate, O=Test",
        issuer: "CN=Made Root, O=Test",
        fingerprint256: published,
        notAfter: new Date(new X509Certificate(ours.cert).validTo),
        published: true,
        changed: true,
      },
    ]);
    expect(fingerprintOf(await readFile(path, "utf8"))).toBe(published);
    expect((await stat(path)).mode & 0o777).toBe(0o644);
    expect((await loadTrust({ folder: target })).sources[1]).toEqual({
      name: target,
      certificates: 1,
    });
  });
});

describe("installTrust with a certificate that is there or another's", () => {
  test("says that nothing changed the second time", async () => {
    await using folder = await tempFolder({ "ca.pem": ours.cert });
    const install = () =>
      installTrust({
        source: join(folder.path, "ca.pem"),
        folder: join(folder.path, "t"),
        published,
      });
    expect((await install())[0]?.changed).toBe(true);
    expect((await install())[0]?.changed).toBe(false);
  });

  test("refuses another CA, naming both fingerprints, and installs nothing", async () => {
    await using folder = await tempFolder({ "ca.pem": ours.cert + other.cert });
    const error = await failure(
      installTrust({
        source: join(folder.path, "ca.pem"),
        folder: join(folder.path, "t"),
        published,
      }),
    );
    expect(error.code).toBe("tls");
    for (const part of ["CN=Other CA, O=Test", fingerprintOf(other.cert), published])
      expect(error.message).toContain(part);
    expect(error.hint).toContain("--force");
    expect(await readdir(folder.path)).toEqual(["ca.pem"]);
  });

  test("compares with ngrok's published fingerprint by default", async () => {
    await using folder = await tempFolder({ "ca.pem": ours.cert });
    const error = await failure(
      installTrust({ source: join(folder.path, "ca.pem"), folder: folder.path }),
    );
    expect(error.message).toContain(ngrokCa.fingerprint256);
    expect(ngrokCa.fingerprint256).toMatch(/^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  });

  test("with force installs other CAs too, one file each, and only certificates", async () => {
    await using folder = await tempFolder({ "ca.pem": ours.cert + other.cert + other.key });
    const target = join(folder.path, "t");
    const installed = await installTrust({
      source: join(folder.path, "ca.pem"),
      folder: target,
      force: true,
      published,
    });
    const name = `ca-${fingerprintOf(other.cert).replaceAll(":", "").slice(0, 16).toLowerCase()}.crt`;
    expect(installed.map(({ published, path }) => [published, path])).toEqual([
      [true, join(target, "ngrok-ca.crt")],
      [false, join(target, name)],
    ]);
    expect((await readdir(target)).sort()).toEqual([name, "ngrok-ca.crt"]);
    expect(await readFile(join(target, name), "utf8")).not.toContain("PRIVATE");
  });

  test.each([
    ["there is none", "hello", "no certificate in it"],
    ["it is broken", broken, "1 of its certificates cannot be read"],
    ["one of several is broken", ours.cert + broken, "1 of its certificates cannot be read"],
    ["it ends in the middle", ours.cert.slice(0, 200), "1 of its certificates cannot be read"],
  ])("refuses a text if %s, with and without force", async (_, text, said) => {
    await using folder = await tempFolder({ "ca.pem": text });
    for (const force of [false, true]) {
      const error = await failure(
        installTrust({
          source: join(folder.path, "ca.pem"),
          folder: join(folder.path, "t"),
          force,
          published,
        }),
      );
      expect(error.code).toBe("usage");
      expect(error.message).toContain(said);
    }
    expect(await readdir(folder.path)).toEqual(["ca.pem"]);
  });

  test("says that a file is not there", async () => {
    expect(await failure(installTrust({ source: "/nowhere/ca.pem", published }))).toMatchObject({
      code: "state",
    });
  });

  test("names the folder that it may not write", async () => {
    await using folder = await tempFolder({ "ca.pem": ours.cert, file: "" });
    await chmod(join(folder.path, "file"), 0o400);
    const error = await failure(
      installTrust({
        source: join(folder.path, "ca.pem"),
        folder: join(folder.path, "file", "t"),
        published,
      }),
    );
    expect(error.message).toContain(join(folder.path, "file", "t"));
  });
});

describe("installTrust from a URL", () => {
  test("fetches a URL, over plain http too, for the fingerprint proves it", async () => {
    await using server = await fakeServer(({ path }) =>
      path === "/moved" ? { status: 302, headers: { location: "/ca" } } : { text: ours.cert },
    );
    await using folder = await tempFolder();
    for (const path of ["/ca", "/moved"]) {
      expect(
        await installTrust({ source: server.url + path, folder: folder.path, published }),
      ).toMatchObject([{ published: true }]);
    }
    const fetch = async () => new Response(ours.cert);
    expect(
      await installTrust({
        source: "http://example.com/ca",
        folder: folder.path,
        published,
        fetch,
      }),
    ).toMatchObject([{ changed: false }]);
  });

  test("with force checks every hop of a redirect, not the last one alone", async () => {
    await using folder = await tempFolder();
    const asked: string[] = [];
    const hops: Record<string, string> = {
      "https://example.com/ca": "http://example.com/open",
      "http://example.com/open": "https://example.com/end",
    };
    const fetch = async (url: string) => {
      asked.push(url);
      const location = hops[url];
      return location === undefined
        ? new Response(other.cert)
        : new Response(null, { status: 302, headers: { location } });
    };
    const options = { source: "https://example.com/ca", folder: folder.path, published, fetch };
    expect(await failure(installTrust({ ...options, force: true }))).toMatchObject({
      code: "usage",
      message: expect.stringContaining('"http://example.com/open"'),
    });
    expect(asked).toEqual(["https://example.com/ca"]);
    expect(await readdir(folder.path)).toEqual([]);
  });

  test.each([
    ["file:///etc/ssl/ca.pem", "which is no http or https URL"],
    ["data:text/plain,x", "which is no http or https URL"],
    ["/ca", "redirects more than 5 times"],
  ])("does not follow a redirect to %s for ever, or anywhere", async (location, said) => {
    await using folder = await tempFolder();
    let asked = 0;
    const fetch = async () => {
      asked += 1;
      return new Response(null, { status: 302, headers: { location } });
    };
    const source = "https://example.com/ca";
    const error = await failure(installTrust({ source, folder: folder.path, published, fetch }));
    expect(error.message).toContain(said);
    expect(asked).toBeLessThan(7);
  });

  test("with force takes plain http from loopback alone, a redirect to it included", async () => {
    await using server = await fakeServer(() => ({ text: other.cert }));
    await using folder = await tempFolder();
    const force = { folder: folder.path, force: true, published };
    expect((await installTrust({ source: `${server.url}/ca`, ...force })).length).toBe(1);
    const never = async () => {
      throw new Error("must not be fetched");
    };
    for (const source of [
      "http://example.com/ca",
      "http://127.0.0.1.example.com/ca",
      "HTTP://example.com/ca",
    ]) {
      expect((await failure(installTrust({ source, fetch: never, ...force }))).code).toBe("usage");
    }
    const redirected = async () =>
      Object.defineProperty(new Response(other.cert), "url", { value: "http://example.com/ca" });
    expect(
      (
        await failure(
          installTrust({ source: "https://example.com/ca", fetch: redirected, ...force }),
        )
      ).code,
    ).toBe("usage");
    expect(
      (
        await installTrust({
          source: "https://example.com/ca",
          fetch: async () => new Response(other.cert),
          ...force,
        })
      ).length,
    ).toBe(1);
  });

  test.each([
    ["404", { status: 404, text: "no" }, "the server answered 404"],
    ["a reset", "reset", "Cannot fetch"],
    ["endless bytes", "endless-body", "more than 4194304 bytes"],
  ] as const)("reports a URL that returns %s", async (_, reply, said) => {
    await using server = await fakeServer(() => reply);
    const error = await failure(
      installTrust({ source: `${server.url}/ca`, folder: "/nowhere", published }),
    );
    expect(error.code).toBe("network");
    expect(error.message).toContain(said);
  });
});

describe("describeTlsFailure", () => {
  const shown = (issuer: string) => ({
    subject: "CN=kubernetes-binding-ingress.ngrok.io",
    issuer,
    fingerprint256: "AB:CD",
  });
  const failed = (reason: string, certificate?: object, hint?: string) =>
    describeTlsFailure(
      new NgrokdError("tls", 'Cannot connect to "x:443": it is not trusted', {
        hint,
        details: { reason, certificate },
      }),
    );

  test("names subject, issuer and fingerprint, and how to trust ngrok's CA", () => {
    const error = failed(
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      shown("CN=Intermediate CA, O=ngrok Inc"),
    );
    expect(error.message).toBe(
      'Cannot connect to "x:443": it is not trusted; the certificate shown is of "CN=kubernetes-binding-ingress.ngrok.io", issued by "CN=Intermediate CA, O=ngrok Inc", SHA-256 AB:CD',
    );
    expect(error.code).toBe("tls");
    expect(error.hint).toContain(`ngrokd trust ${ngrokCa.url}`);
    expect(error.details).toMatchObject({
      reason: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      certificate: { fingerprint256: "AB:CD" },
    });
  });

  test("suspects an intercepting proxy if another CA has signed", () => {
    expect(failed("SELF_SIGNED_CERT_IN_CHAIN", shown("CN=Corp Proxy CA")).hint).toContain(
      "does a proxy intercept TLS",
    );
    expect(failed("UNABLE_TO_VERIFY_LEAF_SIGNATURE", shown("CN=Corp Proxy CA")).hint).toContain(
      "server.ingress_ca",
    );
  });

  test.each([
    ["CERT_HAS_EXPIRED", "clock"],
    ["CERT_NOT_YET_VALID", "clock"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "ingressEndpoint"],
    ["TLSV1_ALERT_UNKNOWN_CA", "refresh-cert"],
    ["SSLV3_ALERT_CERTIFICATE_EXPIRED", "refresh-cert"],
    ["TLSV13_ALERT_CERTIFICATE_REQUIRED", "refresh-cert"],
  ])("has its own hint for %s", (reason, said) => {
    expect(failed(reason, shown("CN=x")).hint).toContain(said);
  });

  test("keeps a hint that is there, and makes none up", () => {
    expect(failed("UNABLE_TO_GET_ISSUER_CERT", shown("CN=x"), "mine").hint).toBe("mine");
    expect(failed("EPROTO", shown("CN=x")).hint).toBeUndefined();
    expect(failed("EPROTO").message).toBe('Cannot connect to "x:443": it is not trusted');
  });

  test("keeps the names of a certificate on one line", () => {
    expect(failed("SELF_SIGNED_CERT_IN_CHAIN", shown("CN=a\nforged: line")).message).not.toContain(
      "\n",
    );
  });
});
