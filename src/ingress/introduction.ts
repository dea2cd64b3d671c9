/**
 * Trust without a step: an ingress may introduce its CA in the handshake. The
 * CA counts only by its fingerprint, and only if the server's certificate
 * verifies against it alone, for the server's name.
 */
import { X509Certificate } from "node:crypto";
import { isNgrokdError } from "../model/error.ts";
import { shownChain } from "../net/errors.ts";
import type { TlsClientOptions } from "../net/types.ts";
import { pemOf } from "./ca-files.ts";
import { isUntrusted } from "./tls-failure.ts";

/** Decides about CAs that an ingress shows, and keeps them. */
export interface Introduction {
  /** Whether a CA with this SHA-256 (`AB:CD:…`) may be trusted when shown. */
  accepts(fingerprint256: string): boolean;
  /** Called with a CA that has been proven. Must not reject. */
  keep(pem: string): Promise<void>;
}

/**
 * Dials again with an accepted CA that the server showed in a failed handshake,
 * and keeps the CA if that succeeds. Rejects with the first error if there is
 * no such CA, and otherwise with the error of the second dial.
 */
export async function introduced<T>(
  tls: TlsClientOptions,
  introduction: Introduction | undefined,
  dial: (tls: TlsClientOptions) => Promise<T>,
): Promise<T> {
  try {
    return await dial(tls);
  } catch (error) {
    const ca = introduction && acceptedCa(error, introduction);
    if (ca === undefined) throw error;
    const conn = await dial({ ...tls, ca: [ca], caFile: undefined, sessions: undefined });
    await introduction?.keep(ca);
    return conn;
  }
}

/** PEM. Only a missing CA is mended: a wrong name or date stays an error. */
function acceptedCa(error: unknown, { accepts }: Introduction): string | undefined {
  if (!isNgrokdError(error, "tls") || !isUntrusted(String(error.details.reason))) return undefined;
  for (const der of shownChain(error).slice(1)) {
    const certificate = new X509Certificate(der);
    if (certificate.ca && accepts(certificate.fingerprint256)) return pemOf(certificate);
  }
  return undefined;
}
