import type { AccountWildcard, Unserved } from "../exposure/expose.ts";
import type { DoorId, Exposure } from "../exposure/exposure.ts";
import type { Binding, Wildcard } from "../model/binding.ts";
import type { Hostname } from "../model/hostname.ts";
import type { Ip } from "../model/ip.ts";
import { createMeter, type Meter } from "../model/meter.ts";
import type { EndpointState } from "../model/state.ts";
import type { Lane, LiveDoor } from "../relay/doors.ts";

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
}

/** Pure: the states of all endpoints but the draining ones, sorted by URL. */
export function endpointStates(facts: EndpointFacts): EndpointState[] {
  const { exposure, unserved } = facts;
  const ips = new Map(exposure.doors.map(({ id, at }) => [id, at.ip]));
  const overridden = new Set(facts.overridden);
  const exposed = exposure.routes.map(({ door, target }): EndpointState => {
    const { binding } = target;
    const ip = ips.get(door) ?? "";
    const lanes = facts.present.get(door)?.lanes ?? [];
    const lane = lanes.find(({ route }) => route.target.binding.key === binding.key);
    if (lane === undefined) {
      const reason = facts.failures.get(door) ?? "it is not listening";
      return stateOf(binding, { ip, state: "failed", reason });
    }
    const warning = overridden.has(binding.host)
      ? `another line of the hosts file gives "${binding.host}" an address of its own, and that line counts`
      : "";
    return stateOf(binding, { ip, state: "listening", warning, meter: lane.meter });
  });
  const wild = facts.wildcards.map(({ wildcard }) => wildcardState(wildcard));
  const all = [...exposed, ...wild, ...unserved.map(unservedState)];
  const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return all.sort((a, b) => order(a.url, b.url) || order(a.host, b.host));
}

/** Pure: the states of removed endpoints that still have open connections. */
export function drainingStates(draining: Iterable<Lane>): EndpointState[] {
  return [...draining].map(({ doorway, route, meter }) =>
    stateOf(route.target.binding, {
      ip: doorway.door.at.ip,
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
  const there = new Set(known.map(({ host, port }) => `${host}:${port}`));
  return [...present.values()].flatMap(({ lanes }) =>
    lanes.flatMap(({ doorway, route, meter }) => {
      const { binding } = route.target;
      const isFresh = binding.wildcard !== undefined && !there.has(binding.key);
      return isFresh
        ? [stateOf(binding, { ip: doorway.door.at.ip, state: "listening", meter })]
        : [];
    }),
  );
}

/** The wildcard itself has no address; its names have. */
const wildcardState = ({ ids, url, proto, port }: Wildcard): EndpointState => ({
  ids,
  url,
  proto,
  host: "",
  port,
  ip: "",
  state: "wildcard",
  reason: "",
  warning: "",
  meter: createMeter(),
});

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
    ip: Ip | "";
    state: EndpointState["state"];
    reason?: string;
    warning?: string;
    meter?: Meter;
  },
): EndpointState {
  const { ip, state, reason = "", warning = "", meter = createMeter() } = rest;
  return { ids, url, proto, host, port, ip, state, reason, warning, meter };
}
