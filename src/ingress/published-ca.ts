/**
 * Trusts ngrok's CA when the ingress shows it. The certificate is known by its
 * published fingerprint, so the way on which it comes proves nothing and need
 * not.
 */
import { X509Certificate } from "node:crypto";
import { readFileIfThere, writeFileAtomic } from "../files/atomic.ts";
import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import { isNgrokdError } from "../model/error.ts";
import type { Conn, TlsClientOptions } from "../net/types.ts";
import { type KeptCa, ngrokCa, pemOf, untrusted } from "./trust.ts";

/** What may be trusted as soon as the ingress shows it. */
export interface Published {
  /** SHA-256 fingerprints of certificates, `AB:CD:…`. */
  readonly fingerprints: readonly string[];
  /** Called with a CA (PEM) whose chain has verified for the ingress's name. */
  readonly adopt: (pem: string) => void;
}

/** What the settings of `server` say about published CAs. */
export interface PublishedSettings {
  readonly client_cert: string;
  readonly ingress_ca_sha256: readonly string[];
}

/** Pure: ngrok's own fingerprint, and the configured ones. */
export const fingerprintsOf = ({
  ingress_ca_sha256: others,
}: Pick<PublishedSettings, "ingress_ca_sha256">): string[] => [ngrokCa.fingerprint256, ...others];

/** Pure: where an adopted CA is kept, and which ones count. */
export const keptCa = (server: PublishedSettings): KeptCa => ({
  path: stateFiles(stateFolderOf(server)).ingressCa,
  fingerprints: fingerprintsOf(server),
});

/** Keeps an adopted CA beside earlier ones. Rejects as a write does. */
export async function keepCa({ path }: KeptCa, pem: string): Promise<void> {
  const before = (await readFileIfThere(path)) ?? "";
  if (!before.includes(pem)) await writeFileAtomic(path, before + pem, { mode: 0o644 });
}

/**
 * Dials with `tls`. If the server is not trusted, but has shown a published CA,
 * it dials once more and trusts this CA alone. Only if the server's certificate
 * then verifies for its name, the CA is adopted. Rejects with the error of the
 * first dial in all other cases.
 */
export async function dialPublished(
  dial: (tls: TlsClientOptions) => Promise<Conn>,
  tls: TlsClientOptions,
  published: Published | undefined,
): Promise<Conn> {
  try {
    return await dial(tls);
  } catch (error) {
    const pem = publishedIn(error, published?.fingerprints ?? []);
    if (published === undefined || pem === undefined) throw error;
    // Sessions belong to the CAs of the first dial.
    const alone = { ...tls, ca: [pem], caFile: undefined, sessions: undefined };
    const conn = await dial(alone).catch(() => {
      throw error;
    });
    published.adopt(pem);
    return conn;
  }
}

/** Pure: the published certificate (PEM) in the chain of a failed dial. */
export function publishedIn(error: unknown, fingerprints: readonly string[]): string | undefined {
  if (!isNgrokdError(error, "tls") || !untrusted.test(String(error.details.reason)))
    return undefined;
  const certificate = shownIn(error).find(({ fingerprint256 }) =>
    fingerprints.includes(fingerprint256),
  );
  return certificate && pemOf(certificate);
}

/** Pure: the chain that the server of a failed dial has shown */
export function shownIn(error: unknown): X509Certificate[] {
  const chain = isNgrokdError(error, "tls") ? error.details.chain : undefined;
  if (!Array.isArray(chain)) return [];
  return (chain as Uint8Array[]).flatMap((der) => {
    try {
      return [new X509Certificate(Buffer.from(der))];
    } catch {
      return [];
    }
  });
}
