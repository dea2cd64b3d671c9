import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import type { PodIdentity } from "./frame.ts";

/** The settings `identity`. */
export interface IdentitySettings {
  readonly send: boolean;
  readonly annotations: Readonly<Record<string, string>>;
}

/** What is known of this machine. */
export interface MachineFacts {
  /** The machine id of systemd; undefined if there is none, as on macOS. */
  readonly id: string | undefined;
  readonly name: string;
}

/**
 * Pure: what the ingress learns about this machine with each request, as ngrok
 * learns of pods from its operator. Undefined unless `identity.send` is on.
 */
export function identityFor(
  { send, annotations }: IdentitySettings,
  { id, name }: MachineFacts,
): PodIdentity | undefined {
  if (!send) return undefined;
  // The machine id itself is to stay on the machine: machine-id(5).
  const hash = createHash("sha256")
    .update(`ngrokd ${id ?? name}`)
    .digest("hex");
  return { uid: hash.slice(0, 32), name, annotations };
}

let facts: MachineFacts | undefined;

/** {@link identityFor} this machine. Its facts are read once. */
export function machineIdentity(settings: IdentitySettings): PodIdentity | undefined {
  if (!settings.send) return undefined;
  facts ??= { id: machineId(), name: hostname() };
  return identityFor(settings, facts);
}

function machineId(): string | undefined {
  try {
    const text = readFileSync("/etc/machine-id", "utf8").trim();
    return /^[0-9a-f]{32}$/.test(text) ? text : undefined;
  } catch {
    return undefined;
  }
}
