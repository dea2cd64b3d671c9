import { hostname } from "node:os";
import type { Policy } from "../exposure/expose.ts";
import { forbiddenName } from "../exposure/forbidden.ts";
import { machineNamesIn } from "./hosts/file.ts";

/** The hosts that the daemon itself must reach for one account. */
export interface OwnHosts {
  readonly api: string;
  readonly ingress: string;
  /** Undefined if the way out needs no proxy. */
  readonly proxy: string | undefined;
}

/**
 * The names that no endpoint may take, apart from those in the hosts file: an
 * endpoint of such a name would lead the daemon to itself.
 */
export function namesInUse(own: readonly OwnHosts[]): {
  readonly hostnames: readonly string[];
  readonly hosts: readonly string[];
} {
  const hosts = own.flatMap(({ api, ingress, proxy }) => [api, ingress, proxy ?? []].flat());
  return { hostnames: [hostname()], hosts };
}

/** What may be served on this machine, by its names as they are now. */
export async function policyNow(hostsPath: string, own: readonly OwnHosts[]): Promise<Policy> {
  const names = { ...namesInUse(own), listed: await machineNamesIn(hostsPath) };
  return { forbidden: (host) => forbiddenName(host, names) };
}
