import { isDeepStrictEqual } from "node:util";
import type { DoorId } from "../exposure/exposure.ts";
import type { Recorder } from "../history/history.ts";
import { createIngress, type Ingress, type IngressStats } from "../ingress/ingress.ts";
import type { IngressSettings } from "../ingress/ingress-dialer.ts";
import type { PoolLimits } from "../ingress/pool.ts";
import { notRegistered } from "../model/failure.ts";
import type { Log } from "../model/log.ts";
import type { Net } from "../net/types.ts";
import type { LiveDoor } from "./doors.ts";
import type { ForwardDeps } from "./forward.ts";
import type { QuietWatch } from "./quiet.ts";

/** The ways of all accounts to their ingresses. */
export interface Links {
  readonly size: number;
  all(): readonly Link[];
  /** Throws if the account is not one of them. */
  of(account: string): Link;
  /** Makes the links of new accounts, and closes those of others. */
  set(accounts: readonly string[]): void;
  /** The doors have changed. An account without doors needs no pool. */
  serve(present: ReadonlyMap<DoorId, Pick<LiveDoor, "routes">>): void;
  stats(account?: string): IngressStats;
}

export function createLinks(options: LinkOptions): Links {
  const links = new Map<string, Link>();
  let doors: Parameters<Links["serve"]>[0] = new Map();
  /** Built at the first question, since names are added one by one. */
  let served: ReadonlySet<string> | undefined;
  const of = (account: string): Link => {
    const link = links.get(account);
    if (link === undefined) throw new Error(`The relay knows no account "${account}"`);
    return link;
  };
  return {
    get size() {
      return links.size;
    },
    all: () => [...links.values()],
    of,
    set(accounts) {
      for (const name of accounts)
        if (!links.has(name))
          links.set(
            name,
            createLink(name, () => (served ??= accountsOf(doors, links.size)), options),
          );
      for (const [name, { ingress }] of links) {
        if (accounts.includes(name)) continue;
        links.delete(name);
        ingress.close();
      }
    },
    serve(present) {
      doors = present;
      served = undefined;
    },
    stats(account) {
      const counted = account === undefined ? [...links.values()] : [of(account)];
      return counted.map(({ ingress }) => ingress.stats).reduce(sumOf, noStats);
    },
  };
}

/** The accounts that have doors, at most so many. There may be many doors. */
function accountsOf(doors: Parameters<Links["serve"]>[0], most: number): ReadonlySet<string> {
  const accounts = new Set<string>();
  for (const { routes } of doors.values())
    for (const { target } of routes)
      if (accounts.add(target.account).size === most) return accounts;
  return accounts;
}

type Served = () => ReadonlySet<string>;

/** The way of one account to its ingress. */
export interface Link {
  credentials: IngressSettings | undefined;
  readonly ingress: Ingress;
  readonly forwarding: ForwardDeps;
}

export interface LinkOptions {
  readonly recorder?: Recorder | undefined;
  readonly net: Net;
  readonly log: Log;
  readonly quiet: QuietWatch;
  readonly openTimeoutMs: () => number;
  readonly earlyData: () => boolean;
  readonly poolLimits: () => PoolLimits;
  readonly bufferSize: () => number | undefined;
  readonly tap?: ForwardDeps["tap"];
  readonly identity?: ForwardDeps["identity"];
}

function createLink(account: string, served: Served, options: LinkOptions): Link {
  const { net, log, quiet, openTimeoutMs, earlyData, bufferSize, recorder } = options;
  const ingress = createIngress(
    net,
    () => credentialsOf(link),
    () => {
      const limits = options.poolLimits();
      return served().has(account) ? limits : { ...limits, min: 0 };
    },
  );
  const forwarding: ForwardDeps = {
    account,
    recorder,
    ingress,
    log,
    quiet,
    bufferSize,
    ...(options.tap && { tap: options.tap }),
    ...(options.identity && { identity: options.identity }),
    get openTimeoutMs() {
      return openTimeoutMs();
    },
    get earlyData() {
      return earlyData();
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
export function setCredentials(link: Link, settings: IngressSettings): void {
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
