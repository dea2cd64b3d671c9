/**
 * relay/ carries connections: doors accept them, and the ingress of their
 * account takes them. Its inputs are whole values (steps, credentials, limits),
 * and it decides nothing about endpoints.
 */

import { isDeepStrictEqual } from "node:util";
import type { Guard } from "../access/guard.ts";
import type { DoorId } from "../exposure/exposure.ts";
import { createIngress, type Ingress, type IngressStats } from "../ingress/ingress.ts";
import type { IngressSettings } from "../ingress/ingress-dialer.ts";
import type { PoolLimits } from "../ingress/pool.ts";
import type { NgrokdError } from "../model/error.ts";
import { notRegistered } from "../model/failure.ts";
import type { Log } from "../model/log.ts";
import type { Meter } from "../model/meter.ts";
import type { Net } from "../net/types.ts";
import type { Limits } from "./connection-limits.ts";
import { createDoors, type Doors, type LiveDoor } from "./doors.ts";
import type { ForwardDeps } from "./forward.ts";
import type { Lane } from "./lanes.ts";
import { bufferSize, roomInMemory } from "./memory-share.ts";
import { createQuietWatch, type QuietWatch } from "./quiet.ts";

export interface Relay extends Pick<Doors, "mend" | "probe"> {
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
   * The ingress host of an account. Throws `state` before it has credentials.
   */
  ingress(account: string): string;
  /** Sets limits and deadlines; open connections keep their deadlines. */
  limits(limits: RelayLimits): void;
  /**
   * Discards ready connections and TLS sessions of all accounts, for example
   * after the network has changed.
   */
  discardReady(): void;
  /** Prepares as many connections as the limits say. Called at every pass. */
  prepare(): void;
  stats(): RelayStats;
  /**
   * Why new connections of an account fail; undefined if there is no known
   * reason.
   */
  trouble(account: string): NgrokdError | undefined;
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
  /** All accounts together. */
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
   * beside a pool of this size.
   */
  readonly room: (poolSize: number) => number;
  /** The memory that this process may use, in bytes. */
  readonly memory: number;
  readonly guard: Pick<Guard, "judge" | "mayUseAny">;
}

/** A relay without doors and without credentials. */
export function createRelay(options: RelayOptions): Relay {
  const { net, log, accounts, room, memory } = options;
  let { limits } = options;
  const quiet = createQuietWatch({
    get idleMs() {
      return limits.idleMs;
    },
    get halfClosedMs() {
      return limits.halfClosedMs;
    },
  });
  const connections = (): Limits => ({
    ...limits.connections,
    byDescriptors: room(limits.pool.max),
    byMemory: roomIn(memory, limits),
  });
  const doors = createDoors({
    net,
    forwarding: (account) => linkOf(account).forwarding,
    limits: connections,
    rewriteHost: () => limits.rewriteHost,
    hosts: () => limits.hosts,
    guard: options.guard,
  });
  const shared: LinkOptions = {
    net,
    log,
    quiet,
    limits: () => limits,
    poolLimits,
    bufferSize: () => bufferSize(doors.open, memory),
  };
  const links = new Map(accounts.map((account) => [account, createLink(shared)]));

  return {
    present: doors.present,
    draining: doors.draining,
    mend: doors.mend,
    probe: doors.probe,
    apply: (steps) => doors.apply(steps, limits.drainMs),
    credentials: (account, settings) => setCredentials(linkOf(account), settings),
    ingress: (account) => credentialsOf(linkOf(account)).host,
    limits(next) {
      limits = next;
    },
    discardReady() {
      for (const { ingress } of links.values()) ingress.discard();
    },
    prepare() {
      for (const { ingress } of links.values()) ingress.prepare();
    },
    stats() {
      const { inAll, byDescriptors, byMemory } = connections();
      const { open, strangers, departed } = doors;
      const limit = Math.min(inAll, byDescriptors, byMemory);
      const stats = [...links.values()].map(({ ingress }) => ingress.stats);
      return { open, limit, ingress: stats.reduce(sumOf, noStats), strangers, departed };
    },
    trouble: (account) => linkOf(account).ingress.trouble,
    async drain(hurry) {
      const end = await doors.drain(limits.drainMs, hurry);
      for (const { ingress } of links.values()) ingress.close();
      return end;
    },
  };

  function linkOf(account: string): Link {
    const link = links.get(account);
    if (link === undefined) throw new Error(`The relay knows no account "${account}"`);
    return link;
  }

  /** Without doors no connection is kept ready. */
  function poolLimits(): PoolLimits {
    return doors.present.size === 0 ? { ...limits.pool, min: 0 } : limits.pool;
  }
}

/** A limit of the settings is the user's own choice. */
const roomIn = (memory: number, { connections }: RelayLimits): number =>
  connections.inAll === Number.POSITIVE_INFINITY ? roomInMemory(memory) : Number.POSITIVE_INFINITY;

/** The way of one account to its ingress. */
interface Link {
  credentials: IngressSettings | undefined;
  readonly ingress: Ingress;
  readonly forwarding: ForwardDeps;
}

interface LinkOptions {
  readonly net: Net;
  readonly log: Log;
  readonly quiet: QuietWatch;
  readonly limits: () => RelayLimits;
  readonly poolLimits: () => PoolLimits;
  readonly bufferSize: () => number | undefined;
}

function createLink(options: LinkOptions): Link {
  const { net, log, quiet, limits, poolLimits, bufferSize } = options;
  const ingress = createIngress(net, () => credentialsOf(link), poolLimits);
  const forwarding: ForwardDeps = {
    ingress,
    log,
    quiet,
    bufferSize,
    get openTimeoutMs() {
      return limits().openTimeoutMs;
    },
  };
  const link: Link = { credentials: undefined, ingress, forwarding };
  return link;
}

function credentialsOf({ credentials }: Link): IngressSettings {
  if (credentials === undefined) throw notRegistered();
  return credentials;
}

/**
 * `caFile` has the same content as `ca`, so a change of it alone does not
 * count.
 */
function setCredentials(link: Link, settings: IngressSettings): void {
  const { credentials: before } = link;
  link.credentials = settings;
  const same = isDeepStrictEqual({ ...before, caFile: "" }, { ...settings, caFile: "" });
  if (before !== undefined && !same) link.ingress.discard();
}

const noStats: IngressStats = {
  hits: 0,
  misses: 0,
  retries: 0,
  dials: 0,
  ready: 0,
  patienceMs: Number.POSITIVE_INFINITY,
};

/** The shortest patience is the one to report. */
const sumOf = (a: IngressStats, b: IngressStats): IngressStats => ({
  hits: a.hits + b.hits,
  misses: a.misses + b.misses,
  retries: a.retries + b.retries,
  dials: a.dials + b.dials,
  ready: a.ready + b.ready,
  patienceMs: Math.min(a.patienceMs, b.patienceMs),
});
