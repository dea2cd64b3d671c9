import type { Unserved } from "../exposure/expose.ts";
import type { DoorId, Exposure, Route } from "../exposure/exposure.ts";
import { routeKey } from "../exposure/plan.ts";
import type { Network } from "../exposure/share.ts";
import type { Binding } from "../model/binding.ts";
import type { Hostname } from "../model/hostname.ts";
import type { AnyIp } from "../model/ip.ts";
import { createMeter, type Meter } from "../model/meter.ts";
import type { EndpointState, NetworkState } from "../model/state.ts";
import type { Lane, LiveDoor } from "../relay/doors.ts";

/** The results of a pass for the endpoints. */
export interface EndpointFacts {
  readonly exposure: Exposure;
  readonly unserved: readonly Unserved[];
  readonly present: ReadonlyMap<DoorId, Pick<LiveDoor, "lanes">>;
  /** Why doors could not be opened. */
  readonly failures: ReadonlyMap<DoorId, string>;
  /** Names to which the user's own lines give another address. */
  readonly overridden: readonly Hostname[];
  /** How other machines reach the bindings, by their keys. */
  readonly network?: ReadonlyMap<string, Network>;
}

/** Pure: the states of all endpoints but the draining ones, sorted by URL. */
export function endpointStates(facts: EndpointFacts): EndpointState[] {
  const { exposure, unserved } = facts;
  const ips = new Map(exposure.doors.map(({ id, at }) => [id, at.ip]));
  const overridden = new Set(facts.overridden);
  const own = new Set(exposure.addresses);
  const exposed = exposure.routes.flatMap((route): EndpointState[] => {
    const { door, match, target } = route;
    const { binding } = target;
    const ip = match.at ?? ips.get(door) ?? "";
    if (match.kind !== "any" || ip === "" || !own.has(ip)) return [];
    const network = networkState(binding, facts);
    const lane = laneOf(route, facts);
    if (lane === undefined) {
      const reason = facts.failures.get(door) ?? "it is not listening";
      return [stateOf(binding, { ip, state: "failed", reason, network })];
    }
    const warning = overridden.has(binding.host)
      ? `another line of the hosts file gives "${binding.host}" an address of its own, and that line counts`
      : warningOf(network);
    return [stateOf(binding, { ip, state: "listening", warning, meter: lane.meter, network })];
  });
  return [...exposed, ...unserved.map(unservedState)].sort((a, b) =>
    a.url < b.url ? -1 : a.url > b.url ? 1 : 0,
  );
}

const laneOf = (route: Route, { present }: EndpointFacts): Lane | undefined =>
  present.get(route.door)?.lanes.find((lane) => routeKey(lane.route) === routeKey(route));

/** How other machines reach a binding now; undefined if they should not. */
function networkState(
  { key }: Binding,
  { network, present, failures }: EndpointFacts,
): NetworkState | undefined {
  const found = network?.get(key);
  if (found === undefined) return undefined;
  const { listen, places, reason } = found;
  const open = places.find(({ door }) => present.has(door));
  if (open === undefined) {
    const failure = places.map(({ door }) => failures.get(door)).find((text) => text !== undefined);
    return {
      listen,
      port: 0,
      sharedDoor: "",
      reason: reason || (failure ?? "it is not listening"),
    };
  }
  const { lanes = [] } = present.get(open.door) ?? {};
  const users = new Set(lanes.map(({ route }) => route.target.binding.key));
  return { listen, port: open.port, sharedDoor: users.size > 1 ? open.door : "", reason: "" };
}

const warningOf = (network: NetworkState | undefined): string =>
  network === undefined || network.reason === ""
    ? ""
    : `other machines cannot reach it on "${network.listen}": ${network.reason}`;

/** Pure: the states of removed endpoints that still have open connections. */
export function drainingStates(draining: Iterable<Lane>): EndpointState[] {
  return [...draining].map(({ doorway, route, meter }) =>
    stateOf(route.target.binding, {
      ip: route.match.at ?? doorway.door.at.ip,
      state: "draining",
      reason: "waits for its open connections",
      meter,
    }),
  );
}

function unservedState(one: Unserved): EndpointState {
  const { reason } = one;
  if (one.kind === "homeless") return stateOf(one.binding, { ip: "", state: "failed", reason });
  const { id, url } = one;
  return {
    ids: [id],
    url,
    proto: "",
    host: "",
    port: 0,
    ip: "",
    state: "unsupported",
    reason,
    warning: "",
    meter: createMeter(),
  };
}

function stateOf(
  { ids, url, proto, host, port }: Binding,
  rest: {
    ip: AnyIp | "";
    state: EndpointState["state"];
    reason?: string;
    warning?: string;
    meter?: Meter;
    network?: NetworkState | undefined;
  },
): EndpointState {
  const { ip, state, reason = "", warning = "", meter = createMeter(), network } = rest;
  const known = { ids, url, proto, host, port, ip, state, reason, warning, meter };
  return network === undefined ? known : { ...known, network };
}
