import {
  type BadEndpoint,
  bindingBelow,
  bindingsOf,
  isBelow,
  type Wildcard,
} from "../model/binding.ts";
import type { ApiEndpoint, Proto } from "../model/endpoint.ts";
import { type Hostname, parseHostname } from "../model/hostname.ts";
import type { AnyIp, Ip } from "../model/ip.ts";
import { type Assignment, allocate } from "./allocate.ts";
import {
  addressesOf,
  type Doorway,
  doorId,
  type Exposure,
  type NameRecord,
  type Target,
} from "./exposure.ts";
import { type Ground, ip6Of } from "./ground.ts";
import type { Subject, Verdict } from "./verdict.ts";

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
  /** Without it no wildcard has a name. */
  readonly below?: NamesBelow;
}

/** The names that wildcards have here. */
export interface NamesBelow {
  /** Whether the daemon's name server may be asked for any other name. */
  readonly onDemand: boolean;
  /** Names that were requested. */
  readonly asked: ReadonlySet<Hostname>;
  /** Names from the configuration, which the hosts file gets. */
  readonly expanded: ReadonlySet<Hostname>;
}

/**
 * Pure: the names that `names.expand` of the configuration lists, such as
 * `api.team.internal` for `api` below `*.team.internal`.
 */
export function expandedNames(
  expand: Readonly<Record<string, readonly string[]>>,
): ReadonlySet<Hostname> {
  const texts = Object.entries(expand).flatMap(([pattern, names]) =>
    names.map((name) => `${name}.${pattern.replace(/^\*\./, "")}`),
  );
  const parsed = texts.map(parseHostname);
  return new Set(parsed.flatMap((name) => (name.ok ? [name.value] : [])));
}

export interface AccountEndpoints {
  readonly account: string;
  readonly listed: readonly ApiEndpoint[];
}

/** The rules for what may be served. */
export interface Policy {
  /** Why a name may never be served; undefined if it may. */
  readonly forbidden: (host: Hostname) => string | undefined;
  /** Why the names below this zone may not be served; undefined if they may. */
  readonly forbiddenZone?: (zone: Hostname) => string | undefined;
  /** Ports that other programs of this machine must be able to have. */
  readonly reservedPorts?: readonly number[];
  /**
   * Whether a name that is not forbidden may be served for an account; default:
   * it may. Without an account the name is an alias.
   */
  readonly judge?: (subject: Subject, account?: string) => Verdict;
  /** More names of a host, from the configuration. */
  readonly aliases?: Aliases;
  /** The addresses that the configuration gives to names. */
  readonly pins?: ReadonlyMap<Hostname, Ip>;
}

/** The host of each alias. */
export type Aliases = ReadonlyMap<Hostname, Hostname>;

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
  /** The wildcards that may have names, each with its account. */
  readonly wildcards: readonly AccountWildcard[];
  /** The served aliases of each host that has any. */
  readonly aliases: ReadonlyMap<Hostname, readonly Hostname[]>;
  /** Remarks about served hosts, such as an alias that is left out. */
  readonly remarks: ReadonlyMap<Hostname, string>;
}

export interface AccountWildcard {
  readonly account: string;
  readonly wildcard: Wildcard;
}

/** An endpoint that is not exposed, and why. */
export type Unserved =
  /** It cannot be served here at all. */
  | ({ readonly kind: "unsupported"; readonly account: string } & BadEndpoint)
  /** The user, or a need of this machine, is against its name. */
  | ({ readonly kind: "refused" | "paused" } & RefusedEndpoint)
  /** There is no address for it. */
  | ({ readonly kind: "homeless"; readonly reason: string } & Target);

export interface RefusedEndpoint {
  readonly account: string;
  readonly ids: readonly string[];
  readonly url: string;
  readonly proto: Proto;
  /** Empty for a wildcard. */
  readonly host: Hostname | "";
  readonly port: number;
  readonly reason: string;
}

/**
 * Pure: the exposure of these endpoints. Each host name gets an address, or one
 * of each family, and each binding a door with one route on each of them.
 */
export function expose(input: ExposureInput): ExposureResult {
  const { accounts, assignment, policy, machine, below = noNames } = input;
  const exact = admit(accounts, policy);
  const { wildcards, refused } = admitWildcards(accounts, policy, below);
  const targets = [...exact.targets, ...targetsBelow(wildcards, exact.targets, policy, below)];
  const allocation = allocate({
    wanted: targets.map(({ binding }) => binding.host),
    saved: assignment,
    range: machine.ground.range,
    avoid: machine.taken,
    ...(policy.pins !== undefined && { pins: policy.pins }),
  });
  const homeless = targets.flatMap((target): Unserved[] => {
    const reason = allocation.failed.get(target.binding.host);
    return reason === undefined ? [] : [{ kind: "homeless", ...target, reason }];
  });
  const exposure = exposureOf(targets, allocation.assignment, {
    ground: machine.ground,
    wildcards,
    below,
  });
  const { records, aliases, remarks } = aliasRecords(exposure, policy);
  return {
    exposure: { ...exposure, names: [...exposure.names, ...records] },
    assignment: allocation.assignment,
    unserved: [...exact.refused, ...refused, ...homeless],
    wildcards,
    aliases,
    remarks,
  };
}

/**
 * Pure: the names that aliases add, with the addresses of their hosts. An alias
 * is the user's word, so only a need of this machine is against it.
 */
function aliasRecords(
  { names, asked }: Pick<Exposure, "names" | "asked">,
  { aliases = new Map(), forbidden, judge }: Policy,
): { records: NameRecord[] } & Pick<ExposureResult, "aliases" | "remarks"> {
  const hosts = new Map([...names, ...asked].map((record) => [record.host, record]));
  const records: NameRecord[] = [];
  const served = new Map<Hostname, Hostname[]>();
  const remarks = new Map<Hostname, string>();
  for (const [alias, host] of aliases) {
    const record = hosts.get(host);
    if (record === undefined) continue;
    const verdict = judge?.(alias);
    const reason =
      forbidden(alias) ??
      (verdict === undefined || verdict.kind === "served" ? undefined : verdict.reason);
    if (reason === undefined) {
      records.push({ ...record, host: alias });
      served.set(host, [...(served.get(host) ?? []), alias]);
    } else {
      const before = remarks.has(host) ? `${remarks.get(host)}; ` : "";
      remarks.set(host, `${before}its alias "${alias}" is left out: ${reason}`);
    }
  }
  return { records, aliases: served, remarks };
}

const noNames: NamesBelow = { onDemand: false, asked: new Set(), expanded: new Set() };

/** Pure: the endpoints that may be served, and the others with the reason. */
function admit(
  accounts: readonly AccountEndpoints[],
  policy: Policy,
): { targets: Target[]; refused: Unserved[] } {
  const { forbidden, reservedPorts = [] } = policy;
  const owners = new Map<Hostname, string>();
  const targets: Target[] = [];
  const refused: Unserved[] = [];
  for (const { account, listed } of accounts) {
    const { bindings, bad } = bindingsOf(listed);
    refused.push(...bad.map((one): Unserved => ({ kind: "unsupported", account, ...one })));
    for (const binding of bindings) {
      const owner = owners.get(binding.host) ?? account;
      const reason =
        forbidden(binding.host) ??
        portReason(binding.port, reservedPorts) ??
        (owner === account ? undefined : `the profile ${owner} comes first, and serves this name`);
      const verdict = verdictOn(binding.host, account, policy);
      if (reason !== undefined) refused.push(...unsupported(account, binding, reason));
      else if (verdict.kind !== "served")
        refused.push({ ...verdict, ...refusal(account, binding) });
      else {
        owners.set(binding.host, account);
        targets.push({ account, binding });
      }
    }
  }
  return { targets, refused };
}

/** Pure: the verdict on a name that is not forbidden. */
function verdictOn(subject: Subject, account: string, { aliases, judge }: Policy): Verdict {
  const host = aliases?.get(subject as Hostname);
  if (host !== undefined)
    return { kind: "refused", reason: `names.alias gives its name to "${host}"` };
  return judge?.(subject, account) ?? { kind: "served" };
}

const refusal = (
  account: string,
  one: Omit<RefusedEndpoint, "account" | "host" | "reason"> & { readonly host?: Hostname },
): Omit<RefusedEndpoint, "reason"> => {
  const { ids, url, proto, host = "", port } = one;
  return { account, ids, url, proto, host, port };
};

/** Pure: the wildcards that may have names, the longest zones first. */
function admitWildcards(
  accounts: readonly AccountEndpoints[],
  policy: Policy,
  { onDemand, expanded }: NamesBelow,
): { wildcards: AccountWildcard[]; refused: Unserved[] } {
  const { forbiddenZone = () => undefined, reservedPorts = [] } = policy;
  const owners = new Map<Hostname, string>();
  const wildcards: AccountWildcard[] = [];
  const refused: Unserved[] = [];
  for (const { account, listed } of accounts) {
    for (const wildcard of bindingsOf(listed).wildcards) {
      const { zone, port } = wildcard;
      const owner = owners.get(zone) ?? account;
      const hasNames = onDemand || [...expanded].some((host) => isBelow(host, zone));
      const reason =
        forbiddenZone(zone) ??
        portReason(port, reservedPorts) ??
        (owner === account ? undefined : `the profile ${owner} comes first, and has this name`) ??
        (hasNames ? undefined : nameless);
      const verdict = verdictOn(`*.${zone}`, account, policy);
      if (reason !== undefined) refused.push(...unsupported(account, wildcard, reason));
      else if (verdict.kind !== "served")
        refused.push({ ...verdict, ...refusal(account, wildcard) });
      else {
        owners.set(zone, account);
        wildcards.push({ account, wildcard });
      }
    }
  }
  wildcards.sort((a, b) => b.wildcard.zone.length - a.wildcard.zone.length);
  return { wildcards, refused };
}

const nameless = "a wildcard needs dns.enabled: true, or its names in names.expand";

/** Pure: the doors of the names below wildcards. An exact name wins. */
function targetsBelow(
  wildcards: readonly AccountWildcard[],
  exact: readonly Target[],
  policy: Policy,
  { asked, expanded }: NamesBelow,
): Target[] {
  if (wildcards.length === 0) return [];
  const taken = new Set(exact.map(({ binding }) => binding.host));
  return [...new Set([...expanded, ...asked])]
    .filter((host) => !taken.has(host))
    .sort()
    .flatMap((host) => targetsOf(host, wildcards, policy));
}

/**
 * Pure: the targets of connections to a name below wildcards; none if it may
 * not be served. At each port the longest zone wins. `wildcards` has the
 * longest zones first.
 */
export function targetsOf(
  host: Hostname,
  wildcards: readonly AccountWildcard[],
  policy: Policy,
): Target[] {
  if (policy.forbidden(host) !== undefined) return [];
  const byPort = new Map<number, Target>();
  for (const { account, wildcard } of wildcards) {
    if (!isBelow(host, wildcard.zone) || byPort.has(wildcard.port)) continue;
    if (verdictOn(host, account, policy).kind === "served")
      byPort.set(wildcard.port, { account, binding: bindingBelow(wildcard, host) });
  }
  return [...byPort.values()];
}

const unsupported = (
  account: string,
  { ids, url }: { readonly ids: readonly string[]; readonly url: string },
  reason: string,
): Unserved[] => ids.map((id): Unserved => ({ kind: "unsupported", account, id, url, reason }));

const portReason = (port: number, reserved: readonly number[]): string | undefined =>
  reserved.includes(port) ? reservedText(port) : undefined;

const reservedText = (port: number): string =>
  `the port ${port} is kept free for this machine's own programs; ` +
  "forward.reserved_ports without it allows the endpoint";

function exposureOf(
  targets: readonly Target[],
  assignment: Assignment,
  facts: { ground: Ground; wildcards: readonly AccountWildcard[]; below: NamesBelow },
): Exposure {
  const { ground, wildcards, below } = facts;
  const first: Doorway[] = [];
  const second: Doorway[] = [];
  const names = new Map<Hostname, NameRecord>();
  const asked = new Map<Hostname, NameRecord>();
  for (const target of targets) {
    const { host, wildcard } = target.binding;
    const ip = assignment.get(host);
    if (ip === undefined) continue;
    const isAsked = wildcard !== undefined && !below.expanded.has(host);
    const known = isAsked ? asked : names;
    const record = known.get(host) ?? recordOf(host, ip, ground);
    known.set(host, record);
    first.push(doorwayOf(target, ip));
    if (record.ip6 !== undefined) second.push(doorwayOf(target, record.ip6));
  }
  // If descriptors are short, every endpoint comes before a second address.
  const doorways = [...first, ...second];
  const records = [...names.values(), ...asked.values()];
  return {
    doors: doorways.map(({ door }) => door),
    routes: doorways.flatMap(({ routes }) => routes),
    addresses: [...new Set(records.flatMap(addressesOf))],
    names: [...names.values()],
    asked: [...asked.values()],
    zones: below.onDemand ? [...new Set(wildcards.map(({ wildcard }) => wildcard.zone))] : [],
  };
}

/** Pure: a name with its addresses on this ground. */
export function recordOf(host: Hostname, ip: Ip, ground: Ground): NameRecord {
  const ip6 = ip6Of(ground, ip);
  return ip6 === undefined ? { host, ip } : { host, ip, ip6 };
}

/** Pure: the one door of a target at an address. */
export function doorwayOf(target: Target, ip: AnyIp): Doorway {
  const { port } = target.binding;
  const id = doorId(ip, port);
  return {
    door: { id, at: { ip, port }, greet: "fixed" },
    routes: [{ door: id, match: { kind: "any" }, target }],
  };
}
