import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as tls from "node:tls";
import fc from "fast-check";
import { loadTrust } from "../../src/ingress/trust.ts";
import { broken, failure, fingerprintOf, other, ours, root, tempFolder } from "./trust-support.ts";

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
