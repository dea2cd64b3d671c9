import { afterEach, beforeEach, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  identityPaths,
  loadIdentity,
  readIdentityFiles,
  restoreIdentityFiles,
  saveAnswer,
  savedOperatorId,
  saveKey,
} from "../../src/cloud/identity-files.ts";
import { hours, issue, rootCa } from "../support/pki.ts";

let folder: string;
const paths = () =>
  identityPaths({ client_cert: join(folder, "tls.crt"), client_key: join(folder, "tls.key") });
const next = {
  operatorId: "k8sop_new",
  certPem: "new certificate",
  keyPem: "new key",
  ingressEndpoint: "new.example:443",
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ngrokd-identity-files-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test.each([
  ["nothing", []],
  ["a key and no certificate", ["tls.key"]],
  ["a certificate that has lost its key", ["tls.crt", "operator_id"]],
  ["all of it", ["tls.crt", "tls.key", "operator_id", "ingress_endpoint"]],
])("a registration that is taken back leaves the files as they were: %s", async (_what, names) => {
  for (const name of names) writeFileSync(join(folder, name), `old ${name}`, { mode: 0o600 });
  const before = await readIdentityFiles(paths());
  const options = { previous: before, now: new Date(0) };
  await saveKey(paths(), next.keyPem, options);
  await saveAnswer(paths(), next, options);
  await restoreIdentityFiles(paths(), before);
  expect(await readIdentityFiles(paths())).toEqual(before);
  const there = readdirSync(folder).filter((name) => !name.includes(".old-"));
  expect(there.sort()).toEqual([...names].sort());
  for (const name of there.filter((one) => one === "tls.key"))
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
});

test.each([
  ["PKCS #8", "pkcs8"],
  ["of OpenSSL's old form", "sec1"],
] as const)("an encrypted key is reported as such: %s", async (_form, type) => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const secret = { cipher: "aes-256-cbc", passphrase: "secret", format: "pem" } as const;
  const pem = String(privateKey.export({ type, ...secret }));
  const { cert } = await issue(await rootCa("Some CA"), "a", { notAfter: hours(2) });
  writeFileSync(paths().key, pem);
  writeFileSync(paths().cert, cert);
  writeFileSync(paths().operatorId, "k8sop_1");
  expect(await loadIdentity(paths())).toEqual({
    kind: "unusable",
    reason: `the key "${paths().key}" cannot be used: it is encrypted, and ngrokd needs a key without a passphrase`,
  });
  writeFileSync(paths().key, cert);
  expect(await loadIdentity(paths())).toMatchObject({
    reason: `the key "${paths().key}" cannot be used: it is not a private key in PEM format`,
  });
});

test("the operator is known by its file, whatever the certificate is worth", async () => {
  expect(await savedOperatorId(paths())).toBeUndefined();
  writeFileSync(paths().operatorId, "k8sop_1\n");
  writeFileSync(paths().cert, "broken");
  expect(await savedOperatorId(paths())).toBe("k8sop_1");
  writeFileSync(paths().operatorId, "../../etc/passwd");
  expect(await savedOperatorId(paths())).toBeUndefined();
});

test("a byte order mark before any of the files is no part of it", async () => {
  const { cert, key } = await issue(await rootCa("Some CA"), "a", { notAfter: hours(2) });
  const files = { "tls.crt": cert, "tls.key": key, operator_id: "k8sop_x\n" };
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(folder, name), `\ufeff${text}`);
  expect(await loadIdentity(paths())).toMatchObject({
    kind: "identity",
    identity: { operatorId: "k8sop_x", certPem: cert, keyPem: key },
  });
});

test("a certificate behind its CA is called that, and not another key's", async () => {
  const ca = await rootCa("Some CA");
  const { cert, key } = await issue(ca, "a", { notAfter: hours(2) });
  writeFileSync(paths().cert, ca.cert + cert);
  writeFileSync(paths().key, key);
  writeFileSync(paths().operatorId, "k8sop_x");
  const reason = `"${paths().cert}" begins with the certificate of "CN=Some CA, O=Test", and the one for the key stands behind it: put that first`;
  expect(await loadIdentity(paths())).toEqual({ kind: "unusable", reason });
});
