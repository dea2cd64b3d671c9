import type { Assignment } from "../exposure/allocate.ts";
import {
  type AccountEndpoints,
  type ExposureResult,
  expose,
  type NamesBelow,
  type Policy,
} from "../exposure/expose.ts";
import {
  addressesOf,
  type DoorId,
  type Doorway,
  type Exposure,
  type NameRecord,
} from "../exposure/exposure.ts";
import { plan } from "../exposure/plan.ts";
import { placesFor } from "../exposure/share.ts";
import type { Link } from "../machine/link/link.ts";
import type { WantedPorts } from "../machine/wanted-ports.ts";
import { urlOf } from "../model/endpoint.ts";
import { hintOf, reasonOf } from "../model/error.ts";
import type { Hostname } from "../model/hostname.ts";
import type { AnyIp, Ip } from "../model/ip.ts";
import type { Log } from "../model/log.ts";
import type { Reconciled } from "../model/pass.ts";
import type { LiveDoor } from "../relay/doors.ts";
import type { Relay } from "../relay/relay.ts";
import { endpointStates } from "./endpoint-states.ts";
import { type NetworkMode, shareOnFreePorts } from "./network-mode.ts";

/** The effects of a pass; one that fails does not stop the others. */
export interface World {
  readonly relay: Pick<Relay, "present" | "apply" | "probe">;
  readonly machine: {
    /** The last saved one, or the one in memory if saving failed. */
    readonly assignment: Assignment;
    saveAssignment(assignment: Assignment): Promise<void>;
    /** Returns the names to which the user's own lines give another address. */
    apply(shown: Shown): Promise<readonly Hostname[]>;
  };
  readonly below?: NamesBelow;
  /** Is told what was decided, before anything of it is done. */
  readonly decided?: (result: ExposureResult) => void;
  readonly policy: Policy;
  /** Where the addresses come from. */
  readonly link: Pick<Link, "ground" | "carry">;
  /** The ports that programs of this machine want. */
  readonly wanted?: WantedPorts;
  /** Without it nothing is reachable from other machines. */
  readonly network?: NetworkMode;
  readonly log: Log;
}

/** The names that answer, and the zones below which others may be asked. */
export type Shown = Pick<Exposure, "addresses" | "names" | "asked" | "zones">;

/**
 * Makes this machine serve these endpoints and no others. The order keeps
 * clients safe. The assignment is saved before an address is used. A name is
 * written after its door opens, and removed before its door closes (design.md,
 * "One pass").
 */
export async function reconcile(
  accounts: readonly AccountEndpoints[],
  world: World,
): Promise<Reconciled> {
  const { relay, machine } = world;
  const problems: Reconciled["problems"][number][] = [];
  const attempt = async <T>(work: () => Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      problems.push({ reason: reasonOf(error), hint: hintOf(error) });
      return otherwise;
    }
  };

  const decided = await exposeOnFreeAddresses(accounts, world);
  const { assignment, unserved, wildcards, remarks } = decided;
  world.decided?.(decided);
  await attempt(() => machine.saveAssignment(assignment), undefined);
  const { exposure, ports, network } = await shareOnFreePorts(decided, world);
  await attempt(async () => await world.network?.savePorts(ports), undefined);
  await attempt(() => world.link.carry(exposure.addresses), undefined);
  const { open, reroute, close, reopen } = plan(exposure, relay.present);
  const failures = new Map(await openDoors({ open, reroute }, world));
  const advertise = (without: readonly DoorId[]): Promise<readonly Hostname[]> =>
    attempt(() => machine.apply(answering(exposure, relay.present, without)), []);
  let overridden = await advertise(close);
  await relay.apply({ close });
  if (reopen.length > 0) {
    for (const [id, reason] of await openDoors({ open: reopen }, world)) failures.set(id, reason);
    overridden = await advertise([]);
  }
  const { present } = relay;
  const { aliases } = decided;
  const listed = { exposure, unserved, wildcards, remarks, aliases, network, wanted: world.wanted };
  const facts = { ...listed, present, failures, overridden };
  return { endpoints: endpointStates(facts), problems };
}

/**
 * How many addresses are tried for a new name before its port counts as taken
 * on all of them. Another daemon may use many addresses.
 */
const probes = 64;

/** An exposure in which each new name has an address with free ports. */
async function exposeOnFreeAddresses(
  accounts: readonly AccountEndpoints[],
  { relay, machine, policy, link, below }: World,
): Promise<ExposureResult> {
  const taken = new Set<Ip>();
  const saved = machine.assignment;
  const exposeWith = (assignment: Assignment): ExposureResult =>
    expose({
      accounts,
      assignment,
      policy,
      machine: { ground: link.ground, taken },
      ...(below !== undefined && { below }),
    });
  let result = exposeWith(saved);
  const named = (): readonly NameRecord[] => [...result.exposure.names, ...result.exposure.asked];
  // A pinned address has no other, and an alias has that of its host.
  const isFixed = (host: Hostname): boolean =>
    policy.pins?.has(host) === true || policy.aliases?.has(host) === true;
  // Addresses are compared, since the allocation may replace a saved one.
  let unproven = named().filter(({ host, ip }) => saved.get(host) !== ip && !isFixed(host));
  for (let attempt = 0; attempt < probes && unproven.length > 0; attempt += 1) {
    const found = await relay.probe(placesOf(unproven, result.exposure, relay.present));
    if (found.size === 0) break;
    for (const ip of found) taken.add(ip);
    const again = new Set(unproven.filter(({ ip }) => found.has(ip)).map(({ host }) => host));
    // A name whose address is free keeps the address, as if it had been saved.
    result = exposeWith(new Map([...result.assignment].filter(([, ip]) => !found.has(ip))));
    unproven = named().filter(({ host }) => again.has(host));
  }
  return result;
}

/**
 * The places of these names, without those of our own doors: such an address
 * may go to another name.
 */
function placesOf(
  names: readonly NameRecord[],
  { doors }: Exposure,
  present: ReadonlyMap<DoorId, Doorway>,
): { ip: Ip; port: number }[] {
  const ips = new Map<AnyIp, Ip>(names.map(({ ip }) => [ip, ip]));
  return doors.flatMap(({ at: { ip: anyIp, port } }) => {
    const ip = ips.get(anyIp);
    const isFree = ip !== undefined && !placesFor(ip, port).some((id) => present.has(id));
    return isFree ? [{ ip, port }] : [];
  });
}

async function openDoors(
  steps: { readonly open: readonly Doorway[]; readonly reroute?: readonly Doorway[] },
  { relay, log }: World,
): Promise<ReadonlyMap<DoorId, string>> {
  const failures = await relay.apply(steps);
  for (const { door, routes } of steps.open) {
    if (failures.has(door.id)) continue;
    for (const { target } of routes) {
      const { url, host } = target.binding;
      log.debug(`${urlOf({ url, hostname: host })} listens on ${door.id}`);
    }
  }
  return failures;
}

/**
 * The names that listen on at least one port, and their addresses. An IPv6
 * address without a listener is left out.
 */
function answering(
  { routes, names, asked, zones }: Exposure,
  present: ReadonlyMap<DoorId, LiveDoor>,
  without: readonly DoorId[],
): Shown {
  const closing = new Set(without);
  const open = new Set<AnyIp>();
  for (const { door, match } of routes) {
    const ip = closing.has(door) ? undefined : present.get(door)?.door.at.ip;
    if (ip !== undefined) open.add(match.at ?? ip);
  }
  const answering = (records: readonly NameRecord[]): NameRecord[] =>
    records
      .filter(({ ip }) => open.has(ip))
      .map(({ host, ip, ip6 }) =>
        ip6 === undefined || !open.has(ip6) ? { host, ip } : { host, ip, ip6 },
      );
  const served = { names: answering(names), asked: answering(asked) };
  const addresses = [...served.names, ...served.asked].flatMap(addressesOf);
  return { ...served, addresses, zones };
}
