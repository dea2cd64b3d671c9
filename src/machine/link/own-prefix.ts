import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import type { Prefix6 } from "../../model/ip.ts";

/**
 * Pure: a unique local prefix (RFC 4193) for a machine of this identity. It is
 * the same at every start, and another one on every other machine.
 */
export function prefixOf(identity: string): Prefix6 {
  const hash = createHash("sha256").update(`ngrokd prefix\n${identity}`).digest();
  return [0xfd, ...hash.subarray(0, 7)] as readonly number[] as Prefix6;
}

/** The prefix of this machine, from its id, or from its name without one. */
export function ownPrefix(path = "/etc/machine-id"): Prefix6 {
  try {
    const id = readFileSync(path, "latin1").trim();
    if (/^[0-9a-f]{32}$/.test(id)) return prefixOf(id);
  } catch {
    // Containers and macOS often have none.
  }
  return prefixOf(hostname());
}
