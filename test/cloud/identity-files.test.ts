import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  identityPaths,
  readIdentityFiles,
  restoreIdentityFiles,
  saveAnswer,
  savedOperatorId,
  saveKey,
} from "../../src/cloud/identity-files.ts";

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

test("the operator is known by its file, whatever the certificate is worth", async () => {
  expect(await savedOperatorId(paths())).toBeUndefined();
  writeFileSync(paths().operatorId, "k8sop_1\n");
  writeFileSync(paths().cert, "broken");
  expect(await savedOperatorId(paths())).toBe("k8sop_1");
  writeFileSync(paths().operatorId, "../../etc/passwd");
  expect(await savedOperatorId(paths())).toBeUndefined();
});
