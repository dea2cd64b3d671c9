import type { Unserved } from "../exposure/expose.ts";
import { type DoorId, doorId, type Exposure } from "../exposure/exposure.ts";
import type { Binding } from "../model/binding.ts";
import type { Hostname } from "../model/hostname.ts";
import type { AnyIp, Ip6 } from "../model/ip.ts";
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
}

/** Pure: the states of all endpoints but the draining ones, sorted by URL. */
export function endpointStates(facts: EndpointFacts): EndpointState[] {
  const { exposure, unserved } = facts;
  const names = new Map(exposure.names.map((name) => [name.host, name]));
  const targets = new Set(exposure.routes.map(({ target }) => target));
  const exposed = [...targets].map(({ binding }): EndpointState => {
    const { ip = "", ip6 = "" } = names.get(binding.host) ?? {};
    const [first, second] = [placeOf(binding, ip, facts), placeOf(binding, ip6, facts)];
    if (first.meter === undefined)
      return stateOf(binding, { ip, ip6, state: "failed", reason: first.reason });
    const warning = warningOf(binding, facts) || second.reason;
    return stateOf(binding, { ip, ip6, state: "listening", warning, meter: first.meter });
  });
  return [...exposed, ...unserved.map(unservedState)].sort((a, b) =>
    a.url < b.url ? -1 : a.url > b.url ? 1 : 0,
  );
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
