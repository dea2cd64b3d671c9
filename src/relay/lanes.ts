/** The routes of doors, each with the connections on it. */
import type { Guard, Shared } from "../access/guard.ts";
import { isOwnHost } from "../access/own-host.ts";
import type { RefusalText } from "../access/words.ts";
import { type Doorway, namesOf, type Route } from "../exposure/exposure.ts";
import type { Log } from "../model/log.ts";
import { addCounts, countError, createMeter, type Meter } from "../model/meter.ts";
import type { Conn } from "../net/types.ts";
import { type Count, type Excess, excess, type Limits } from "./connection-limits.ts";
import { type Courtesy, type ForwardDeps, forward } from "./forward.ts";
import { guardedConn, refusalOf } from "./greet/guarded-conn.ts";
import type { FirstRequest, Manners } from "./greet/request-stream.ts";

/** One route of a door, with the connections on it. */
export interface Lane {
  readonly doorway: Doorway;
  route: Route;
  /** Shared by all lanes of one binding. */
  readonly meter: Meter;
  readonly conns: Set<Pick<Conn, "abort">>;
  /** Called after the last connection has ended. */
  readonly waiting: (() => void)[];
  /** Takes a connection; `first` is the HTTP/1 request that named the host. */
  readonly carry: (conn: Conn, first?: FirstRequest) => void;
  /** The same for a client that is known to be let in. */
  readonly take: (conn: Conn, courtesy: Courtesy) => void;
  /** Called when a connection has ended; the same for all of them. */
  readonly ended: (conn: Conn) => void;
}

export interface LaneOptions {
  /** How the connections of an account reach its endpoints. */
  readonly forwarding: (account: string) => ForwardDeps;
  /** Read for every connection. */
  readonly limits: () => Limits;
  /** Whether requests get the host of their endpoint. Read as well. */
  readonly rewriteHost?: () => boolean;
  /**
   * More names under which HTTP endpoints may be asked. They count where
   * requests get another host: a web page could choose any name for itself.
   */
  readonly hosts?: () => readonly string[];
  /** Asked for every connection, before anything is dialled. */
  readonly guard: Pick<Guard, "judge" | "mayUseAny" | "userOf">;
  /** They count for the limits, too. */
  readonly elsewhere?: Elsewhere | undefined;
}

/** Connections that other processes carry. */
export interface Elsewhere {
  readonly open: number;
  /** Of one endpoint, by the key of its binding. */
  at(key: string): number;
}

/** What all lanes share. */
export interface LaneState extends LaneOptions {
  /** Lanes whose route is gone, and which still carry connections. */
  readonly draining: Set<Lane>;
  /**
   * A binding keeps its counters when its address or its endpoints change: all
   * its lanes share one meter, the draining ones too.
   */
  readonly meters: Map<string, { readonly meter: Meter; lanes: number }>;
  /** The sums of the meters that no lane has any more. */
  readonly departed: Meter;
  /** Open connections. */
  open: number;
  /** Whether the door of a lane listens, and has this lane. */
  readonly isLive: (lane: Lane) => boolean;
}

/** Returns the lanes that still carry connections. */
export function leave(state: LaneState, lanes: readonly Lane[]): readonly Lane[] {
  const busy = lanes.filter(({ conns }) => conns.size > 0);
  for (const lane of lanes) if (lane.conns.size === 0) dropMeter(state, lane);
  for (const lane of busy) {
    state.draining.add(lane);
    void drained(lane).then(() => {
      state.draining.delete(lane);
      dropMeter(state, lane);
    });
  }
  return busy;
}

/** The routes of one binding share a meter. */
export function createLanes(state: LaneState, doorway: Doorway, routes: readonly Route[]): Lane[] {
  const fresh = new Map<string, Meter>();
  return routes.map((route) => {
    const { key } = route.target.binding;
    const meter = state.meters.get(key)?.meter ?? fresh.get(key) ?? createMeter();
    fresh.set(key, meter);
    return createLane(state, doorway, route, meter);
  });
}

/**
 * There are thousands of lanes. So their functions see this scope and nothing
 * else, and do their work elsewhere.
 */
function createLane(state: LaneState, doorway: Doorway, route: Route, meter: Meter): Lane {
  const lane: Lane = {
    doorway,
    route,
    meter,
    conns: new Set(),
    waiting: [],
    carry: (conn, first) => admit(state, lane, conn, first),
    take: (conn, courtesy) => carry(state, lane, conn, undefined, courtesy),
    ended: (conn) => end(state, lane, conn),
  };
  return lane;
}

export function holdMeter({ meters }: LaneState, lane: Lane): void {
  const shared = meters.get(bindingKey(lane)) ?? { meter: lane.meter, lanes: 0 };
  shared.lanes += 1;
  meters.set(bindingKey(lane), shared);
}

function dropMeter({ meters, departed }: LaneState, lane: Lane): void {
  const shared = meters.get(bindingKey(lane));
  if (shared === undefined) return;
  shared.lanes -= 1;
  if (shared.lanes > 0) return;
  meters.delete(bindingKey(lane));
  addCounts(departed, shared.meter);
}

const bindingKey = ({ route }: Lane): string => route.target.binding.key;

/**
 * A connection on a lane that another process carries, and that ends itself.
 * Returns a function for its end.
 */
export function attend({ conns, waiting }: Lane): () => void {
  const conn = { abort: () => undefined };
  conns.add(conn);
  return () => {
    if (conns.delete(conn) && conns.size === 0) for (const tell of waiting.splice(0)) tell();
  };
}

/** Settles when the last connection has ended. */
export function drained({ conns, waiting }: Lane): Promise<void> {
  return new Promise((resolve) => {
    if (conns.size === 0) resolve();
    else waiting.push(resolve);
  });
}

function carry(
  state: LaneState,
  lane: Lane,
  conn: Conn,
  first: FirstRequest | undefined,
  courtesy?: Courtesy,
): void {
  const { meter } = lane;
  const { account, binding } = lane.route.target;
  const usual = state.forwarding(account);
  const deps = courtesy === undefined ? usual : { ...usual, courtesy };
  const over = excess(countOf(state, { key: binding.key, meter }), state.limits());
  if (over !== undefined) {
    turnAway(conn, binding.key, meter, over, deps);
    recordRefused(deps, lane, conn, state.guard.userOf(conn), "limit", over.reason);
    return;
  }
  const manners = mannersFor(lane.route, first, state);
  const client = manners === undefined ? conn : guardedConn(conn, manners, first);
  state.open += 1;
  lane.conns.add(client);
  forward(client, binding, meter, deps, lane.ended, state.guard.userOf(conn));
}

function end(state: LaneState, { conns, meter, route, waiting }: Lane, conn: Conn): void {
  state.open -= 1;
  conns.delete(conn);
  const { target } = route;
  tellMisdirected(conn, target.binding.key, meter, state.forwarding(target.account));
  if (conns.size === 0) for (const tell of waiting.splice(0)) tell();
}

/** Carries a client if it may use the endpoint. */
function admit(state: LaneState, lane: Lane, conn: Conn, first: FirstRequest | undefined): void {
  const { wanted, without } = sharedBy(lane.route);
  const judged = state.guard.judge(conn, wanted, without);
  if (judged instanceof Promise)
    void judged.then((refusal) => {
      // The door may have closed meanwhile.
      if (state.isLive(lane)) follow(state, lane, conn, { refusal, first });
      else conn.abort();
    });
  else follow(state, lane, conn, { refusal: judged, first });
}

function follow(
  state: LaneState,
  lane: Lane,
  conn: Conn,
  { refusal, first }: { refusal: RefusalText | undefined; first: FirstRequest | undefined },
): void {
  if (refusal === undefined) {
    carry(state, lane, conn, first);
    return;
  }
  const { target } = lane.route;
  const deps = state.forwarding(target.account);
  const { log } = deps;
  refuse(conn, { key: target.binding.key, meter: lane.meter, log }, refusal);
  recordRefused(deps, lane, conn, state.guard.userOf(conn), "access", refusal.detail);
}

/** The open connections, for the limits; without an endpoint `here` is 0. */
export function countOf(
  { open, elsewhere }: Pick<LaneState, "open" | "elsewhere">,
  endpoint?: { readonly key: string; readonly meter: Meter },
): Count {
  const here =
    endpoint === undefined ? 0 : endpoint.meter.active + (elsewhere?.at(endpoint.key) ?? 0);
  const others = elsewhere?.open ?? 0;
  return { inAll: open + others, here, elsewhere: others };
}

/** A connection that was reset at once. */
function recordRefused(
  { account, recorder }: ForwardDeps,
  { route }: Pick<Lane, "route">,
  { remote: client }: Conn,
  uid: number | undefined,
  ending: "access" | "limit",
  detail: string,
): void {
  const endpoint = route.target.binding.key;
  const trace = recorder?.begin({ account, endpoint, client, uid });
  if (trace !== undefined) recorder?.ended(trace, ending, detail);
}

/** The log suppresses repeats of this line. */
export function refuse(
  conn: Conn,
  { key, meter, log }: { key: string; meter: Meter; log: Log },
  { reason, detail, hint }: RefusalText,
): void {
  conn.abort();
  meter.total += 1;
  countError(meter, "access");
  meter.lastError = `reset at once: ${detail}`;
  log.warn(`${key}: reset at once: ${reason}`, { endpoint: key, hint });
}

/** Undefined if the requests of a connection need no look. */
function mannersFor(
  { match, target: { binding } }: Route,
  first: FirstRequest | undefined,
  { rewriteHost, hosts }: Pick<LaneOptions, "rewriteHost" | "hosts">,
): Manners | undefined {
  const rewrite = rewriteHost?.() === true && binding.proto === "http";
  if (first === undefined && !rewrite) return undefined;
  const authority = binding.port === 80 ? binding.host : binding.key;
  return {
    only: first !== undefined && match.kind === "name" ? namesOf(match) : undefined,
    mayName: rewrite ? (named) => isOwnHost(named, [binding.host], hosts?.() ?? []) : undefined,
    rewrite: rewrite ? authority : undefined,
  };
}

/** A guarded connection may have ended because of a request to another host. */
function tellMisdirected(conn: Conn, key: string, meter: Meter, { log }: ForwardDeps): void {
  const reason = refusalOf(conn);
  if (reason === undefined) return;
  countError(meter, "misdirected");
  log.warn(`${key}: a request was not passed on, since ${reason}`, { endpoint: key });
}

/** The log suppresses repeats of this line. */
export function turnAway(
  conn: Conn,
  key: string,
  meter: Meter,
  { reason, hint, local }: Excess,
  { log }: ForwardDeps,
): void {
  conn.abort();
  meter.total += 1;
  countError(meter, "limit");
  meter.lastError = `reset at once: ${reason}`;
  const newcomers = local ? `${key}: new` : "New";
  log.warn(`${newcomers} connections are reset at once: ${reason}`, {
    ...(local && { endpoint: key }),
    hint,
  });
}

export const sharedBy = ({ target, forOthers }: Route): Shared => ({
  wanted: target.binding,
  without: forOthers === true ? "everybody" : "users",
});

/** Resets the connections that are open after `drainMs` milliseconds. */
export function cutLater(lanes: readonly Lane[], drainMs: number): void {
  for (const lane of lanes) {
    const timer = setTimeout(() => {
      for (const conn of [...lane.conns]) conn.abort();
    }, drainMs);
    timer.unref?.();
    void drained(lane).then(() => clearTimeout(timer));
  }
}
