import { X509Certificate } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import * as tls from "node:tls";
import {
  ensureWritableFolder,
  errnoOf,
  fileError,
  readFileIfThere,
  writeFileAtomic,
} from "../files/atomic.ts";
import { readLimited } from "../files/limited.ts";
import { distinguishedName } from "../model/distinguished-name.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import type { PeerCertificate } from "../net/types.ts";

/**
 * The folder in which ngrok's operator and the Go ngrokd keep ngrok's CA; every
 * PEM file in it is trusted. Source: docs/protocol.md, "The ingress".
 */
export const trustFolder = "/etc/ssl/certs/ngrok";

/**
 * ngrok's "Intermediate CA", which signs the ingress's certificate; no system
 * trusts it. Source: docs/protocol.md, "The ingress".
 */
export const ngrokCa = {
  fingerprint256:
    "CF:CE:8A:27:B7:4E:0C:51:C6:54:73:9A:35:3E:51:C1:35:26:0B:5B:97:7D:29:DF:67:03:8B:E7:EF:6F:F8:47",
  url: "https://raw.githubusercontent.com/ngrok/ngrok-operator/main/certs/ngrok-ca.crt",
} as const;

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
  /** The published CA that the ingress has shown earlier; may be missing. */
  readonly kept?: KeptCa | undefined;
}

/** See {@link keptCa}. */
export interface KeptCa {
  readonly path: string;
  /** SHA-256; others in the file do not count. */
  readonly fingerprints: readonly string[];
}

/**
 * The system's roots, ngrok's folder, the kept CA and the configured one.
 * Missing CAs never
 * turn verification off: less trust means that less verifies. Rejects with
 * NgrokdError `config` if `extra` cannot be used (`details.isGone`: it is not
 * there).
 */
export async function loadTrust({
  extra,
  folder = trustFolder,
  kept,
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
  const pems = kept === undefined ? [] : await keptCas(kept, warnings);
  if (kept !== undefined && pems.length > 0) found.push({ name: kept.path, pems });
  if (extra !== undefined) found.push({ name: extra, pems: await configured(extra, warnings) });
  return {
    ca: [...new Set(found.flatMap(({ pems }) => pems))],
    sources: found.map(({ name, pems }) => ({ name, certificates: pems.length })),
    warnings,
  };
}

export interface InstallOptions {
  /** A PEM file, or the URL of one. */
  readonly source: string;
  readonly folder?: string;
  /** Accepts other CAs than ngrok's, too. */
  readonly force?: boolean;
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** The SHA-256 to expect instead of ngrok's published one. */
  readonly published?: string;
  /** Called for each file right before it is written. */
  readonly before?: (path: string, content: string) => Promise<void>;
}

/** The result of {@link installTrust} for one certificate. */
export interface InstalledCa {
  readonly path: string;
  readonly subject: string;
  readonly issuer: string;
  readonly fingerprint256: string;
  readonly notAfter: Date;
  /** It is the CA that ngrok published. */
  readonly published: boolean;
  /** False if the same file was there already. */
  readonly changed: boolean;
}

/**
 * Puts each certificate of a PEM text into the trust folder (0644). ngrok's CA
 * becomes `ngrok-ca.crt`, by its published SHA-256. Others, only with `force`,
 * become `ca-<start of its SHA-256>.crt`. If one is refused, none is installed.
 * The fingerprint makes plain http safe for ngrok's CA. With `force` nothing
 * does, so http is then for loopback only. Rejects with NgrokdError `usage` (no
 * certificate in it), `tls` (not ngrok's), `network`, `permission` or `state`.
 */
export async function installTrust(options: InstallOptions): Promise<InstalledCa[]> {
  const {
    source,
    folder = trustFolder,
    force = false,
    published = ngrokCa.fingerprint256,
    before,
  } = options;
  const { certificates, broken } = readCertificates(await readSource(options));
  if (certificates.length === 0 || broken > 0) {
    const what =
      broken > 0 ? `${broken} of its certificates cannot be read` : "there is no certificate in it";
    throw new NgrokdError("usage", `Cannot trust ${quote(source)}: ${what}`, {
      hint: "a PEM file is needed; `openssl x509 -inform der -in FILE` makes one of a DER file",
    });
  }
  const stranger = certificates.find(({ fingerprint256 }) => fingerprint256 !== published);
  if (stranger !== undefined && !force) throw notNgroks(source, stranger, published);
  await ensureWritableFolder(folder, 0o755);
  const installed: InstalledCa[] = [];
  for (const certificate of certificates)
    installed.push(await install(certificate, folder, published, before));
  return installed;
}

/**
 * A `tls` error of {@link Net.dial} for users: with the subject, issuer and
 * SHA-256 of the peer's certificate, and advice. An error without a certificate
 * keeps its message.
 */
export function describeTlsFailure(error: NgrokdError): NgrokdError {
  const shown = error.details.certificate as PeerCertificate | undefined;
  const what =
    shown === undefined
      ? ""
      : `; the certificate shown is of ${quoteName(shown.subject)}, issued by ${quoteName(shown.issuer)}, SHA-256 ${shown.fingerprint256}`;
  const hint = error.hint ?? hintOf(String(error.details.reason ?? ""), shown);
  return new NgrokdError(error.code, error.message + what, {
    cause: error,
    hint,
    details: { ...error.details },
  });
}

/** OpenSSL's names for a chain that ends in no anchor of ours. */
export const untrusted =
  /^(?:UNABLE_TO_GET_ISSUER|UNABLE_TO_VERIFY|SELF_SIGNED|DEPTH_ZERO_SELF_SIGNED)/;

function hintOf(reason: string, shown: PeerCertificate | undefined): string | undefined {
  if (untrusted.test(reason)) {
    const getIt = `\`ngrokd trust ${ngrokCa.url}\` installs it after checking its fingerprint`;
    if (shown === undefined || /\bngrok\b/i.test(shown.issuer))
      return `ngrok's CA is in no system's trust store: ${getIt}`;
    return `this CA is not ngrok's: does a proxy intercept TLS, or is \`ingressEndpoint\` wrong? If it is yours, name its PEM file in \`server.ingress_ca\`; as for ngrok's CA, ${getIt}`;
  }
  if (reason === "CERT_HAS_EXPIRED" || reason === "CERT_NOT_YET_VALID")
    return "is the clock of this machine right?";
  // With TLS 1.2 the alert comes in the handshake. With 1.3 it comes only
  // later, in `upgrade`.
  if (/ALERT_(?:UNKNOWN_CA|\w*CERTIFICATE\w*)$/.test(reason)) return refusedCertificate;
  if (reason === "ERR_TLS_CERT_ALTNAME_INVALID")
    return "the certificate is for another name: is `ingressEndpoint` right?";
  if (reason === "CERT_WITHOUT_ALTNAME" || /^CERT_\w+_TOO_WEAK$/.test(reason))
    return "an ingress of your own needs a certificate with a subject alternative name, SHA-256 or better, and RSA from 2048 bits or an elliptic curve";
  return undefined;
}

/** Advice for an ingress that refuses our client certificate. */
export const refusedCertificate =
  "our client certificate may have expired, or belong to a deleted operator: see `ngrokd doctor`, and renew it with `ngrokd refresh-cert --force`";

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

/** Its fingerprint is checked again: another program may have written it. */
async function keptCas({ path, fingerprints }: KeptCa, warnings: string[]): Promise<string[]> {
  try {
    return readCertificates(await readSmallFile(path))
      .certificates.filter(({ fingerprint256 }) => fingerprints.includes(fingerprint256))
      .map(pemOf);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT")
      warnings.push(fileError(`Cannot read "${path}"`, error).message);
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

/** A CA file has a few KB, a whole system's store some 300. */
const sizeLimit = 4 * 1024 * 1024;
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

/** Never a device or a pipe, which would not end. */
async function readSmallFile(path: string): Promise<string> {
  const info = await stat(path);
  if (!info.isFile()) throw new NgrokdError("state", `"${path}" is not a file`);
  if (info.size > sizeLimit)
    throw new NgrokdError(
      "state",
      `"${path}" has ${info.size} bytes, and no more than ${sizeLimit} are read`,
    );
  return readFile(path, "utf8");
}

/** Every certificate between PEM marks; other text (names, keys) is skipped. */
function readCertificates(text: string): { certificates: X509Certificate[]; broken: number } {
  const certificates: X509Certificate[] = [];
  let broken = 0;
  for (const part of text.split(/-----BEGIN (?:X509 )?CERTIFICATE-----/).slice(1)) {
    try {
      certificates.push(
        new X509Certificate(
          Buffer.from(part.slice(0, Math.max(part.indexOf("-----END"), 0)), "base64"),
        ),
      );
    } catch {
      broken += 1;
    }
  }
  return { certificates, broken };
}

/** One spelling for one certificate, so that equal ones are equal texts. */
export function pemOf(certificate: X509Certificate): string {
  const lines = certificate.raw.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

async function readSource({
  source,
  force = false,
  fetch = globalThis.fetch,
}: InstallOptions): Promise<string> {
  const url = /^https?:\/\//i.test(source) ? URL.parse(source) : null;
  if (url === null) {
    return readSmallFile(source).catch((error: unknown) => {
      throw error instanceof NgrokdError ? error : fileError(`Cannot read ${quote(source)}`, error);
    });
  }
  try {
    const response = await follow(url, source, force, fetch);
    if (!response.ok)
      throw new NgrokdError(
        "network",
        `Cannot fetch ${quote(source)}: the server answered ${response.status}`,
      );
    const bytes =
      response.body === null ? new Uint8Array(0) : await readLimited(response.body, sizeLimit);
    if (bytes === undefined)
      throw new NgrokdError(
        "network",
        `Cannot fetch ${quote(source)}: it has more than ${sizeLimit} bytes`,
      );
    return new TextDecoder().decode(bytes);
  } catch (error) {
    throw error instanceof NgrokdError
      ? error
      : new NgrokdError("network", `Cannot fetch ${quote(source)}: ${reasonOf(error)}`, {
          cause: error,
          hint: "or download it in another way, and run `ngrokd trust FILE`",
        });
  }
}

/**
 * Follows redirects. It refuses each place that would be refused as the first
 * address, since each hop decides the next.
 */
async function follow(
  first: URL,
  source: string,
  force: boolean,
  fetch: NonNullable<InstallOptions["fetch"]>,
): Promise<Response> {
  const signal = AbortSignal.timeout(30_000);
  let url = first;
  for (let hop = 0; hop <= hopLimit; hop++) {
    refuseOpenHttp(url, force);
    const response = await fetch(url.href, { signal, redirect: "manual", ...alwaysVerified });
    if (response.url !== "") refuseOpenHttp(new URL(response.url), force);
    const location = response.headers.get("location");
    if (response.status < 300 || response.status > 399 || location === null) return response;
    await response.body?.cancel();
    const next = URL.parse(location, url.href);
    if (next === null || !/^https?:$/.test(next.protocol)) {
      throw new NgrokdError(
        "network",
        `Cannot fetch ${quote(source)}: it redirects to ${quote(location)}, which is no http or https URL`,
      );
    }
    url = next;
  }
  throw new NgrokdError(
    "network",
    `Cannot fetch ${quote(source)}: it redirects more than ${hopLimit} times`,
  );
}

const hopLimit = 5;

/**
 * For Bun's fetch: with NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment it
 * would not verify.
 */
const alwaysVerified = { tls: { rejectUnauthorized: true } };

function refuseOpenHttp(url: URL, force: boolean): void {
  const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
  if (!force || url.protocol === "https:" || loopback) return;
  throw new NgrokdError(
    "usage",
    `Cannot trust ${quote(url.href)} with --force: anyone on the network path can change the data of plain http`,
    {
      hint: "use an https URL, or download the file, check it and use its path",
    },
  );
}

function notNgroks(
  source: string,
  { subject, fingerprint256 }: X509Certificate,
  published: string,
): NgrokdError {
  const message = `Cannot trust ${quote(source)}: its certificate of ${quoteName(distinguishedName(subject))} has the SHA-256 ${fingerprint256}, and ngrok's published CA has ${published}`;
  return new NgrokdError("tls", message, {
    hint: `ngrok's CA is at ${ngrokCa.url}; if this is a CA of your own, and you know its fingerprint, add --force`,
    details: { fingerprint256 },
  });
}

async function install(
  certificate: X509Certificate,
  folder: string,
  publishedFingerprint: string,
  before: InstallOptions["before"],
): Promise<InstalledCa> {
  const { fingerprint256, subject, issuer, validTo } = certificate;
  const published = fingerprint256 === publishedFingerprint;
  const name = published
    ? "ngrok-ca.crt"
    : `ca-${fingerprint256.replaceAll(":", "").slice(0, 16).toLowerCase()}.crt`;
  const path = join(folder, name);
  const pem = pemOf(certificate);
  const changed = (await readFileIfThere(path)) !== pem;
  if (changed) {
    await before?.(path, pem);
    await writeFileAtomic(path, pem, { mode: 0o644 });
  }
  return {
    path,
    subject: distinguishedName(subject),
    issuer: distinguishedName(issuer),
    fingerprint256,
    notAfter: new Date(validTo),
    published,
    changed,
  };
}

/**
 * Names are longer than {@link quote} keeps, and may differ at their end only.
 */
const quoteName = (name: string): string => JSON.stringify(name.slice(0, 300));
