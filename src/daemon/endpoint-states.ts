import type { Unserved } from "../exposure/expose.ts";
import type { DoorId, Exposure } from "../exposure/exposure.ts";
import type { Hostname } from "../model/hostname.ts";
import type { Ip } from "../model/ip.ts";
import { createMeter, type Meter } from "../model/meter.ts";
import type { EndpointState } from "../model/state.ts";
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
  /** Remarks about served hosts. */
  readonly remarks?: ReadonlyMap<Hostname, string>;
  /** The host of each alias. */
  readonly aliases?: ReadonlyMap<Hostname, Hostname> | undefined;
}

/** Pure: the states of all endpoints but the draining ones, sorted by URL. */
export function endpointStates(facts: EndpointFacts): EndpointState[] {
  const { exposure, unserved } = facts;
  const ips = new Map(exposure.doors.map(({ id, at }) => [id, at.ip]));
  const overridden = new Set(facts.overridden);
  const known = aliasesByHost(exposure, facts.aliases);
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
      : (facts.remarks?.get(binding.host) ?? "");
    const state = stateOf(binding, { ip, state: "listening", warning, meter: lane.meter });
    const aliases = known.get(binding.host);
    return aliases === undefined ? state : { ...state, aliases };
  });
  return [...exposed, ...unserved.map(unservedState)].sort((a, b) =>
    a.url < b.url ? -1 : a.url > b.url ? 1 : 0,
  );
}

/** The served aliases of each host. */
function aliasesByHost(
  { names }: Exposure,
  aliases: ReadonlyMap<Hostname, Hostname> = new Map(),
): ReadonlyMap<Hostname, readonly Hostname[]> {
  const served = new Map<Hostname, Hostname[]>();
  for (const { host: alias } of aliases.size === 0 ? [] : names) {
    const host = aliases.get(alias);
    if (host !== undefined) served.set(host, [...(served.get(host) ?? []), alias]);
  }
  return served;
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

function unservedState(one: Unserved): EndpointState {
  const { reason } = one;
  if (one.kind === "homeless") return stateOf(one.binding, { ip: "", state: "failed", reason });
  if (one.kind !== "unsupported") return stateOf(one, { ip: "", state: one.kind, reason });
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
  { ids, url, proto, host, port }: Pick<EndpointState, "ids" | "url" | "proto" | "host" | "port">,
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
