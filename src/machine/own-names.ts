import { readFileSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import type { Assignment } from "../exposure/allocate.ts";
import type { AccountEndpoints, Policy } from "../exposure/expose.ts";
import { forbiddenName, forbiddenZone } from "../exposure/forbidden.ts";
import { bindingsOf } from "../model/binding.ts";
import type { Hostname } from "../model/hostname.ts";
import { readResolvConf } from "../model/resolv-conf.ts";
import { pinsInFile } from "./hosts/file.ts";

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
  readonly searched: readonly string[];
  readonly hosts: readonly string[];
} {
  const hosts = own.flatMap(({ api, ingress, proxy }) => [api, ingress, proxy ?? []].flat());
  return { hostnames: [hostname()], searched: readResolvConf(resolvConf()).search, hosts };
}

export interface PolicyFacts {
  readonly hostsPath: string;
  readonly own: readonly OwnHosts[];
  readonly accounts: readonly AccountEndpoints[];
  /** Names that are in no list: aliases, and those below wildcards. */
  readonly below: Iterable<Hostname>;
  /**
   * The addresses of the names. A line with such an address is not the user's.
   */
  readonly assignment: Assignment;
  readonly reservedPorts: readonly number[];
  /** Whether the zone of a wildcard is a whole public domain. */
  readonly isPublicDomain: (zone: string) => boolean;
}

/** The policy of this machine, from its names and its hosts file. */
export async function policyNow(facts: PolicyFacts): Promise<Policy> {
  const { hostsPath, own, accounts, below, assignment, reservedPorts, isPublicDomain } = facts;
  const exact = accounts.flatMap(({ listed }) => bindingsOf(listed).bindings);
  const wanted = new Set([...exact.map(({ host }) => host), ...below]);
  const pinned = await pinsInFile(hostsPath, wanted, assignment);
  const addresses = Object.values(networkInterfaces()).flatMap((list = []) =>
    list.map(({ address }) => address),
  );
  const names = { ...namesInUse(own), pinned, addresses, isPublicDomain };
  return {
    forbidden: (host) => forbiddenName(host, names),
    forbiddenZone: (zone) => forbiddenZone(zone, names),
    reservedPorts,
  };
}

function resolvConf(): string {
  try {
    return readFileSync("/etc/resolv.conf", "latin1");
  } catch {
    return ""; // Without it there is no search list.
  }
}
