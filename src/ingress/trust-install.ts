/** `ngrokd trust`: puts CAs into the folder of trusted ones, after a check. */
import type { X509Certificate } from "node:crypto";
import { join } from "node:path";
import {
  ensureWritableFolder,
  fileError,
  readFileIfThere,
  writeFileAtomic,
} from "../files/atomic.ts";
import { readLimited } from "../files/limited.ts";
import { distinguishedName } from "../model/distinguished-name.ts";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import { pemOf, readCertificates, readSmallFile, sizeLimit } from "./ca-files.ts";
import { ngrokCa, trustFolder } from "./ngrok-ca.ts";
import { quoteName } from "./tls-failure.ts";

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

async function readSource({
  source,
  force = false,
  fetch = globalThis.fetch,
}: InstallOptions): Promise<string> {
  const url = /^https?:\/\//i.test(source) ? URL.parse(source) : null;
  if (url === null) {
    return readSmallFile(source).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT")
        throw new NgrokdError("state", `Cannot read ${quote(source)}: no such file or folder`, {
          cause: error,
          hint: `name a PEM file or an https URL, such as ${ngrokCa.url}`,
        });
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
