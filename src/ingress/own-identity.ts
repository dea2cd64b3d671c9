import { hostname } from "node:os";
import type { PodIdentity } from "./frame.ts";
import { machineId } from "./machine-id.ts";
import { type IdentitySettings, machineIdentity } from "./machine-identity.ts";

/**
 * Returns the identity of this machine for a connection, see
 * {@link machineIdentity}. The id of the machine stays the same while this
 * process runs.
 */
export function createOwnIdentity(
  settings: () => IdentitySettings,
): (user?: string) => PodIdentity | undefined {
  let id: string | undefined;
  return (user) => {
    const current = settings();
    if (!current.send) return undefined;
    id ??= machineId();
    return machineIdentity(current, { machineId: id, hostname: hostname() }, user);
  };
}
