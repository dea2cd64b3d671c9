/**
 * relay/ carries connections: doors accept them, and the ingress of their
 * account takes them. Its inputs are whole values (steps, credentials, limits),
 * and it decides nothing about endpoints.
 */
import type { Guard } from "../access/guard.ts";
import type { DoorId } from "../exposure/exposure.ts";
import type { Recorder } from "../history/history.ts";
import type { IngressStats } from "../ingress/ingress.ts";
import type { IngressSettings } from "../ingress/ingress-dialer.ts";
import type { PoolLimits } from "../ingress/pool.ts";
import type { NgrokdError } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import type { Meter } from "../model/meter.ts";
import type { Net } from "../net/types.ts";
import type { Limits } from "./connection-limits.ts";
import { createDoors, type Doors, type LiveDoor } from "./doors.ts";
import type { ForwardDeps } from "./forward.ts";
import type { Elsewhere, Lane } from "./lanes.ts";
import { createLinks, setCredentials } from "./links.ts";
import { bufferSize, roomInMemory } from "./memory-share.ts";
import { createQuietWatch, type QuietWatch } from "./quiet.ts";

export interface Relay
  extends Pick<Doors, "mend" | "probe" | "meters" | "meter" | "add" | "carry"> {
  readonly present: ReadonlyMap<DoorId, LiveDoor>;
  readonly draining: ReadonlySet<Lane>;
  /** See {@link Doors.apply}; the drain time is that of the limits. */
  apply(steps: Parameters<Doors["apply"]>[0]): ReturnType<Doors["apply"]>;
  /**
   * Sets the ingress address and the credentials of an account. If anything but
   * `caFile` differs, ready connections and TLS sessions are discarded.
   */
  credentials(account: string, settings: IngressSettings): void;
  /**
   * Sets the accounts. A new one has no credentials yet. One that is gone loses
   * its ready connections; its open connections go on. It must have no doors.
   */
  accounts(names: readonly string[]): void;
  /** The ingress host of an account; undefined before it has credentials. */
  ingress(account: string): string | undefined;
  /** Sets limits and deadlines; open connections keep their deadlines. */
  limits(limits: RelayLimits): void;
  /**
   * Discards ready connections and TLS sessions of all accounts, for example
   * after the network has changed.
   */
  discardReady(): void;
  /** Prepares as many connections as the limits say. Called at every pass. */
  prepare(): void;
  /** `ingress` is of one account, or of all together. */
  stats(account?: string): RelayStats;
  /**
   * Why new connections of an account fail; undefined if there is no known
   * reason.
   */
  trouble(account: string): NgrokdError | undefined;
  /** See {@link Doors.leave}; the limit is that of new connections. */
  leave(): Promise<void>;
  /**
   * Closes all doors, waits for open connections (see {@link Doors.drain}), and
   * closes the ready ones.
   */
  drain(hurry: AbortSignal): Promise<{ cut: number }>;
}

/** Times in milliseconds; 0 means no limit for `idleMs` and `halfClosedMs`. */
export interface RelayLimits {
  /** For dial, TLS and upgrade of one connection together. */
  readonly openTimeoutMs: number;
  /** Whether a client's first bytes leave with the request for its endpoint. */
  readonly earlyData: boolean;
  readonly idleMs: number;
  readonly halfClosedMs: number;
  /** For the open connections of a closed door. */
  readonly drainMs: number;
  /** Whether HTTP requests get the host of their endpoint. */
  readonly rewriteHost: boolean;
  /** More names under which HTTP endpoints may be asked. */
  readonly hosts: readonly string[];
  /** Open connections; Infinity means no limit. */
  readonly connections: Pick<Limits, "inAll" | "perEndpoint">;
  /** For each account. */
  readonly pool: PoolLimits;
}

export interface RelayStats {
  /** Open connections. */
  readonly open: number;
  /** The most connections that may be open; Infinity means no limit. */
  readonly limit: number;
  readonly ingress: IngressStats;
  /** See {@link Doors.strangers}. */
  readonly strangers: Meter;
  /** See {@link Doors.departed}. */
  readonly departed: Meter;
}

export interface RelayOptions {
  readonly net: Net;
  readonly log: Log;
  readonly accounts: readonly string[];
  readonly limits: RelayLimits;
  /**
   * The number of connections for which the limit of open files has room,
   * beside pools of this size together.
   */
  readonly room: (poolSize: number) => number;
  /** The memory that this process may use, in bytes. */
  readonly memory: number;
  readonly guard: Pick<Guard, "judge" | "mayUseAny" | "userOf">;
  /** Is told about each connection. */
  readonly recorder?: Recorder;
  /** See {@link ForwardDeps.tap}. */
  readonly tap?: ForwardDeps["tap"];
  /** See {@link ForwardDeps.identity}. */
  readonly identity?: ForwardDeps["identity"];
  /** The connections of other processes for the same doors. */
  readonly elsewhere?: Elsewhere;
}

/** A relay without doors and without credentials. */
export function createRelay(options: RelayOptions): Relay {
  const { net, log, accounts, room, memory } = options;
  let { limits } = options;
  const quiet = quietWatchOf(() => limits);
  const connections = (): Limits => ({
    ...limits.connections,
    byDescriptors: room(limits.pool.max * links.size),
    byMemory: roomIn(memory, limits),
  });
  const doors = createDoors({
    net,
    forwarding: (account) => links.of(account).forwarding,
    limits: connections,
    rewriteHost: () => limits.rewriteHost,
    hosts: () => limits.hosts,
    guard: options.guard,
    elsewhere: options.elsewhere,
  });
  const links = createLinks({
    net,
    log,
    quiet,
    recorder: options.recorder,
    openTimeoutMs: () => limits.openTimeoutMs,
    earlyData: () => limits.earlyData,
    poolLimits: () => limits.pool,
    bufferSize: () => bufferSize(doors.open + (options.elsewhere?.open ?? 0), memory),
    ...(options.tap && { tap: options.tap }),
    ...(options.identity && { identity: options.identity }),
  });
  links.set(accounts);

  return {
    present: doors.present,
    draining: doors.draining,
    mend: doors.mend,
    probe: doors.probe,
    meters: doors.meters,
    meter: doors.meter,
    add: doors.add,
    carry: doors.carry,
    async apply(steps) {
      const failures = await doors.apply(steps, limits.drainMs);
      links.serve(doors.present);
      return failures;
    },
    accounts: links.set,
    credentials: (account, settings) => setCredentials(links.of(account), settings),
    ingress: (account) => links.of(account).credentials?.host,
    limits(next) {
      limits = next;
    },
    discardReady() {
      for (const { ingress } of links.all()) ingress.discard();
    },
    prepare() {
      for (const { ingress } of links.all()) ingress.prepare();
    },
    stats(account) {
      const { inAll, byDescriptors, byMemory } = connections();
      const { open, strangers, departed } = doors;
      const limit = Math.min(inAll, byDescriptors, byMemory);
      return { open, limit, ingress: links.stats(account), strangers, departed };
    },
    trouble: (account) => links.of(account).ingress.trouble,
    leave: () => doors.leave(limits.openTimeoutMs),
    async drain(hurry) {
      links.serve(new Map());
      const end = await doors.drain(limits.drainMs, hurry);
      for (const { ingress } of links.all()) ingress.close();
      return end;
    },
  };
}

/** A limit of the settings is the user's own choice. */
const roomIn = (memory: number, { connections }: RelayLimits): number =>
  connections.inAll === Number.POSITIVE_INFINITY ? roomInMemory(memory) : Number.POSITIVE_INFINITY;

const quietWatchOf = (limits: () => RelayLimits): QuietWatch =>
  createQuietWatch({
    get idleMs() {
      return limits().idleMs;
    },
    get halfClosedMs() {
      return limits().halfClosedMs;
    },
  });
