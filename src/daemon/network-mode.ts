import type { Config } from "../config/schema.ts";
import type { ExposureResult } from "../exposure/expose.ts";
import { type Door, type DoorId, type Doorway, isWide, overlap } from "../exposure/exposure.ts";
import type { Ports } from "../exposure/ports.ts";
import { mayBeReached, type Reach, reachOf } from "../exposure/reach.ts";
import { type Shared, share } from "../exposure/share.ts";
import { interfaceAddresses } from "../machine/interfaces.ts";
import type { Machine } from "../machine/machine.ts";
import type { Hostname } from "../model/hostname.ts";
import { type ListeningSocket, listeningSockets } from "../net/proc-net.ts";
import type { Relay } from "../relay/relay.ts";

/** What makes endpoints reachable from other machines. */
export interface NetworkMode {
  readonly reach: (host: Hostname) => Reach;
  readonly startPort: number;
  readonly ports: Ports;
  savePorts(ports: Ports): Promise<void>;
  /** All listening sockets of this machine; undefined if it is unknown. */
  readonly listening: () => Promise<readonly ListeningSocket[] | undefined>;
}

export interface Surroundings {
  readonly relay: Pick<Relay, "present" | "probe">;
  readonly network?: NetworkMode;
}

/** Undefined if no host may be reachable from other machines. */
export function networkMode(
  { net }: Config,
  { ports }: Pick<Machine, "ports">,
): NetworkMode | undefined {
  if (!mayBeReached(net)) return undefined;
  return {
    reach: reachOf(net, interfaceAddresses()),
    startPort: net.start_port,
    ports: ports.all,
    savePorts: ports.save,
    listening: listeningSockets,
  };
}

/** Pure but for the interfaces: all that {@link networkMode} depends on. */
export function networkBasis({ net }: Config): unknown {
  if (!mayBeReached(net)) return undefined;
  const { listen_interface, overrides, start_port } = net;
  const addressesOf = interfaceAddresses();
  const names = new Set([listen_interface, ...Object.values(overrides)]);
  return [listen_interface, overrides, start_port, [...names].map(addressesOf)];
}

/**
 * Pure: the warning that every machine may connect; empty if there is a rule
 * for every endpoint.
 */
export function openToAll({ net, access }: Config): string {
  if (!mayBeReached(net) || access.rules.some(({ endpoint }) => endpoint === "*")) return "";
  const which = access.rules.length === 0 ? "them" : "those without a rule in access.rules";
  return (
    "net.listen_interface or net.overrides makes endpoints reachable from other machines, " +
    `and every machine that reaches this one may connect to ${which}; ` +
    'a rule for the endpoint "*" excludes all that it does not name'
  );
}

/** How many ports are tried before a binding has none. */
const probes = 64;

/** An exposure in which each new door for other machines has a free port. */
export async function shareOnFreePorts(
  { exposure, aliases }: Pick<ExposureResult, "exposure" | "aliases">,
  { relay, network }: Surroundings,
): Promise<Shared> {
  if (network === undefined) return { exposure, ports: new Map(), network: new Map() };
  const { reach, startPort, ports } = network;
  const taken = new Set<DoorId>();
  const free = new Set<DoorId>(relay.present.keys());
  const isTaken = trialOf(relay, network);
  const shareNow = (): Shared => share({ exposure, reach, aliases, startPort, ports, taken });
  let result = shareNow();
  for (let attempt = 0; attempt < probes; attempt += 1) {
    const unproven = doorsForOthers(result).filter(({ id }) => !free.has(id) && !taken.has(id));
    if (unproven.length === 0) return result;
    for (const door of unproven) ((await isTaken(door)) ? taken : free).add(door.id);
    result = shareNow();
  }
  return result;
}

function doorsForOthers({ exposure, network }: Shared): Door[] {
  const ids = new Set(
    [...network.values()].flatMap(({ places }) => places.map(({ door }) => door)),
  );
  return exposure.doors.filter(({ id }) => ids.has(id));
}

/** Finds out whether another program has the place of a door. */
function trialOf(
  { present, probe }: Surroundings["relay"],
  { listening }: NetworkMode,
): (door: Door) => Promise<boolean> {
  const ours = Map.groupBy(present.values(), ({ door }) => door.at.port);
  let sockets: readonly ListeningSocket[] | undefined;
  return async ({ at }) => {
    const inTheWay = (ours.get(at.port) ?? []).filter(({ door }) => overlap(door.at.ip, at.ip));
    if (inTheWay.length === 0) return (await probe([at])).size > 0;
    if (!isWide(at.ip)) return false;
    // A trial bind would find the doors of ours, so the system's table counts.
    sockets ??= (await listening()) ?? [];
    return hasOthers(at, inTheWay, sockets);
  };
}

/** Pure: whether others than these doors of ours listen at a wide place. */
function hasOthers(
  at: Door["at"],
  ours: readonly Doorway[],
  sockets: readonly ListeningSocket[],
): boolean {
  const hosts = new Set<string>(ours.map(({ door }) => (isWide(door.at.ip) ? "*" : door.at.ip)));
  const hasV6 = ours.some(({ door }) => door.at.ip.includes(":"));
  return sockets.some(({ host, port }) => {
    const isV4 = host === "*" || host.includes(".");
    if (port !== at.port || hosts.has(host)) return false;
    return isV4 || (at.ip === "::" && !hasV6);
  });
}
