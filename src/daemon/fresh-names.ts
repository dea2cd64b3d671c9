import { type Assignment, createSupply, type Supply } from "../exposure/allocate.ts";
import {
  type AccountWildcard,
  doorwayOf,
  type ExposureResult,
  type Policy,
  recordOf,
  targetsOf,
} from "../exposure/expose.ts";
import { addressesOf, type Doorway, type NameRecord, type Target } from "../exposure/exposure.ts";
import type { Ground } from "../exposure/ground.ts";
import { adding, placesFor, removing } from "../exposure/share.ts";
import type { Link } from "../machine/link/link.ts";
import type { Machine } from "../machine/machine.ts";
import type { Hostname } from "../model/hostname.ts";
import type { AnyIp, Ip } from "../model/ip.ts";
import type { Log } from "../model/log.ts";
import type { Lane } from "../relay/lanes.ts";
import type { Relay } from "../relay/relay.ts";

/** Gives names below wildcards their addresses, between two reconciles. */
export interface FreshNames {
  /** Takes over the names of a reconcile. */
  settle(decided: ExposureResult, rules: { policy: Policy; ground: Ground }): void;
  /**
   * The addresses of a name, whose doors listen then. `refused`: the name may
   * have none. `busy`: none is free now. Must not run during a reconcile.
   */
  open(host: Hostname): Promise<readonly string[] | "refused" | "busy">;
}

export interface FreshNamesDeps {
  readonly relay: Pick<Relay, "apply" | "present" | "draining">;
  readonly machine: Pick<Machine, "asked" | "keepAssignment">;
  /** The most names that were asked for. */
  readonly most: () => number;
  /** Makes addresses usable before a door opens. */
  readonly carry: Link["carry"];
  /** Called before a name loses its doors. */
  readonly forget: (host: Hostname) => void;
  readonly log: Log;
}

/**
 * If no client has asked for a name this long, another name may get its doors.
 * A client may keep an answer longer than it should.
 */
const idleMs = 60_000;
/** How many addresses are tried for a name if other programs have its port. */
const attempts = 16;

/** No name can be opened before the first {@link FreshNames.settle}. */
export function createFreshNames(deps: FreshNamesDeps): FreshNames {
  const { machine, log } = deps;
  let state: State | undefined;
  let full = false;
  return {
    settle({ assignment, exposure, wildcards }, { policy, ground }) {
      let supply: Supply | undefined;
      // Without a wildcard no name is opened, and nothing has to be kept.
      const wanted = wildcards.length === 0 ? [] : [...exposure.names, ...exposure.asked];
      state = {
        wildcards,
        policy,
        ground,
        // Most reconciles have no wildcard, or no fresh name after them.
        get supply() {
          supply ??= supplyAfter(assignment, wanted, policy, ground);
          return supply;
        },
      };
    },
    async open(host) {
      if (state === undefined) return "busy";
      const targets = targetsOf(host, state.wildcards, state.policy);
      if (targets.length === 0) return "refused";
      const there = addressOf(host, targets, state.supply, deps);
      if (there !== undefined) return addressesOf(recordOf(host, there, state.ground));
      if (machine.asked.size >= deps.most() && !(await retireOne(deps))) {
        if (!full) log.warn(fullText(deps.most()), { hint: fullHint });
        full = true;
        return "busy";
      }
      full = false;
      const addresses = await openAt(host, targets, state, deps);
      if (addresses === undefined) return "busy";
      machine.asked.add(host);
      machine.keepAssignment(state.supply.assignment);
      return addresses;
    },
  };
}

interface State {
  readonly wildcards: readonly AccountWildcard[];
  readonly policy: Policy;
  readonly ground: Ground;
  readonly supply: Supply;
}

function supplyAfter(
  assignment: Assignment,
  names: readonly NameRecord[],
  { pins }: Policy,
  { range }: Ground,
): Supply {
  return createSupply(assignment, new Set(names.map(({ host }) => host)), range, pins);
}

const fullText = (most: number): string =>
  `No more names below wildcards get an address: ${most} were asked for in the last minute`;
const fullHint = "which program asks for so many names? `ngrokd list` shows them";

/** The address at which a door of this name listens. */
function addressOf(
  host: Hostname,
  targets: readonly Target[],
  { assignment }: Supply,
  { relay }: FreshNamesDeps,
): Ip | undefined {
  const ip = assignment.get(host);
  if (ip === undefined) return undefined;
  const isThere = targets.some(({ binding: { port } }) =>
    placesFor(ip, port).some((id) => leadsTo(host, ip, relay.present.get(id))),
  );
  return isThere ? ip : undefined;
}

const leadsTo = (host: Hostname, ip: Ip, doorway: Doorway | undefined): boolean =>
  doorway?.routes.some(
    ({ match, target }) => target.binding.host === host && (match.at ?? doorway.door.at.ip) === ip,
  ) ?? false;

const hostOf = ({ route }: Lane): Hostname => route.target.binding.host;

async function openAt(
  host: Hostname,
  targets: readonly Target[],
  { supply, ground }: State,
  { relay, carry, log }: FreshNamesDeps,
): Promise<readonly AnyIp[] | undefined> {
  const refused = new Set<Ip>();
  const isUsable = (ip: Ip): boolean => !refused.has(ip) && !isCarrying(relay, ip);
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const ip = supply.take(host, isUsable);
    if (ip === undefined) return undefined;
    const addresses = addressesOf(recordOf(host, ip, ground));
    await carry(addresses);
    const doorways = targets.flatMap((target) => addresses.map((at) => doorwayOf(target, at)));
    const failures = await relay.apply(adding(doorways, relay.present));
    if (failures.size === 0) return addresses;
    for (const reason of failures.values()) log.debug(`Cannot serve ${host} on ${ip}: ${reason}`);
    await relay.apply(removing(host, relay.present.values()));
    refused.add(ip);
  }
  return undefined;
}

/** A closed door may still carry connections to another name. */
const isCarrying = ({ draining }: FreshNamesDeps["relay"], ip: Ip): boolean =>
  [...draining].some(({ doorway, route }) => (route.match.at ?? doorway.door.at.ip) === ip);

/**
 * Closes the doors of the name whose last question is the oldest, if none of
 * its connections is open. Returns whether there was such a name.
 */
async function retireOne({ relay, machine, forget }: FreshNamesDeps): Promise<boolean> {
  const lanes = [...relay.present.values()].flatMap((door) => door.lanes);
  const busy = new Set(lanes.filter(({ conns }) => conns.size > 0).map(hostOf));
  for (const host of machine.asked.idleFor(idleMs)) {
    if (busy.has(host)) continue;
    forget(host);
    await relay.apply(removing(host, relay.present.values()));
    machine.asked.remove(host);
    return true;
  }
  return false;
}
