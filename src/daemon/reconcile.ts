import { type Allocation, type Assignment, allocate } from "../exposure/allocate.ts";
import { type Placed, placeOf, plan } from "../exposure/plan.ts";
import { type BadEndpoint, type Binding, bindingsOf } from "../model/binding.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { hintOf, reasonOf } from "../model/error.ts";
import type { Hostname } from "../model/hostname.ts";
import type { Ip, Subnet } from "../model/ip.ts";
import type { Log } from "../model/log.ts";
import { createMeter } from "../model/meter.ts";
import type { Reconciled } from "../model/pass.ts";
import type { EndpointState } from "../model/state.ts";
import { answeringNames, type Listeners, type Raised } from "../relay/doors.ts";

/**
 * The effects of a pass, handed in; each answers or throws for itself alone.
 */
export interface World {
  readonly listeners: Listeners;
  /** The assignment as it was last saved, or kept where saving failed. */
  readonly assignment: () => Assignment;
  readonly saveAssignment: (assignment: Assignment) => Promise<void>;
  /**
   * Makes the hosts section say this; answers names that a line of the user's
   * own overrides.
   */
  readonly advertise: (entries: ReadonlyMap<Hostname, Ip>) => Promise<readonly Hostname[]>;
  /**
   * Why a name may never be written into the hosts file; undefined where it
   * may.
   */
  readonly forbidden: (host: Hostname) => string | undefined;
  readonly range: Subnet;
  /**
   * How long the connections of a retired endpoint may go on, in milliseconds.
   */
  readonly drainMs: number;
  readonly log: Log;
}

/**
 * Makes this machine serve `listed`, and nothing else. The order is the safety:
 * the assignment is saved before an address is used, names are written once
 * they answer, and go before their listener does (design.md, "One pass").
 */
export async function reconcile(listed: readonly ApiEndpoint[], world: World): Promise<Reconciled> {
  const { listeners, log } = world;
  const problems: Reconciled["problems"][number][] = [];
  const attempt = async <T>(work: () => Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      problems.push({ reason: reasonOf(error), hint: hintOf(error) });
      return otherwise;
    }
  };

  const { bindings, bad } = admit(listed, world.forbidden);
  const { assignment, failed } = await place(bindings, world);
  await attempt(() => world.saveAssignment(assignment), undefined);

  const wanted = bindings.flatMap((binding): Placed[] => {
    const ip = assignment.get(binding.host);
    return ip === undefined ? [] : [{ binding, ip }];
  });
  const { raise, retire } = plan(wanted, new Set(listeners.present.keys()));
  const reasons = new Map<string, string>();
  for (const placed of raise) {
    const reason = await listeners.raise(placed);
    if (reason === undefined)
      log.debug(`${placed.binding.url} listens on ${placed.ip}:${placed.binding.port}`);
    else reasons.set(placeOf(placed), reason);
  }
  // The endpoints behind a place may have changed without the place.
  for (const placed of wanted) {
    const raised = listeners.present.get(placeOf(placed));
    if (raised !== undefined) raised.placed = placed;
  }

  const going = new Set(retire);
  const staying = new Map([...listeners.present].filter(([place]) => !going.has(place)));
  const shadowed = new Set(await attempt(() => world.advertise(answeringNames(staying)), []));
  for (const place of retire) listeners.retire(place, world.drainMs);

  return {
    endpoints: states({ wanted, reasons, failed, bindings, bad, shadowed, listeners }),
    problems,
  };
}

/**
 * The states of all endpoints, sorted by URL; those that drain come from
 * `listeners` alone.
 */
export function drainingStates(listeners: Listeners): EndpointState[] {
  return [...listeners.draining].map((raised) =>
    stateOf(raised.placed.binding, {
      ip: raised.placed.ip,
      state: "draining",
      reason: "waits for its open connections",
      raised,
    }),
  );
}

/** Pure: what can be served, and what cannot, each with the reason. */
export function admit(
  listed: readonly ApiEndpoint[],
  forbidden: World["forbidden"],
): { bindings: Binding[]; bad: BadEndpoint[] } {
  const { bindings, bad } = bindingsOf(listed);
  const admitted: Binding[] = [];
  for (const binding of bindings) {
    const reason = forbidden(binding.host);
    if (reason === undefined) admitted.push(binding);
    else bad.push(...binding.ids.map((id) => ({ id, url: binding.url, reason })));
  }
  return { bindings: admitted, bad };
}

/**
 * How many addresses are tried for a new name before the port itself is taken
 * to be in use on all of them; another daemon may hold many.
 */
const probes = 64;

/**
 * Gives every name an address; a name that is new gets one where nothing else
 * listens on its ports.
 */
async function place(bindings: readonly Binding[], world: World): Promise<Allocation> {
  const { listeners, range } = world;
  const saved = world.assignment();
  const wanted = bindings.map(({ host }) => host);
  const avoid = new Set<Ip>();
  let allocation = allocate({ wanted, saved, range, avoid });
  // Not every saved address counts (allocate).
  const { assignment } = allocation;
  let unproven = bindings.filter(({ host }) => assignment.get(host) !== saved.get(host));
  for (let attempt = 0; attempt < probes && unproven.length > 0; attempt += 1) {
    const places = unproven.flatMap(({ host, port }) => {
      const ip = allocation.assignment.get(host);
      return ip === undefined ? [] : [{ ip, port }];
    });
    const taken = await listeners.probe(places);
    if (taken.size === 0) break;
    for (const ip of taken) avoid.add(ip);
    const current = allocation;
    unproven = unproven.filter(({ host }) => taken.has(current.assignment.get(host) ?? ("" as Ip)));
    // Names whose address proved free keep it: they count as saved from here
    // on.
    const proven = new Map([...current.assignment].filter(([, ip]) => !taken.has(ip)));
    allocation = allocate({ wanted, saved: proven, range, avoid });
  }
  return allocation;
}

function states(facts: {
  wanted: readonly Placed[];
  reasons: ReadonlyMap<string, string>;
  failed: ReadonlyMap<Hostname, string>;
  bindings: readonly Binding[];
  bad: readonly BadEndpoint[];
  shadowed: ReadonlySet<Hostname>;
  listeners: Listeners;
}): EndpointState[] {
  const { wanted, reasons, failed, bindings, bad, shadowed, listeners } = facts;
  const placed = wanted.map((one): EndpointState => {
    const raised = listeners.present.get(placeOf(one));
    const { host } = one.binding;
    const warning = shadowed.has(host)
      ? `another line of the hosts file gives "${host}" an address of its own, which may win`
      : "";
    if (raised !== undefined)
      return stateOf(one.binding, { ip: one.ip, state: "listening", warning, raised });
    return stateOf(one.binding, {
      ip: one.ip,
      state: "failed",
      reason: reasons.get(placeOf(one)) ?? "it is not listening",
    });
  });
  const homeless = bindings.flatMap((binding) => {
    const reason = failed.get(binding.host);
    return reason === undefined ? [] : [stateOf(binding, { ip: "", state: "failed", reason })];
  });
  const unusable = bad.map(
    ({ id, url, reason }): EndpointState => ({
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
    }),
  );
  return [...placed, ...homeless, ...unusable].sort((a, b) =>
    a.url < b.url ? -1 : a.url > b.url ? 1 : 0,
  );
}

function stateOf(
  { ids, url, proto, host, port }: Binding,
  rest: {
    ip: Ip | "";
    state: EndpointState["state"];
    reason?: string;
    warning?: string;
    raised?: Raised;
  },
): EndpointState {
  const { ip, state, reason = "", warning = "", raised } = rest;
  return {
    ids,
    url,
    proto,
    host,
    port,
    ip,
    state,
    reason,
    warning,
    meter: raised?.meter ?? createMeter(),
  };
}
