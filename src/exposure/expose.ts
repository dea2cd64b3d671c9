import { type BadEndpoint, type Binding, bindingsOf } from "../model/binding.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import type { Hostname } from "../model/hostname.ts";
import type { Ip } from "../model/ip.ts";
import { type Assignment, allocate } from "./allocate.ts";
import {
  addressesOf,
  type Door,
  doorId,
  type Exposure,
  type NameRecord,
  type Route,
  type Target,
} from "./exposure.ts";
import { type Ground, ip6Of } from "./ground.ts";

/** All that an exposure depends on. */
export interface ExposureInput {
  /**
   * The endpoints of each account; the first account to list a host name has
   * it.
   */
  readonly accounts: readonly AccountEndpoints[];
  /** The addresses that names had before. */
  readonly assignment: Assignment;
  readonly policy: Policy;
  readonly machine: MachineFacts;
}

export interface AccountEndpoints {
  readonly account: string;
  readonly listed: readonly ApiEndpoint[];
}

/** What may be served. */
export interface Policy {
  /** Why a name may never be served; undefined if it may. */
  readonly forbidden: (host: Hostname) => string | undefined;
  /** Ports that other programs of this machine must be able to have. */
  readonly reservedPorts?: readonly number[];
}

export interface MachineFacts {
  /** Where the addresses come from. */
  readonly ground: Ground;
  /** Addresses on which another program listens at a wanted port. */
  readonly taken: ReadonlySet<Ip>;
}

export interface ExposureResult {
  readonly exposure: Exposure;
  /** The addresses of all names from now on, those of absent names included. */
  readonly assignment: Assignment;
  readonly unserved: readonly Unserved[];
}

/** An endpoint that is not exposed, and why. */
export type Unserved =
  /** It cannot be served here at all. */
  | ({ readonly kind: "unsupported" } & BadEndpoint)
  /** There is no address for it. */
  | { readonly kind: "homeless"; readonly binding: Binding; readonly reason: string };

/**
 * Pure: the exposure of these endpoints. Each host name gets an address, or one
 * of each family, and each binding a door with one route on each of them.
 */
export function expose({ accounts, assignment, policy, machine }: ExposureInput): ExposureResult {
  const { targets, refused } = admit(accounts, policy);
  const allocation = allocate({
    wanted: targets.map(({ binding }) => binding.host),
    saved: assignment,
    range: machine.ground.range,
    avoid: machine.taken,
  });
  const homeless = targets.flatMap(({ binding }): Unserved[] => {
    const reason = allocation.failed.get(binding.host);
    return reason === undefined ? [] : [{ kind: "homeless", binding, reason }];
  });
  return {
    exposure: exposureOf(targets, allocation.assignment, machine.ground),
    assignment: allocation.assignment,
    unserved: [...refused, ...homeless],
  };
}

/** Pure: the endpoints that may be served, and the others with the reason. */
function admit(
  accounts: readonly AccountEndpoints[],
  { forbidden, reservedPorts = [] }: Policy,
): { targets: Target[]; refused: Unserved[] } {
  const owners = new Map<Hostname, string>();
  const targets: Target[] = [];
  const refused: Unserved[] = [];
  for (const { account, listed } of accounts) {
    const { bindings, bad } = bindingsOf(listed);
    refused.push(...bad.map((one): Unserved => ({ kind: "unsupported", ...one })));
    for (const binding of bindings) {
      const owner = owners.get(binding.host) ?? account;
      const reason =
        forbidden(binding.host) ??
        (reservedPorts.includes(binding.port) ? reservedText(binding.port) : undefined) ??
        (owner === account ? undefined : `the account "${owner}" serves a host of this name`);
      if (reason === undefined) {
        owners.set(binding.host, account);
        targets.push({ account, binding });
      } else {
        const { ids, url } = binding;
        refused.push(...ids.map((id): Unserved => ({ kind: "unsupported", id, url, reason })));
      }
    }
  }
  return { targets, refused };
}

const reservedText = (port: number): string =>
  `the port ${port} is kept free for this machine's own programs; ` +
  "forward.reserved_ports without it allows the endpoint";

function exposureOf(targets: readonly Target[], assignment: Assignment, ground: Ground): Exposure {
  const doors: Door[] = [];
  const routes: Route[] = [];
  const names = new Map<Hostname, NameRecord>();
  for (const target of targets) {
    const { host, port } = target.binding;
    const ip = assignment.get(host);
    if (ip === undefined) continue;
    const record = names.get(host) ?? recordOf(host, ip, ground);
    names.set(host, record);
    for (const at of addressesOf(record)) {
      const id = doorId(at, port);
      doors.push({ id, at: { ip: at, port }, greet: "fixed" });
      routes.push({ door: id, match: { kind: "any" }, target });
    }
  }
  const records = [...names.values()];
  return { doors, routes, addresses: [...new Set(records.flatMap(addressesOf))], names: records };
}

function recordOf(host: Hostname, ip: Ip, ground: Ground): NameRecord {
  const ip6 = ip6Of(ground, ip);
  return ip6 === undefined ? { host, ip } : { host, ip, ip6 };
}
