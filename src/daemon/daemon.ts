/**
 * daemon/ wires the rooms below it. An account lists endpoints, the exposure
 * decides what this machine shows, relay and machine apply it, and the desk
 * reports it.
 */
import type { Account } from "../account/account.ts";
import { watchFile } from "../config/file-watch.ts";
import type { ControlServer } from "../control/server.ts";
import { createHealth } from "../desk/health-life.ts";
import type { ReloadReport } from "../desk/reply-schemas.ts";
import { groundWish } from "../exposure/ground.ts";
import type { Successor } from "../handover/leaving.ts";
import { startRepair } from "../machine/repair.ts";
import type { State } from "../model/state.ts";
import type { Member } from "./accounts.ts";
import { apply, warnOfAccess, warnOfNetwork, warnOfVerification } from "./apply.ts";
import { createChronicle } from "./chronicle.ts";
import { createFront } from "./front.ts";
import { createHandover, enter, openControl } from "./handover.ts";
import { type Leave, leave } from "./leave.ts";
import { createParts, type DaemonOptions } from "./parts.ts";
import { drainMs, stop } from "./stop.ts";
import { healthSource, passHooks } from "./telling.ts";
import { healthAddress, repairs, sweepFor } from "./upkeep.ts";

export interface Daemon {
  readonly state: () => State;
  /** False if a poll hangs: only a restart helps then. */
  readonly live: Account["live"];
  /**
   * Settles when the first names are served: those of the last list of an
   * earlier run, or those of the first pass.
   */
  readonly firstNames: Promise<void>;
  /** Asks for a pass and waits for it. */
  readonly refresh: () => Promise<void>;
  /**
   * Reads the configuration again and takes over the changes; undefined if the
   * daemon is stopping. Never rejects.
   */
  readonly reload: () => Promise<ReloadReport | undefined>;
  /** The URL of the health server; undefined if there is none. */
  readonly healthUrl: string | undefined;
  /** How long {@link stop} may wait for open connections. Milliseconds. */
  readonly drainMs: () => number;
  /**
   * Undoes the daemon's changes and waits for open connections. Returns how
   * many of them were cut, after the drain time or when `hurry` aborted.
   */
  readonly stop: (hurry: AbortSignal) => Promise<{ cut: number }>;
  /** Settles when another program has taken over, or is to. */
  readonly left: Promise<Successor>;
  /** Waits for open connections; all else is the successor's now. */
  readonly leave: (signals: Pick<Leave, "stop" | "hurry">) => Promise<{ cut: number }>;
}

/**
 * Starts everything; the steps that may fail come before those with effects.
 * The control socket is first, since it makes this daemon the only one. Then
 * the leftovers of an earlier run are removed, and then the polls begin. A
 * successor opens the control socket last: until then the old daemon is in
 * charge. Rejects if the daemon cannot run at all, and retries all else.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { net, log, inheritance } = options;
  const core = await createParts(options);
  const { settings, accounts, machine, link, way } = core;
  warnOfVerification(core);
  warnOfAccess(core);
  warnOfNetwork(core);
  const { socket_path: socketPath } = settings.current.config.server;
  const health = createHealth(net, () => healthAddress(core), healthSource(core), log);
  const handover = createHandover(core);
  const { desk, web, clients } = createFront(core, health, handover);
  const parts = { ...core, health, web };
  const chronicle = createChronicle(parts);
  const open = (): Promise<ControlServer> => openControl(core, clients, handover);
  const isSuccessor = inheritance?.heritage !== undefined;
  const lock = isSuccessor ? undefined : await open();
  const sweep = (): Promise<void> => sweepFor(core, socketPath);
  try {
    await machine.prepare();
    await core.names.load();
    await sweep();
    // A crash may have left our section, with names that nothing serves now.
    if (inheritance?.hasDoors !== true && (await machine.clear()))
      log.info(`Removed the leftovers of an earlier run from "${options.loaded.hostsPath}"`);
    await link.settle(groundWish(settings.current.config.net));
  } catch (error) {
    await machine.release();
    await lock?.close();
    throw error;
  }
  // A successor goes on with the sockets of these two as well.
  await Promise.all([health.start(), web.start()]);
  const firstNames = new Map(accounts.all.map((one) => [one, Promise.withResolvers<void>()]));
  const passed = (one: Member): void => {
    chronicle();
    firstNames.get(one)?.resolve();
  };
  await accounts.start((one) => passHooks(parts, one, () => passed(one)));
  const served = Promise.all([...firstNames.values()].map(({ promise }) => promise)).then(() => {});
  const control = lock ?? (await open());
  if (inheritance !== undefined) await enter(core, inheritance, served);
  settings.follow(async (jobs) => {
    await apply(parts, jobs);
    chronicle();
  });
  const watch = watchFile(settings.current.path, async () => void (await settings.reload()));
  const repair = startRepair(repairs(core, watch.check, sweep));
  const running = { watch, repair, control };
  log.info(`ngrokd is up; control socket ${socketPath}`);
  way.tell();

  return {
    state: desk.state,
    live: desk.live,
    firstNames: served,
    drainMs: () => drainMs(core),
    refresh: async () => void (await Promise.all(accounts.all.map((one) => one.account.pass()))),
    reload: desk.reload,
    get healthUrl() {
      return health.url;
    },
    stop: (hurry) => stop(parts, running, hurry),
    left: handover.leaving.left,
    async leave(signals) {
      const successor = await handover.leaving.left;
      return await leave(parts, running, { ...signals, successor, known: handover.known });
    },
  };
}
