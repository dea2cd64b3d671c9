import type { AccountWildcard, Unserved } from "../exposure/expose.ts";
import { type DoorId, doorId, type Exposure } from "../exposure/exposure.ts";
import type { Binding, Wildcard } from "../model/binding.ts";
import type { Hostname } from "../model/hostname.ts";
import type { AnyIp, Ip6 } from "../model/ip.ts";
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
  const names = new Map([...exposure.names, ...exposure.asked].map((name) => [name.host, name]));
  const targets = new Set(exposure.routes.map(({ target }) => target));
  const exposed = [...targets].map(({ binding }): EndpointState => {
    const { ip = "", ip6 = "" } = names.get(binding.host) ?? {};
    const [first, second] = [placeOf(binding, ip, facts), placeOf(binding, ip6, facts)];
    if (first.meter === undefined)
      return stateOf(binding, { ip, ip6, state: "failed", reason: first.reason });
    const warning = warningOf(binding, facts) || second.reason;
    return stateOf(binding, { ip, ip6, state: "listening", warning, meter: first.meter });
  });
  const wild = facts.wildcards.map(({ wildcard }) => wildcardState(wildcard));
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

function placeOf(
  binding: Binding,
  ip: AnyIp | "",
  { present, failures }: Pick<EndpointFacts, "present" | "failures">,
): Place {
  if (ip === "") return { meter: undefined, reason: "" };
  const id = doorId(ip, binding.port);
  const lanes = present.get(id)?.lanes ?? [];
  const lane = lanes.find(({ route }) => route.target.binding.key === binding.key);
  return lane === undefined
    ? { meter: undefined, reason: failures.get(id) ?? "it is not listening" }
    : { meter: lane.meter, reason: "" };
}

function warningOf({ host }: Binding, { overridden }: EndpointFacts): string {
  return overridden.includes(host)
    ? `another line of the hosts file gives "${host}" an address of its own, and that line counts`
    : "";
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
  const fresh = new Map<string, EndpointState>();
  for (const { lanes } of present.values()) {
    for (const { doorway, route, meter } of lanes) {
      const { binding } = route.target;
      if (binding.wildcard === undefined || there.has(binding.key)) continue;
      const at = placeFields(doorway.door.at.ip);
      const before = fresh.get(binding.key);
      fresh.set(
        binding.key,
        before === undefined
          ? stateOf(binding, { ...at, state: "listening", meter })
          : { ...before, ...(at.ip6 === "" ? { ip: at.ip } : { ip6: at.ip6 }) },
      );
    }
  }
  return [...fresh.values()];
}

/** An address as one of the two of a state. */
const placeFields = (ip: AnyIp): { ip: AnyIp | ""; ip6: Ip6 | "" } =>
  ip.includes(":") ? { ip: "", ip6: ip as Ip6 } : { ip, ip6: "" };

/** The wildcard itself has no address; its names have. */
const wildcardState = ({ ids, url, proto, port }: Wildcard): EndpointState => ({
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
  if (one.kind === "homeless") return stateOf(one.binding, { ip: "", state: "failed", reason });
  const { id, url } = one;
  return {
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
  { ids, url, proto, host, port }: Binding,
  rest: {
    ip: AnyIp | "";
    ip6?: Ip6 | "";
    state: EndpointState["state"];
    reason?: string;
    warning?: string;
    meter?: Meter;
  },
): EndpointState {
  const { ip, ip6 = "", state, reason = "", warning = "", meter = createMeter() } = rest;
  return { ids, url, proto, host, port, ip, ip6, state, reason, warning, meter };
}
