import { X509Certificate } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NgrokdError } from "../../src/model/error.ts";
import { intermediateCa, rootCa } from "../support/pki.ts";

export const root = await rootCa("Made Root");
export const ours = await intermediateCa(root, "Made Intermediate");
export const other = await rootCa("Other CA");
export const fingerprintOf = (pem: string): string => new X509Certificate(pem).fingerprint256;
export const published = fingerprintOf(ours.cert);
export const broken =
  "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";

export async function tempFolder(
  files: Record<string, string> = {},
): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "ngrokd-test-"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export const failure = async (promise: Promise<unknown>): Promise<NgrokdError> => {
  const error = await promise.then(
    () => new Error("expected a failure"),
    (thrown) => thrown,
  );
  if (!(error instanceof NgrokdError)) throw error;
  return error;
};
