import type { Guard } from "../access/guard.ts";
import type { RefusalText } from "../access/words.ts";
import type { DoorId, Doorway, Route } from "../exposure/exposure.ts";
import type { Steps } from "../exposure/plan.ts";
import { onAbort } from "../model/abort.ts";
import { type ErrorCode, isNgrokdError, reasonOf } from "../model/error.ts";
import type { Ip } from "../model/ip.ts";
import { countError, createMeter, type Meter } from "../model/meter.ts";
import { listeningKey } from "../net/proc-net.ts";
import type { Conn, Listener, Net } from "../net/types.ts";
import { type Excess, excess, type Limits } from "./connection-limits.ts";
import { type ForwardDeps, forward } from "./forward.ts";

/** The doors that listen, and their connections. */
export interface Doors {
  /** Open connections, in all. */
  readonly open: number;
  /** The doors that listen now. */
  readonly present: ReadonlyMap<DoorId, LiveDoor>;
  /** Lanes of closed doors that still carry connections. */
  readonly draining: ReadonlySet<Lane>;
  /**
   * Opens, reroutes and closes doors, in this order. Live connections go on;
   * those of a closed door are reset after `drainMs` milliseconds. Returns the
   * reason for each door that could not be opened.
   */
  apply(
    steps: Partial<Omit<Steps, "reopen">>,
    drainMs: number,
  ): Promise<ReadonlyMap<DoorId, string>>;
  /**
   * Closes all doors and settles after the last connection has ended. Resets
   * open connections after `drainMs` milliseconds, or when `hurry` aborts, and
   * returns their number.
   */
  drain(drainMs: number, hurry: AbortSignal): Promise<{ cut: number }>;
  /**
   * Opens doors again that the system has closed. `listening` reads the sockets
   * that listen (`listeningPlaces`). A door that cannot be opened leaves
   * `present`, so the next pass tries again.
   */
  mend(listening: () => Promise<ReadonlySet<string> | undefined>): Promise<MendedDoor[]>;
  /**
   * The addresses on which another program listens at one of these ports. Binds
   * each place briefly.
   */
  probe(places: readonly { ip: Ip; port: number }[]): Promise<ReadonlySet<Ip>>;
}

/** A door that listens. */
export interface LiveDoor extends Doorway {
  readonly lanes: readonly Lane[];
  readonly listener: Listener;
}

/** One route of a door, with the connections on it. */
export interface Lane {
  readonly doorway: Doorway;
  route: Route;
  /** Shared by all lanes of one binding. */
  readonly meter: Meter;
  readonly conns: Set<Conn>;
  /** Called after the last connection has ended. */
  readonly waiting: (() => void)[];
}

/**
 * A door that the system had closed; `reason` is undefined if it listens again.
 */
export interface MendedDoor {
  readonly doorway: Doorway;
  readonly reason: string | undefined;
}

export interface DoorOptions {
  readonly net: Net;
  /** How the connections of an account reach its endpoints. */
  readonly forwarding: (account: string) => ForwardDeps;
  /** Read for every connection. */
  readonly limits: () => Limits;
  /** Asked for every connection, before anything is dialled. */
  readonly guard: Pick<Guard, "judge">;
}

/** No door is open yet. */
export function createDoors(options: DoorOptions): Doors {
  const state: State = {
    ...options,
    present: new Map(),
    draining: new Set(),
    meters: new Map(),
    open: 0,
    systemTells: false,
  };
  return {
    get open() {
      return state.open;
    },
    present: state.present,
    draining: state.draining,
    apply: (steps, drainMs) => apply(state, steps, drainMs),
    drain: (drainMs, hurry) => drain(state, drainMs, hurry),
    mend: (listening) => mend(state, listening),
    probe: (places) => probe(state.net, places),
  };
}

interface State extends DoorOptions {
  readonly present: Map<DoorId, LiveDoor>;
  readonly draining: Set<Lane>;
  /**
   * A binding keeps its counters when its address or its endpoints change: all
   * its lanes share one meter, the draining ones too.
   */
  readonly meters: Map<string, { readonly meter: Meter; lanes: number }>;
  open: number;
  /**
   * Whether the system has ever listed a listening socket. Some sandboxes have
   * an empty list; a missing socket means nothing there.
   */
  systemTells: boolean;
}

async function apply(
  state: State,
  { open = [], reroute = [], close = [] }: Parameters<Doors["apply"]>[0],
  drainMs: number,
): Promise<ReadonlyMap<DoorId, string>> {
  const reasons = new Map<DoorId, string>();
  for (const doorway of open) {
    const reason = await openDoor(state, doorway);
    if (reason !== undefined) reasons.set(doorway.door.id, reason);
  }
  for (const doorway of reroute) rerouteDoor(state, doorway);
  for (const id of close) closeAndDrain(state, id, drainMs);
  return reasons;
}

/** Returns the reason if the door cannot listen. */
async function openDoor(state: State, doorway: Doorway): Promise<string | undefined> {
  const { door } = doorway;
  // The lanes count as users of their meters only once the door listens.
  const lanes = doorway.routes.map((route) => createLane(state, doorway, route));
  try {
    const listener = await listen(state, doorway, lanes);
    for (const lane of lanes) holdMeter(state, lane);
    state.present.set(door.id, { ...doorway, lanes, listener });
    return undefined;
  } catch (error) {
    return listenReason(error, doorway);
  }
}

/**
 * The hosts of the routes are unchanged (see `plan`), and so are their meters.
 */
function rerouteDoor({ present }: State, doorway: Doorway): void {
  const live = present.get(doorway.door.id);
  if (live === undefined) return;
  const routes = new Map(doorway.routes.map((route) => [route.target.binding.key, route]));
  for (const lane of live.lanes) lane.route = routes.get(bindingKey(lane)) ?? lane.route;
  present.set(doorway.door.id, { ...live, routes: doorway.routes });
}

function closeAndDrain(state: State, id: DoorId, drainMs: number): void {
  for (const lane of closeDoor(state, id)) {
    const timer = setTimeout(() => {
      for (const conn of [...lane.conns]) conn.abort();
    }, drainMs);
    timer.unref?.();
    void drained(lane).then(() => clearTimeout(timer));
  }
}

async function drain(state: State, drainMs: number, hurry: AbortSignal): Promise<{ cut: number }> {
  for (const id of [...state.present.keys()]) closeDoor(state, id);
  const lanes = [...state.draining];
  const cut = new Set<Conn>();
  const cutNow = (): void => {
    for (const conn of lanes.flatMap(({ conns }) => [...conns])) {
      cut.add(conn);
      conn.abort();
    }
  };
  // One limit for all: a door that closed earlier gets no more time.
  const timer = setTimeout(cutNow, drainMs);
  const unhook = onAbort(hurry, cutNow);
  await Promise.all(lanes.map(drained));
  clearTimeout(timer);
  unhook();
  return { cut: cut.size };
}

async function mend(
  state: State,
  listening: () => Promise<ReadonlySet<string> | undefined>,
): Promise<MendedDoor[]> {
  const { present } = state;
  // A door that opens during the system's reply may not be in it.
  const asked = [...present];
  const alive = await listening();
  if (alive === undefined) return [];
  state.systemTells ||= alive.size > 0;
  const missing = unlisted(asked, alive);
  if (missing.length === 0 || !state.systemTells) return [];
  // Asked twice: the kernel lists the sockets in pieces, and can leave one out
  // if another one closes during it.
  const still = await listening();
  const mended: MendedDoor[] = [];
  for (const [id, door] of still === undefined ? [] : unlisted(missing, still)) {
    if (present.get(id) === door) mended.push(await mendDoor(state, door));
  }
  return mended;
}

async function mendDoor(state: State, live: LiveDoor): Promise<MendedDoor> {
  const { present } = state;
  const { door, routes, lanes } = live;
  const doorway = { door, routes };
  live.listener.close();
  try {
    const listener = await listen(state, doorway, lanes);
    if (present.get(door.id) === live) present.set(door.id, { ...live, listener });
    else listener.close();
    return { doorway, reason: undefined };
  } catch (error) {
    if (present.get(door.id) === live) closeDoor(state, door.id);
    return { doorway, reason: listenReason(error, doorway) };
  }
}

/** The doors that the system does not list. */
function unlisted(
  doors: readonly [DoorId, LiveDoor][],
  alive: ReadonlySet<string>,
): [DoorId, LiveDoor][] {
  return doors.filter(([, { door }]) => !alive.has(listeningKey(door.at.ip, door.at.port)));
}

async function probe(
  net: Net,
  places: readonly { ip: Ip; port: number }[],
): Promise<ReadonlySet<Ip>> {
  const taken = new Set<Ip>();
  for (const { ip, port } of places) {
    try {
      (await net.listen({ host: ip, port }, (conn) => conn.abort())).close();
    } catch (error) {
      if (isNgrokdError(error, "address-in-use")) taken.add(ip);
    }
  }
  return taken;
}

function listen(state: State, { door }: Doorway, lanes: readonly Lane[]): Promise<Listener> {
  const { ip, port } = door.at;
  // A fixed door has one route.
  const [carry = (conn: Conn): void => conn.abort()] = lanes.map((lane) => carrier(state, lane));
  return state.net.listen({ host: ip, port }, carry, { routed: true });
}

/**
 * Returns the handler for connections of a lane. Thousands of connections share
 * its one `ended`.
 */
function carrier(state: State, lane: Lane): (conn: Conn) => void {
  const { conns, meter, waiting } = lane;
  const ended = (conn: Conn): void => {
    state.open -= 1;
    conns.delete(conn);
    if (conns.size === 0) for (const tell of waiting.splice(0)) tell();
  };
  const carry = (conn: Conn): void => {
    const { account, binding } = lane.route.target;
    const deps = state.forwarding(account);
    const over = excess(state.open, meter.active, state.limits());
    if (over !== undefined) {
      turnAway(conn, binding.key, meter, over, deps);
      return;
    }
    state.open += 1;
    conns.add(conn);
    forward(conn, binding, meter, deps, ended);
  };
  return (conn) => admit(state, lane, conn, carry);
}

/** Carries the connection if its client may use the endpoint. */
function admit(state: State, lane: Lane, conn: Conn, carry: (conn: Conn) => void): void {
  const { account, binding } = lane.route.target;
  const decide = (refusal: RefusalText | undefined): void => {
    if (refusal === undefined) carry(conn);
    else refuse(conn, binding.key, lane.meter, refusal, state.forwarding(account));
  };
  const judged = state.guard.judge(conn, binding);
  if (judged instanceof Promise)
    void judged.then((refusal) => {
      // The door may have closed meanwhile.
      if (isLive(state, lane)) decide(refusal);
      else conn.abort();
    });
  else decide(judged);
}

const isLive = ({ present }: State, lane: Lane): boolean =>
  present.get(lane.doorway.door.id)?.lanes.includes(lane) === true;

/** The log suppresses repeats of this line. */
function refuse(
  conn: Conn,
  key: string,
  meter: Meter,
  { reason, detail, hint }: RefusalText,
  { log }: ForwardDeps,
): void {
  conn.abort();
  meter.total += 1;
  countError(meter, "access");
  meter.lastError = `reset at once: ${detail}`;
  log.warn(`${key}: reset at once: ${reason}`, { endpoint: key, hint });
}

/** The log suppresses repeats of this line. */
function turnAway(
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

/** Stops listening, and returns the lanes that still carry connections. */
function closeDoor(state: State, id: DoorId): readonly Lane[] {
  const live = state.present.get(id);
  if (live === undefined) return [];
  state.present.delete(id);
  live.listener.close();
  const busy = live.lanes.filter(({ conns }) => conns.size > 0);
  for (const lane of live.lanes) if (!busy.includes(lane)) dropMeter(state, lane);
  for (const lane of busy) {
    state.draining.add(lane);
    void drained(lane).then(() => {
      state.draining.delete(lane);
      dropMeter(state, lane);
    });
  }
  return busy;
}

function createLane({ meters }: State, doorway: Doorway, route: Route): Lane {
  const meter = meters.get(route.target.binding.key)?.meter ?? createMeter();
  return { doorway, route, meter, conns: new Set(), waiting: [] };
}

function holdMeter({ meters }: State, lane: Lane): void {
  const shared = meters.get(bindingKey(lane)) ?? { meter: lane.meter, lanes: 0 };
  shared.lanes += 1;
  meters.set(bindingKey(lane), shared);
}

function dropMeter({ meters }: State, lane: Lane): void {
  const shared = meters.get(bindingKey(lane));
  if (shared === undefined) return;
  shared.lanes -= 1;
  if (shared.lanes === 0) meters.delete(bindingKey(lane));
}

const bindingKey = ({ route }: Lane): string => route.target.binding.key;

/** Settles when the last connection has ended. */
function drained({ conns, waiting }: Lane): Promise<void> {
  return new Promise((resolve) => {
    if (conns.size === 0) resolve();
    else waiting.push(resolve);
  });
}

/** Why a door does not listen, as a text for the user. */
function listenReason(error: unknown, { door }: Doorway): string {
  const { ip, port } = door.at;
  const code: ErrorCode | undefined = isNgrokdError(error) ? error.code : undefined;
  switch (code) {
    case "address-in-use":
      return `another program listens on ${ip}:${port} (or on port ${port} of all addresses)`;
    case "permission":
      return `ports below 1024 need root or CAP_NET_BIND_SERVICE, and ${ip}:${port} is one`;
    case "address-unavailable":
      return process.platform === "darwin"
        ? `${ip} is not an address of this machine; add it with \`sudo ifconfig lo0 alias ${ip}\``
        : `${ip} is not an address of this machine`;
    default:
      return `cannot listen on ${ip}:${port}: ${reasonOf(error)}`;
  }
}
