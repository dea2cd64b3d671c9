/** The CAs that this program trusts for the ingress, and their origins. */

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import * as tls from "node:tls";
import { fileError } from "../files/atomic.ts";
import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import { pemOf, readCertificates, readSmallFile } from "./ca-files.ts";
import { ngrokCa, trustFolder } from "./ngrok-ca.ts";

/** The CAs for the ingress's certificate, and their origin. */
export interface Trust {
  /** PEM, one certificate each, no two alike. */
  readonly ca: readonly string[];
  readonly sources: readonly TrustSource[];
  /**
   * Files of a folder that could not be used, and why; each a sentence without
   * a full stop.
   */
  readonly warnings: readonly string[];
}

export interface TrustSource {
  /** `system`, or a file or folder. */
  readonly name: string;
  readonly certificates: number;
}

export interface TrustOptions {
  /**
   * `server.ingress_ca`: a file or a folder, which must be there and hold a
   * certificate.
   */
  readonly extra?: string;
  /** May be missing. */
  readonly folder?: string;
  /** A CA that an ingress has shown; see introduction.ts. May be missing. */
  readonly shown?: ShownCa;
}

export interface ShownCa {
  readonly file: string;
  /** The SHA-256 of the CAs that count; others in the file are left out. */
  readonly fingerprints: readonly string[];
}

/** Pure: what {@link loadTrust} needs of these settings. */
export function trustOptions(server: {
  readonly client_cert: string;
  readonly ingress_ca: string;
  readonly ingress_ca_sha256: readonly string[];
}): TrustOptions & { shown: ShownCa } {
  const shown = {
    file: stateFiles(stateFolderOf(server)).ingressCa,
    fingerprints: [ngrokCa.fingerprint256, ...server.ingress_ca_sha256],
  };
  return { shown, ...(server.ingress_ca === "" ? {} : { extra: server.ingress_ca }) };
}

/**
 * The system's roots, ngrok's folder and the configured CA. Missing CAs never
 * turn verification off: less trust means that less verifies. Rejects with
 * NgrokdError `config` if `extra` cannot be used (`details.isGone`: it is not
 * there).
 */
export async function loadTrust({
  extra,
  folder = trustFolder,
  shown,
}: TrustOptions = {}): Promise<Trust> {
  const warnings: string[] = [];
  const found: { name: string; pems: readonly string[] }[] = [
    { name: "system", pems: systemRoots() },
  ];
  try {
    found.push({ name: folder, pems: await certificatesAt(folder, warnings) });
  } catch (error) {
    if (errnoOf(error) !== "ENOENT")
      warnings.push(fileError(`Cannot read "${folder}"`, error).message);
  }
  if (shown !== undefined) found.push({ name: shown.file, pems: await kept(shown, warnings) });
  if (extra !== undefined) found.push({ name: extra, pems: await configured(extra, warnings) });
  return {
    ca: [...new Set(found.flatMap(({ pems }) => pems))],
    sources: found.map(({ name, pems }) => ({ name, certificates: pems.length })),
    warnings,
  };
}

let roots: readonly string[] | undefined;

/**
 * An image without a trust store gets the roots of the runtime. They are read
 * once: it takes a tenth of a second, and every pass asks. A changed system
 * store counts from the next start on.
 */
function systemRoots(): readonly string[] {
  if (roots === undefined) {
    const system = tls.getCACertificates("system");
    roots = system.length > 0 ? system : tls.rootCertificates;
  }
  return roots;
}

async function kept({ file, fingerprints }: ShownCa, warnings: string[]): Promise<string[]> {
  try {
    const { certificates } = readCertificates(await readSmallFile(file));
    return certificates.filter((one) => fingerprints.includes(one.fingerprint256)).map(pemOf);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT")
      warnings.push(fileError(`Cannot read "${file}"`, error).message);
    return [];
  }
}

async function configured(path: string, warnings: string[]): Promise<string[]> {
  const refuse = (why: string, cause?: unknown): NgrokdError =>
    new NgrokdError("config", `Cannot use ${quote(path)} as \`server.ingress_ca\`: ${why}`, {
      cause,
      details: { isGone: errnoOf(cause) === "ENOENT" },
      hint: "it must be a PEM file, or a folder of PEM files",
    });
  let pems: string[];
  try {
    pems = await certificatesAt(path, warnings);
  } catch (error) {
    const reason =
      error instanceof NgrokdError ? error.message : fileError("it cannot be read", error).message;
    throw refuse(reason, error);
  }
  if (pems.length === 0) throw refuse("there is no certificate in it");
  return pems;
}

/** The limit of all files of a folder. Every pass reads them. */
const folderLimit = 16 * 1024 * 1024;

/**
 * The certificates of a file or of a folder's files. Rejects with the file
 * system's error for `path` itself; problems inside a folder are warnings.
 */
async function certificatesAt(path: string, warnings: string[]): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return certificatesIn(path, warnings);
  const pems: string[] = [];
  let size = 0;
  for (const name of (await readdir(path)).sort()) {
    // Kubernetes keeps the real files of a mounted folder in hidden ones.
    if (name.startsWith(".")) continue;
    const file = join(path, name);
    try {
      const info = await stat(file);
      if (info.isDirectory()) continue;
      size += info.size;
      if (size > folderLimit) {
        warnings.push(
          `"${path}" has more than ${folderLimit} bytes, and the rest from "${file}" on is not read`,
        );
        break;
      }
      const found = await certificatesIn(file, warnings);
      if (found.length === 0 && /\.(?:pem|crt|cer)$/i.test(name))
        warnings.push(`"${file}" holds no certificate that can be read`);
      pems.push(...found);
    } catch (error) {
      warnings.push(fileError(`Cannot read "${file}"`, error).message);
    }
  }
  return pems;
}

async function certificatesIn(file: string, warnings: string[]): Promise<string[]> {
  const { certificates, broken } = readCertificates(await readSmallFile(file));
  if (broken > 0 && certificates.length > 0)
    warnings.push(`${broken} of the certificates in "${file}" cannot be read`);
  return certificates.map(pemOf);
}
