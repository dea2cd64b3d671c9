/**
 * containers/ tells how the served names work in a container: which address
 * each name needs there, and what the configuration lacks. It is decided here,
 * written down in formats.ts for Docker and others, and settings.ts has the
 * lines of the configuration. Everything but the look at the interfaces
 * (bridges.ts) is pure.
 */
import { ruleFor, type WrittenRule } from "../access/access.ts";
import { accountsIn, rulesOf } from "../access/accounts.ts";
import { parseHostPort } from "../model/host-port.ts";
import { type Hostname, parseHostname } from "../model/hostname.ts";
import { loopback, parseIp, rangeHas, subnetText } from "../model/ip.ts";

export interface ContainerFacts {
  readonly endpoints: readonly ServedEndpoint[];
  /** The zones of the wildcards that this machine serves. */
  readonly zones: readonly string[];
  /** Undefined if the daemon has no DNS server that listens. */
  readonly dns: DnsFacts | undefined;
  readonly rules: readonly WrittenRule[];
  /** Whether the configuration asks for a virtual interface. */
  readonly wantsInterface: boolean;
  /** Its address; undefined if there is none. */
  readonly ownAddress: string | undefined;
  readonly network: ContainerNetwork;
}

/** An endpoint that listens, as in the list of the daemon. */
export interface ServedEndpoint {
  readonly hostname: string;
  readonly aliases?: readonly string[] | undefined;
  readonly ip: string;
  readonly port: number;
  /** The address for other machines; `virtual` if there is none. */
  readonly listen_interface: string;
  /** The port for other machines; 0 if there is none. */
  readonly network_port: number;
}

export interface DnsFacts {
  /** `host:port` */
  readonly listening: string;
  /** The networks that may ask beside this machine. */
  readonly clients: readonly string[];
  readonly hasUpstream: boolean;
}

/** The network of the container. */
export type ContainerNetwork =
  /** That of this machine. */
  | { readonly kind: "host" }
  /** Networks whose gateway this machine is. */
  | { readonly kind: "bridge"; readonly subnets: readonly string[]; readonly gateway: string };

/** How the names work in a container. */
export interface ContainerWay {
  readonly hosts: readonly HostLine[];
  /**
   * The name server for the container, which knows all names; undefined if
   * there is none that it may ask.
   */
  readonly dns: string | undefined;
  /** Endpoints at another port there. */
  readonly moved: readonly { readonly endpoint: string; readonly port: number }[];
  readonly lacks: readonly Lack[];
}

/** A name and the address that leads to its endpoints from a container. */
export interface HostLine {
  readonly host: Hostname;
  readonly at: string;
}

/** Endpoints that do not work in the container. */
export interface Lack {
  readonly kind: LackKind;
  /** Each as `host:port`, or `*.zone`. */
  readonly endpoints: readonly string[];
  /** The rule that lets no container in, from 1. */
  readonly rule?: number;
}

/**
 * `loopback`: the address means the container itself there. `rule`: the rule
 * for the endpoint lets no container in. `no-rule`: there is none, so no other
 * machine may connect. `dns`: the names below a wildcard need a name server.
 */
export type LackKind = "loopback" | "rule" | "no-rule" | "dns";

/** Pure. A name has one address, which all its endpoints share. */
export function containerWay(facts: ContainerFacts): ContainerWay {
  const byHost = Map.groupBy(facts.endpoints, ({ hostname }) => hostname);
  const ways = [...byHost.values()].map((endpoints) => wayOf(endpoints, facts));
  const hosts = ways.flatMap(({ lines }) => lines);
  const own = new Set(facts.endpoints.map(({ ip }) => ip));
  const knowsAll = hosts.every(({ at }) => own.has(at));
  const dns = knowsAll ? serverFor(facts) : undefined;
  // A container in this machine's network asks this machine's name servers.
  const asksHere = dns !== undefined || facts.network.kind === "host";
  const wild = asksHere ? [] : facts.zones.map(wildcardLack);
  return {
    hosts: hosts.sort((a, b) => (a.host < b.host ? -1 : a.host > b.host ? 1 : 0)),
    dns,
    moved: ways.flatMap(({ moved }) => moved),
    lacks: joined([...ways.flatMap(({ lacks }) => lacks), ...wild]),
  };
}

type Judged = Omit<Lack, "endpoints"> & { readonly endpoint: string };

const wildcardLack = (zone: string): Judged => ({ kind: "dns", endpoint: `*.${zone}` });

interface HostWay extends Pick<ContainerWay, "moved"> {
  readonly lines: readonly HostLine[];
  readonly lacks: readonly Judged[];
}

/** The address of the name itself is best: it has the ports of the URLs. */
function wayOf(endpoints: readonly ServedEndpoint[], facts: ContainerFacts): HostWay {
  const near = endpoints.map((one) => judged(one, ownPlace(one, facts), "users", facts));
  const far = endpoints.map((one) => judged(one, sharedPlace(one, facts), "everybody", facts));
  const isBest = far.some(isPlace) || (near.every(isUnreachable) && !far.every(isUnreachable));
  const best = isBest && !near.some(isPlace) ? far : near;
  const places = best.filter(isPlace);
  const [place] = places;
  const names = endpoints.flatMap(({ hostname, aliases = [] }) => [hostname, ...aliases]);
  return {
    lines: place === undefined ? [] : linesFor([...new Set(names)], place.at),
    moved: places
      .filter(({ endpoint: { port }, port: there }) => there !== port)
      .map(({ endpoint, port }) => ({ endpoint: keyOf(endpoint), port })),
    lacks: best.flatMap((one) => (isPlace(one) ? [] : [one])),
  };
}

/** Where an endpoint is reached. */
interface Place {
  readonly at: string;
  readonly port: number;
}

interface Reached extends Place {
  readonly endpoint: ServedEndpoint;
}

const isUnreachable = (one: Reached | Judged): boolean => !isPlace(one) && one.kind === "loopback";

const isPlace = (one: Reached | Judged): one is Reached => "at" in one;

const isLoopback = (address: string): boolean =>
  rangeHas(subnetText(loopback), address) || address === "::1";

function ownPlace({ ip, port }: ServedEndpoint, { network }: ContainerFacts): Place | undefined {
  return network.kind === "bridge" && isLoopback(ip) ? undefined : { at: ip, port };
}

/** The place for other machines. */
function sharedPlace(
  { listen_interface: listen, network_port: port }: ServedEndpoint,
  { network }: ContainerFacts,
): Place | undefined {
  if (network.kind === "host" || port === 0 || isLoopback(listen)) return undefined;
  return { at: listen === "0.0.0.0" || listen === "::" ? network.gateway : listen, port };
}

function judged(
  endpoint: ServedEndpoint,
  place: Place | undefined,
  without: "users" | "everybody",
  { network, rules: written }: ContainerFacts,
): Reached | Judged {
  if (place === undefined) return { kind: "loopback", endpoint: keyOf(endpoint) };
  const reached = { ...place, endpoint };
  if (network.kind === "host") return reached;
  const { rules } = rulesOf(written, accountsIn("", ""));
  const rule = ruleFor(rules, { host: endpoint.hostname, port: endpoint.port });
  if (rule === undefined)
    return without === "everybody" ? reached : { kind: "no-rule", endpoint: keyOf(endpoint) };
  return network.subnets.every((subnet) => rule.from.some((range) => meets(range, subnet)))
    ? reached
    : { kind: "rule", endpoint: keyOf(endpoint), rule: rule.number };
}

/** The name server that containers may ask; undefined if there is none. */
function serverFor({ dns, network }: ContainerFacts): string | undefined {
  if (dns === undefined || network.kind === "host" || !dns.hasUpstream) return undefined;
  const place = parseHostPort(dns.listening, 53);
  if (!place.ok || place.value.port !== 53 || isLoopback(place.value.host)) return undefined;
  const mayAsk = network.subnets.every((subnet) =>
    dns.clients.some((range) => meets(range, subnet)),
  );
  const { host } = place.value;
  const address = host === "0.0.0.0" || host === "::" ? network.gateway : host;
  return mayAsk && parseIp(address).ok ? address : undefined;
}

/** Whether two ranges have an address in common: one has the other's first. */
const meets = (a: string, b: string): boolean => {
  const [first, second] = [a.replace(/\/.*/, ""), b.replace(/\/.*/, "")];
  return a === b || first === second || rangeHas(a, second) || rangeHas(b, first);
};

/** The names come from outside, and their lines go to a shell or a file. */
const linesFor = (names: readonly string[], at: string): HostLine[] =>
  names.flatMap((name) => {
    const host = parseHostname(name);
    return host.ok && (parseIp(at).ok || at === hostGateway) ? [{ host: host.value, at }] : [];
  });

/** Docker and Podman replace it by their own address of this machine. */
export const hostGateway = "host-gateway";

const keyOf = ({ hostname, port }: ServedEndpoint): string => `${hostname}:${port}`;

function joined(lacks: readonly Judged[]): Lack[] {
  const groups = Map.groupBy(lacks, ({ kind, rule = 0 }) => `${kind} ${rule}`);
  return [...groups.values()].flatMap((same) => {
    const [first] = same;
    if (first === undefined) return [];
    const { kind, rule } = first;
    const endpoints = same.map(({ endpoint }) => endpoint);
    return [rule === undefined ? { kind, endpoints } : { kind, endpoints, rule }];
  });
}
