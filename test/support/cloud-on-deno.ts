/**
 * The program that test/cloud/deno.test.ts runs under Deno: the cloud room and
 * trust against the test's servers. It prints the outcome as JSON. Arguments: a
 * folder, a fake ngrok's URL, a CA file, and `name=URL` of servers that
 * misbehave.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createApi } from "../../src/cloud/api.ts";
import { fitsKey, inspectCertificate } from "../../src/cloud/certificate.ts";
import { identityPaths, loadIdentity, register } from "../../src/cloud/registration.ts";
import { loadTrust } from "../../src/ingress/trust.ts";
import { installTrust } from "../../src/ingress/trust-install.ts";
import { type ApiKey, parseApiKey } from "../../src/model/api-key.ts";
import { isNgrokdError } from "../../src/model/error.ts";

const [folder = "", url = "", caFile = "", ...misbehaving] = process.argv.slice(2);
const key = parseApiKey("a-good-api-key");
if (!key.ok) throw new Error(key.reason);
/**
 * A short deadline for the silent server only. The runtime's first TLS alone
 * takes a busy machine longer.
 */
const apiAt = (url: string, key: ApiKey, timeoutMs = 20_000) =>
  createApi({ url, key, userAgent: "ngrokd/test (deno)", timeoutMs, maxBytes: 1 << 20 });

const paths = identityPaths({
  client_cert: join(folder, "state", "tls.crt"),
  client_key: join(folder, "state", "tls.key"),
});
const host = { hostname: "deno-box", os: "linux", arch: "x64", version: "1.2.3" };
const identity = await register({
  api: apiAt(url, key.value),
  paths,
  facts: { selectors: ["true"] },
  host,
});
const loaded = await loadIdentity(paths);
const certificate = inspectCertificate(identity.certPem);

const failures: Record<string, string> = {};
for (const pair of misbehaving) {
  const [name = "", ...at] = pair.split("=");
  const error = await apiAt(at.join("="), key.value, name.startsWith("hang") ? 300 : undefined)
    .endpointIds()
    .catch((thrown: unknown) => thrown);
  failures[name] = isNgrokdError(error)
    ? [error.code, error.details.kind ?? error.details.status]
        .filter((part) => part !== undefined)
        .join(" ")
    : String(error);
}

const trustFolder = join(folder, "trust");
const fingerprint = inspectCertificate(await readFile(caFile, "utf8"));
const installed = await installTrust({
  source: caFile,
  folder: trustFolder,
  published: fingerprint.ok ? fingerprint.value.fingerprint256 : "",
});
const trust = await loadTrust({ folder: trustFolder });

console.log(
  JSON.stringify({
    identity: loaded.kind === "identity" && loaded.identity.operatorId === identity.operatorId,
    fits: fitsKey(identity.certPem, identity.keyPem),
    issuer: certificate.ok ? certificate.value.issuer : certificate.reason,
    failures,
    installed: installed.map(({ subject }) => subject),
    trust: trust.sources.map(({ certificates }) => certificates > 0),
    warnings: trust.warnings,
  }),
);
