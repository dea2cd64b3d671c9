import type { AccountWildcard, Unserved } from "../exposure/expose.ts";
import type { DoorId, Exposure, Route } from "../exposure/exposure.ts";
import { routeKey } from "../exposure/plan.ts";
import type { Network } from "../exposure/share.ts";
import { type WantedPorts, wantedText } from "../machine/wanted-ports.ts";
import type { Binding } from "../model/binding.ts";
import type { Hostname } from "../model/hostname.ts";
import type { AnyIp, Ip6 } from "../model/ip.ts";
import { createMeter, type Meter } from "../model/meter.ts";
import type { EndpointState, NetworkState } from "../model/state.ts";
import type { LiveDoor } from "../relay/doors.ts";
import type { Lane } from "../relay/lanes.ts";

/** The results of a pass for the endpoints. */
export interface EndpointFacts {
  readonly exposure: Exposure;
  readonly unserved: readonly Unserved[];
  readonly wildcards: readonly AccountWildcard[];
  readonly present: ReadonlyMap<DoorId, Pick<LiveDoor, "lanes">>;
  /** Why doors could not be opened. */
  readonly failures: ReadonlyMap<DoorId, string>;
  /** Names to which the user's own lines give another address. */
  readonly overridden: readonly Hostname[];
  /** Remarks about served hosts. */
  readonly remarks?: ReadonlyMap<Hostname, string>;
  /** The served aliases of each host that has any. */
  readonly aliases?: ReadonlyMap<Hostname, readonly Hostname[]>;
  /** The ports that other programs of this machine have configured. */
  readonly wanted?: WantedPorts | undefined;
  /** How other machines reach the bindings, by their keys. */
  readonly network?: ReadonlyMap<string, Network>;
}

/** Pure: the states of all endpoints but the draining ones, sorted by URL. */
export function endpointStates(facts: EndpointFacts): EndpointState[] {
  const { exposure, unserved } = facts;
  const names = new Map([...exposure.names, ...exposure.asked].map((name) => [name.host, name]));
  const targets = new Map(exposure.routes.map(({ target }) => [target.binding.key, target]));
  const routes = routesByPlace(exposure);
  const lanesOf = lanesByRoute(facts);
  const exposed = [...targets.values()].map(({ account, binding }): EndpointState => {
    const { ip = "", ip6 = "" } = names.get(binding.host) ?? {};
    const at = (address: AnyIp | ""): Place =>
      placeOf(routes.get(placeKey(address, binding.key)), facts, lanesOf);
    const [first, second] = [at(ip), at(ip6)];
    const network = networkState(binding, facts, lanesOf);
    if (first.meter === undefined)
      return stateOf(account, binding, { ip, ip6, state: "failed", reason: first.reason, network });
    const { meter } = first;
    const warning = warningOf(binding, facts) || second.reason || unreachable(network);
    const state = stateOf(account, binding, {
      ip,
      ip6,
      state: "listening",
      warning,
      meter,
      network,
    });
    const aliases = facts.aliases?.get(binding.host);
    return aliases === undefined ? state : { ...state, aliases };
  });
  const wild = facts.wildcards.map(wildcardState);
  const all = [...exposed, ...wild, ...unserved.map(unservedState)];
  const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return all.sort((a, b) => order(a.url, b.url) || order(a.host, b.host));
}

interface Place {
  /** Undefined if the binding does not listen there. */
  readonly meter: Meter | undefined;
  /** Why it does not; empty if it does, or if there is no such address. */
  readonly reason: string;
}

/** The routes of the names' own addresses. */
function routesByPlace({ doors, routes }: Exposure): ReadonlyMap<string, Route> {
  const ips = new Map(doors.map(({ id, at }) => [id, at.ip]));
  return new Map(
    routes.flatMap((route): [string, Route][] => {
      const { door, match, target, forOthers = false } = route;
      const at = match.at ?? ips.get(door) ?? "";
      return forOthers ? [] : [[placeKey(at, target.binding.key), route]];
    }),
  );
}

const placeKey = (ip: AnyIp | "", key: string): string => `${ip} ${key}`;

/** Without a route there is no such address. */
function placeOf(
  route: Route | undefined,
  { failures }: EndpointFacts,
  lanesOf: LanesByRoute,
): Place {
  if (route === undefined) return { meter: undefined, reason: "" };
  const lane = lanesOf(route.door).get(routeKey(route));
  return lane === undefined
    ? { meter: undefined, reason: failures.get(route.door) ?? "it is not listening" }
    : { meter: lane.meter, reason: "" };
}

/** The lanes of a door by the keys of their routes; there may be thousands. */
type LanesByRoute = (door: DoorId) => ReadonlyMap<string, Lane>;

function lanesByRoute({ present }: EndpointFacts): LanesByRoute {
  const known = new Map<DoorId, ReadonlyMap<string, Lane>>();
  return (door) => {
    const lanes =
      known.get(door) ??
      new Map((present.get(door)?.lanes ?? []).map((lane) => [routeKey(lane.route), lane]));
    known.set(door, lanes);
    return lanes;
  };
}

function warningOf(
  { host, port }: Binding,
  { overridden, remarks, wanted = new Map() }: EndpointFacts,
): string {
  return overridden.includes(host)
    ? `another line of the hosts file gives "${host}" an address of its own, and that line counts`
    : (remarks?.get(host) ?? wantedText(port, wanted));
}

/** How other machines reach a binding now; undefined if they should not. */
function networkState(
  { key }: Binding,
  { network, present, failures }: EndpointFacts,
  lanesOf: LanesByRoute,
): NetworkState | undefined {
  const found = network?.get(key);
  if (found === undefined) return undefined;
  const { listen, places } = found;
  const open = places.find(({ door }) => present.has(door));
  if (open === undefined) {
    const failure = places.map(({ door }) => failures.get(door)).find((text) => text !== undefined);
    const reason = found.reason || (failure ?? "it is not listening");
    return { listen, port: 0, sharedDoor: "", reason };
  }
  const sharedDoor = isShared(lanesOf(open.door)) ? open.door : "";
  return { listen: open.ip, port: open.port, sharedDoor, reason: "" };
}

const isShared = (lanes: ReadonlyMap<string, Lane>): boolean => {
  const [first] = lanes.values();
  for (const { route } of lanes.values())
    if (route.target.binding.key !== first?.route.target.binding.key) return true;
  return false;
};

const unreachable = (network: NetworkState | undefined): string =>
  network === undefined || network.reason === ""
    ? ""
    : `other machines cannot reach it on "${network.listen}": ${network.reason}`;

/** Pure: the states of removed endpoints that still have open connections. */
export function drainingStates(draining: Iterable<Lane>): EndpointState[] {
  return [...draining].map(({ doorway, route, meter }) =>
    stateOf(route.target.account, route.target.binding, {
      ip: route.match.at ?? doorway.door.at.ip,
      state: "draining",
      reason: "waits for its open connections",
      meter,
    }),
  );
}

/**
 * Pure: the states of names below wildcards that have been asked for since the
 * last pass: their doors are not among the `known` states.
 */
export function freshStates(
  present: EndpointFacts["present"],
  known: readonly EndpointState[],
): EndpointState[] {
  const asked: Lane[] = [];
  for (const { lanes } of present.values()) {
    for (const lane of lanes)
      if (lane.route.target.binding.wildcard !== undefined) asked.push(lane);
  }
  if (asked.length === 0) return [];
  const there = new Set(known.map(({ host, port }) => `${host}:${port}`));
  const fresh = new Map<string, EndpointState>();
  for (const { doorway, route, meter } of asked) {
    const { account, binding } = route.target;
    if (there.has(binding.key) || route.forOthers === true) continue;
    const at = placeFields(route.match.at ?? doorway.door.at.ip);
    const before = fresh.get(binding.key);
    fresh.set(
      binding.key,
      before === undefined
        ? stateOf(account, binding, { ...at, state: "listening", meter })
        : { ...before, ...(at.ip6 === "" ? { ip: at.ip } : { ip6: at.ip6 }) },
    );
  }
  return [...fresh.values()];
}

/** An address as one of the two of a state. */
const placeFields = (ip: AnyIp): { ip: AnyIp | ""; ip6: Ip6 | "" } =>
  ip.includes(":") ? { ip: "", ip6: ip as Ip6 } : { ip, ip6: "" };

/** The wildcard itself has no address; its names have. */
const wildcardState = ({
  account,
  wildcard: { ids, url, proto, port },
}: AccountWildcard): EndpointState => ({
  account,
  ids,
  url,
  proto,
  host: "",
  port,
  ip: "",
  ip6: "",
  state: "wildcard",
  reason: "",
  warning: "",
  meter: createMeter(),
});

function unservedState(one: Unserved): EndpointState {
  const { reason } = one;
  if (one.kind === "homeless")
    return stateOf(one.account, one.binding, { ip: "", state: "failed", reason });
  if (one.kind !== "unsupported")
    return stateOf(one.account, one, { ip: "", state: one.kind, reason });
  const { account, id, url } = one;
  return {
    account,
    ids: [id],
    url,
    proto: "",
    host: "",
    port: 0,
    ip: "",
    ip6: "",
    state: "unsupported",
    reason,
    warning: "",
    meter: createMeter(),
  };
}

function stateOf(
  account: string,
  { ids, url, proto, host, port }: Pick<EndpointState, "ids" | "url" | "proto" | "host" | "port">,
  rest: {
    ip: AnyIp | "";
    ip6?: Ip6 | "";
    state: EndpointState["state"];
    reason?: string;
    warning?: string;
    meter?: Meter;
    network?: NetworkState | undefined;
  },
): EndpointState {
  const { ip, ip6 = "", state, reason = "", warning = "", meter = createMeter(), network } = rest;
  const known = { account, ids, url, proto, host, port, ip, ip6, state, reason, warning, meter };
  return network === undefined ? known : { ...known, network };
}
