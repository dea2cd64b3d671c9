import type { Taker } from "../control/answering.ts";
import {
  adoptControlServer,
  type ControlOptions,
  type ControlServer,
  startControlServer,
} from "../control/server.ts";
import type { UpgradeReport } from "../desk/reply-schemas.ts";
import { requirePassable } from "../handover/estate.ts";
import { activatedKey, controlKey } from "../handover/handover.ts";
import { createLeaving, type Leaving } from "../handover/leaving.ts";
import { socketGroup } from "../model/access.ts";
import { NgrokdError } from "../model/error.ts";
import { comeIntoHeritage, type LiveInheritance } from "./inheritance.ts";
import { estateFacts, type Known, nothingKnown } from "./leave.ts";
import type { Parts } from "./parts.ts";

/** How this daemon hands over to the next one. */
export interface Handover {
  readonly leaving: Leaving;
  /** The traffic that the successor knows. */
  readonly known: Known;
  upgrade(to: string | undefined): Promise<UpgradeReport>;
}

export function createHandover(parts: Parts): Handover {
  const { options, settings, serving, relay } = parts;
  const { net, log, inheritance, starter } = options;
  let known = nothingKnown();
  const leaving = createLeaving({
    net,
    way: starter?.way ?? "beside",
    socketPath: () => settings.current.config.server.socket_path,
    start(program, env) {
      if (starter === undefined) throw cannot();
      return starter.start(program, env);
    },
    hold: serving.hold,
    estate() {
      const estate = estateFacts(parts);
      ({ known } = estate);
      return { facts: estate.facts, held: inheritance?.estate.held ?? [] };
    },
    log,
  });
  return {
    leaving,
    get known() {
      return known;
    },
    async upgrade(to) {
      const begin = performance.now();
      if (starter === undefined || inheritance === undefined) throw cannot();
      const program = to ?? starter.own();
      requirePassable(inheritance.estate);
      await starter.check(program);
      const { pid, version, way } = await leaving.upgrade(program);
      return {
        program,
        version,
        pid: way === "beside" ? pid : process.pid,
        way: way === "beside" ? "beside" : "in place",
        took_ms: Math.round(performance.now() - begin),
        draining: relay.stats().open,
      };
    },
  };
}

const cannot = (): NgrokdError =>
  new NgrokdError("refused", "Cannot hand over: this daemon was not started by `ngrokd serve`");

/** Opens the control socket, or goes on with an inherited one. */
export async function openControl(
  { options, settings }: Parts,
  clients: Pick<ControlOptions, "handle" | "web" | "takers">,
  { leaving }: Handover,
): Promise<ControlServer> {
  const { net, log, inheritance } = options;
  const { socket_path: path, socket_read: readers } = settings.current.config.server;
  const owners = Object.entries(leaving.takers).map(([command, take]): [string, Taker] => [
    command,
    { who: "owner", take },
  ]);
  const control = {
    net,
    path,
    group: socketGroup,
    readers,
    log,
    ...clients,
    takers: { ...clients.takers, ...Object.fromEntries(owners) },
  };
  const estate = inheritance?.estate;
  const activated = estate?.claim(activatedKey);
  const own = activated ?? estate?.claim(controlKey);
  const key = activated === undefined ? controlKey : activatedKey;
  const server =
    own === undefined
      ? await startControlServer(control)
      : await adoptControlServer(control, own, activated === undefined ? "a daemon" : "systemd");
  if (server.fd !== undefined) estate?.keep({ key, fd: server.fd });
  return server;
}

/**
 * Takes over from the old daemon. After a crash there is none: then the sockets
 * that no endpoint wants any more are closed after the first names.
 */
export async function enter(
  parts: Parts,
  inheritance: LiveInheritance,
  served: Promise<void>,
): Promise<void> {
  const { relay, machine } = parts;
  if (inheritance.heritage !== undefined) return await comeIntoHeritage(inheritance, parts);
  if (!inheritance.hasDoors) return;
  void served.then(async () => {
    inheritance.estate.discard();
    // The names of the crashed daemon have stayed until now.
    if (relay.present.size === 0) await machine.clear();
  });
}
