/** Addresses and certificates as runtimes describe them, in the words of the seam. Pure. */
import { isIP } from "node:net";
import { NgrokdError } from "../model/error.ts";
import { type Address, addressText, type PeerCertificate } from "./types.ts";

/** An IP and port as a socket reports them; IPv4 in its own spelling, also where a dual-stack listener took it. */
export function ipAddress(host: string | undefined, port: number | undefined): Address {
  return { host: (host ?? "").replace(/^::ffff:(?=\d+\.)/i, ""), port: port ?? 0 };
}

/** Throws `address-unavailable` for a host name: which of a name's addresses are meant is not for the seam to guess. */
export function checkListenable(address: Address): void {
  if ("path" in address || isIP(address.host) !== 0) return;
  throw new NgrokdError("address-unavailable", `Cannot listen on "${addressText(address)}": its host is not an IP address`);
}

/** What getPeerCertificate() answers, as far as the runtimes agree; empty or null where the peer showed none. */
export interface RawCertificate {
  readonly subject?: object;
  readonly issuer?: object;
  readonly fingerprint256?: string;
}

export function peerCertificate(raw: RawCertificate | null | undefined): PeerCertificate | undefined {
  if (!raw?.fingerprint256) return undefined;
  return { subject: nameText(raw.subject), issuer: nameText(raw.issuer), fingerprint256: raw.fingerprint256 };
}

/** `CN=x, O=y`. A stranger chose these texts: control characters and excess are cut, so that they fit into one line of a log. */
function nameText(name: object | undefined): string {
  const parts = Object.entries(name ?? {}).flatMap(([key, value]) => [value].flat().map((one) => `${key}=${one}`));
  return parts.join(", ").replaceAll(/\p{Cc}/gu, "?").slice(0, 300);
}
