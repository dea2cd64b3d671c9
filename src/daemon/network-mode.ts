import type { Config } from "../config/schema.ts";
import { type DoorId, type Doorway, type Exposure, isWide, overlap } from "../exposure/exposure.ts";
import type { Ports } from "../exposure/ports.ts";
import { mayBeReached, type Reach, reachOf } from "../exposure/reach.ts";
import { type Shared, share } from "../exposure/share.ts";
import { interfaceAddresses } from "../machine/interfaces.ts";
import type { Machine } from "../machine/machine.ts";
import type { Hostname } from "../model/hostname.ts";
import type { AnyIp } from "../model/ip.ts";
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
 * Pure: the warning that nobody is excluded; empty if there is a rule for every
 * endpoint.
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
  exposure: Exposure,
  { relay, network }: Surroundings,
): Promise<Shared> {
  if (network === undefined) return { exposure, ports: new Map(), network: new Map() };
  const { reach, startPort, ports } = network;
  const taken = new Set<DoorId>();
  const free = new Set<DoorId>(relay.present.keys());
  const shareNow = (): Shared => share({ exposure, reach, startPort, ports, taken });
  let result = shareNow();
  for (let attempt = 0; attempt < probes; attempt += 1) {
    const unproven = doorsForOthers(result).filter(({ id }) => !free.has(id) && !taken.has(id));
    if (unproven.length === 0) return result;
    for (const { id, at } of unproven)
      ((await isTaken(at, { relay, network })) ? taken : free).add(id);
    result = shareNow();
  }
  return result;
}

function doorsForOthers({ exposure, network }: Shared): Doorway["door"][] {
  const ids = new Set(
    [...network.values()].flatMap(({ places }) => places.map(({ door }) => door)),
  );
  return exposure.doors.filter(({ id }) => ids.has(id));
}

/**
 * Whether another program has this place. If doors of ours are in the way, a
 * trial bind would find those, so the system's table counts.
 */
async function isTaken(
  at: { readonly ip: AnyIp; readonly port: number },
  { relay, network }: Required<Surroundings>,
): Promise<boolean> {
  const ours = [...relay.present.values()].filter(
    ({ door }) => door.at.port === at.port && overlap(door.at.ip, at.ip),
  );
  if (ours.length === 0) return (await relay.probe([at])).size > 0;
  if (!isWide(at.ip)) return false;
  const sockets = (await network.listening()) ?? [];
  const hosts = new Set<string>(ours.map(({ door }) => (isWide(door.at.ip) ? "*" : door.at.ip)));
  const hasV6 = ours.some(({ door }) => door.at.ip.includes(":"));
  return sockets.some(({ host, port }) => {
    const isV4 = host === "*" || host.includes(".");
    if (port !== at.port || hosts.has(host)) return false;
    return isV4 || (at.ip === "::" && !hasV6);
  });
}
