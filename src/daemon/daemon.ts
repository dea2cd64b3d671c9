/**
 * daemon/ wires the rooms below it. An account lists endpoints, the exposure
 * decides what this machine shows, relay and machine apply it, and the desk
 * reports it.
 */
import type { Account } from "../account/account.ts";
import { watchFile } from "../config/file-watch.ts";
import type { ControlServer } from "../control/server.ts";
import { sweepSockets } from "../control/stale-sockets.ts";
import { createDispatch, runOperation } from "../desk/dispatch.ts";
import { createFeed } from "../desk/feed.ts";
import type { Desk, DeskProfile } from "../desk/handlers.ts";
import { createHealth, type Health } from "../desk/health-life.ts";
import type { Memory } from "../desk/remembering.ts";
import type { ReloadReport } from "../desk/reply-schemas.ts";
import { groundWish } from "../exposure/ground.ts";
import type { Successor } from "../handover/leaving.ts";
import { trustFolder } from "../ingress/trust.ts";
import { ownerPath } from "../machine/hosts/owner.ts";
import { sweepLeftovers } from "../machine/leftovers.ts";
import { type RepairDeps, startRepair } from "../machine/repair.ts";
import { type HostPort, parseHostPort } from "../model/host-port.ts";
import type { AnyIp } from "../model/ip.ts";
import type { State } from "../model/state.ts";
import type { ApiDeps } from "../web/api.ts";
import { createSocketWeb, createWeb, type Web } from "../web/web.ts";
import type { Member } from "./accounts.ts";
import {
  apply,
  reloadUnlessStopping,
  warnOfAccess,
  warnOfNetwork,
  warnOfVerification,
} from "./apply.ts";
import { createChronicle } from "./chronicle.ts";
import { createHandover, enter, type Handover, openControl } from "./handover.ts";
import { inspectionOf } from "./inspection.ts";
import { type Leave, leave } from "./leave.ts";
import { createParts, type DaemonOptions, type Parts } from "./parts.ts";
import { drainMs, stop } from "./stop.ts";
import {
  currentState,
  factsOf,
  healthSource,
  liveness,
  memberFacts,
  memberState,
  passHooks,
} from "./telling.ts";

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
  const desk = deskOf(core, { health, handover, web: () => web });
  const api: ApiDeps = {
    run: (name, input) => runOperation(desk, name, input),
    feed: desk.memory.feed,
  };
  const web: Web = createWeb({ net, address: () => webAddress(core), api, log });
  const parts = { ...core, health, web };
  const chronicle = createChronicle(parts);
  const clients = { handle: createDispatch(desk), web: createSocketWeb(api).accept };
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
  await health.start();
  const firstNames = new Map(accounts.all.map((one) => [one, Promise.withResolvers<void>()]));
  const passed = (one: Member): void => {
    chronicle();
    firstNames.get(one)?.resolve();
  };
  await accounts.start((one) => passHooks(parts, one, () => passed(one)));
  const served = Promise.all([...firstNames.values()].map(({ promise }) => promise)).then(() => {});
  const control = lock ?? (await open());
  if (inheritance !== undefined) await enter(core, inheritance, served);
  await web.start();
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

/** The parts that the operations use. */
function deskOf(
  parts: Parts,
  { health, handover, web }: { health: Health; handover: Handover; web: () => Web },
): Desk {
  return {
    state: () => currentState({ ...parts, health, web: web() }),
    facts: () => factsOf(parts),
    live: () => liveness(parts.accounts),
    healthUrl: () => health.url,
    settings: parts.settings,
    profiles: () => profilesOf(parts),
    reload: () => reloadUnlessStopping(parts),
    upgrade: handover.upgrade,
    names: parts.names,
    memory: memoryOf(parts),
    inspection: inspectionOf(parts),
    dashboardLink: (how) => web().link(how),
    log: parts.options.log,
  };
}

/** Undefined if no dashboard is served. */
function webAddress({ settings }: Parts): HostPort | undefined {
  const address = parseHostPort(settings.current.config.server.dashboard_address);
  return address.ok ? address.value : undefined;
}

/** What the operations about the past use. */
function memoryOf({ history, guard }: Parts): Memory {
  const { nameOf } = guard;
  return { history, nameOf, feed: createFeed(history, nameOf) };
}

/** The profiles, as the operations use them. */
function profilesOf(parts: Parts): [DeskProfile, ...DeskProfile[]] {
  const [first, ...others] = parts.accounts.all;
  const made = (member: Member): DeskProfile => ({
    name: member.name,
    loaded: member.loaded,
    state: () => memberState(parts, member),
    facts: () => memberFacts(parts, member),
    live: member.account.live,
    identity: member.account.identity,
    pass: member.account.pass,
  });
  return [made(first), ...others.map(made)];
}

/** After a change of the network, nothing that was ready is trusted. */
function discardAll({ way, relay, naming }: Parts): void {
  way.discard();
  relay.discardReady();
  naming.moved();
}

function repairs(parts: Parts, checkConfig: () => void, sweep: () => Promise<void>): RepairDeps {
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

/** The addresses on which doors listen or connections drain. */
function* addressesInUse({ present, draining }: Parts["relay"]): Generator<AnyIp> {
  for (const { door } of present.values()) yield door.at.ip;
  for (const { doorway } of draining) yield doorway.door.at.ip;
}

function healthAddress({ settings }: Parts): HostPort {
  const { health_address: host, health_port: port } = settings.current.config.server;
  return { host, port: port === "any" ? 0 : port };
}

async function sweepFor({ options, settings, accounts }: Parts, socketPath: string): Promise<void> {
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
