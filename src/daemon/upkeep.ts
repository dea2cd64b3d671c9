/** The care of the daemon for this machine between two passes. */
import { sweepSockets } from "../control/stale-sockets.ts";
import { trustFolder } from "../ingress/ngrok-ca.ts";
import { ownerPath } from "../machine/hosts/owner.ts";
import { sweepLeftovers } from "../machine/leftovers.ts";
import type { RepairDeps } from "../machine/repair.ts";
import type { HostPort } from "../model/host-port.ts";
import type { AnyIp } from "../model/ip.ts";
import type { Parts } from "./parts.ts";

/** The parts that are repaired between two passes, and how. */
export function repairs(
  parts: Parts,
  checkConfig: () => void,
  sweep: () => Promise<void>,
): RepairDeps {
  const { options, accounts, relay, link, machine, naming } = parts;
  return {
    names: machine,
    resolver: naming,
    doors: relay,
    link: { guard: () => link.guard(() => addressesInUse(relay)), devices: () => link.devices },
    checkConfig,
    sweep,
    discard: () => discardAll(parts),
    kick: accounts.kick,
    log: options.log,
  };
}

/** Removes the unfinished files and dead sockets of earlier runs. */
export async function sweepFor(
  { options, settings, accounts }: Parts,
  socketPath: string,
): Promise<void> {
  const { path, hostsPath } = settings.current;
  const identities = accounts.all.flatMap(({ loaded }) => {
    const { client_cert, client_key } = loaded().config.server;
    return [client_cert, client_key];
  });
  const owner = await ownerPath(hostsPath);
  const files = [...identities, path, hostsPath, owner, `${trustFolder}/ca`];
  const sweepDead = (): Promise<number> => sweepSockets(options.net, socketPath);
  await sweepLeftovers({ files, sweepSockets: sweepDead }, options.log);
}

export function healthAddress({ settings }: Parts): HostPort {
  const { health_address: host, health_port: port } = settings.current.config.server;
  return { host, port: port === "any" ? 0 : port };
}

/** After a change of the network, nothing that was ready is trusted. */
function discardAll({ way, relay, naming }: Parts): void {
  way.discard();
  relay.discardReady();
  naming.moved();
}

/** The addresses on which doors listen or connections drain. */
function* addressesInUse({ present, draining }: Parts["relay"]): Generator<AnyIp> {
  for (const { door } of present.values()) yield door.at.ip;
  for (const { doorway } of draining) yield doorway.door.at.ip;
}
