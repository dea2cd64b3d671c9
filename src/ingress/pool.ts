import { Cancellation, cancellable, type Signal } from "../model/abort.ts";
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import type { Conn } from "../net/types.ts";
import { createDemand, type Demand } from "./demand.ts";
import {
  afterHangUp,
  afterPatience,
  keptMs,
  leastPatienceMs,
  type Patience,
  unlimited,
} from "./patience.ts";
import { afterFailedDial, afterHangUpAtOnce, noSetbacks, type Setbacks } from "./setbacks.ts";

export interface PoolLimits {
  /** Kept ready even without demand. */
  readonly min: number;
  /** Never more than this; 0 turns the pool off. */
  readonly max: number;
  /** A ready connection is not kept for longer. */
  readonly idleTimeoutMs: number;
}

/**
 * A handshaken connection that is unused, with its pending read, which watches
 * over it. The first bytes come from there.
 */
export interface Ready {
  readonly conn: Conn;
  readonly first: Promise<Uint8Array | null>;
  /** When it was dialled, by the pool's clock. */
  readonly since: number;
}

export interface Pool {
  /** The newest ready connection, or undefined. Both count as demand. */
  take(): Ready | undefined;
  /**
   * A taken connection proved dead before a response of the ingress: it closes
   * idle connections sooner than thought.
   */
  provedDead(ready: Ready): void;
  /** Another dial has succeeded: no reason to rest after failed ones. */
  reached(): void;
  /**
   * Drops all ready connections and dials, since the identity, the trust, the
   * ingress or the network has changed.
   */
  discard(): void;
  /** The limits have changed, so make the required connections ready. */
  prepare(): void;
  /** Drops everything, for good. */
  close(): void;
  readonly idle: number;
  /** Whether any connections are to be ready now. */
  readonly wanting: boolean;
  /**
   * The ready connections in a row that the ingress closed at once. `error` is
   * the failure of the latest; undefined if it was closed.
   */
  readonly hungUp: { readonly times: number; readonly error: NgrokdError | undefined };
  /**
   * How long a connection is kept ready now, in milliseconds: the configured
   * time, or less if this ingress has proved less patient.
   */
  readonly patienceMs: number;
}

export interface PoolOptions {
  /**
   * A connection to the ingress, handshake done. Must end soon after the signal
   * aborts.
   */
  readonly dial: (signal: Signal) => Promise<Conn>;
  /** Asked again at every decision. */
  readonly limits: () => PoolLimits;
  /** Milliseconds of a clock that does not jump. */
  readonly now?: () => number;
  /** 0 to 1. */
  readonly random?: () => number;
}

/**
 * A refill waits for a pause in the demand, since a handshake costs more than a
 * connection: it would delay the burst that it is for. The pause is long enough
 * for the first bytes of the connection that was taken, and short enough for
 * the refill to be done before the next one comes. Milliseconds.
 */
const refillDelayMs = 3;
/** A refill is not postponed beyond this. */
const refillAtLastMs = 150;
/**
 * Dials of the pool at once: two if the ingress is near, since they mostly take
 * CPU. If it is far, they mostly wait. The other places are for waiting
 * clients.
 */
const refillsAtOnce = (dialMs: number): number =>
  Math.max(2, Math.min(mostRefillsAtOnce, Math.round(dialMs / waitingDialMs)));
const mostRefillsAtOnce = 8;
const waitingDialMs = 10;
/** An ingress that does not respond must not keep the places of clients. */
const dialLimitMs = 10_000;

/**
 * Connections to the ingress made ready in advance, so that a new local
 * connection pays one round trip instead of four. Any of them fits any
 * endpoint, since the host is only in the header. Their number follows recent
 * demand, the newest is taken first, and each is watched while it waits.
 */
export function createPool(options: PoolOptions): Pool {
  const state: State = {
    options: { now: () => performance.now(), random: Math.random, ...options },
    demand: createDemand(),
    ready: [],
    dialling: 0,
    dialMs: 20,
    patience: unlimited,
    setbacks: noSetbacks,
    era: new Cancellation(),
    refillTimer: undefined,
    refillDue: 0,
    expiryTimer: undefined,
    isClosed: false,
  };
  const { ready, demand } = state;
  const { now, limits } = state.options;
  return {
    take() {
      if (state.isClosed || limits().max === 0) return undefined;
      demand.note(now());
      const taken = ready.pop();
      // At the low-water mark a pause would leave the next ones without.
      scheduleRefill(state, ready.length * 4 < targetOf(state) ? 0 : refillDelayMs);
      return taken;
    },
    provedDead(dead) {
      learn(state, now() - dead.since);
      // Older ones are no better.
      for (const one of ready.filter(({ since }) => since <= dead.since)) drop(state, one);
    },
    reached() {
      if (state.setbacks.failures === 0) return;
      state.setbacks = { ...state.setbacks, failures: 0, restUntil: 0 };
      scheduleRefill(state, refillDelayMs);
    },
    discard() {
      state.era.abort(discarded());
      state.era = new Cancellation();
      for (const one of [...ready]) drop(state, one);
      state.patience = { ...state.patience, learnedMs: unlimited.learnedMs };
      state.setbacks = noSetbacks;
      scheduleRefill(state, 0);
    },
    prepare: () => scheduleRefill(state, 0),
    close() {
      state.isClosed = true;
      state.era.abort(discarded());
      clearTimeout(state.refillTimer);
      clearTimeout(state.expiryTimer);
      for (const one of [...ready]) drop(state, one);
    },
    get idle() {
      return ready.length;
    },
    get wanting() {
      return !state.isClosed && targetOf(state) > 0;
    },
    get hungUp() {
      const { hangUps, hungUpBy } = state.setbacks;
      return { times: hangUps, error: hangUps === 0 ? undefined : hungUpBy };
    },
    get patienceMs() {
      return patienceOf(state);
    },
  };
}

interface State {
  readonly options: Required<PoolOptions>;
  readonly demand: Demand;
  /** The oldest first. */
  readonly ready: Ready[];
  /** How many dials are under way. */
  dialling: number;
  /** The time of a dial, as a moving average. */
  dialMs: number;
  patience: Patience;
  setbacks: Setbacks;
  /** Aborts all dials when they are discarded. */
  era: Cancellation;
  refillTimer: ReturnType<typeof setTimeout> | undefined;
  /** The latest time for the planned refill. */
  refillDue: number;
  expiryTimer: ReturnType<typeof setTimeout> | undefined;
  isClosed: boolean;
}

const patienceOf = ({ patience, options }: State): number =>
  keptMs(patience, options.limits().idleTimeoutMs);

/** How many connections are to be ready now. */
const targetOf = ({ demand, dialMs, options }: State): number =>
  demand.target(options.now(), { dialMs, ...options.limits() });

/**
 * Plans the next refill. A later call postpones it, but never beyond
 * `refillAtLastMs` from the first.
 */
function scheduleRefill(state: State, delayMs: number): void {
  if (state.isClosed) return;
  const at = state.options.now();
  if (state.refillTimer === undefined) state.refillDue = at + Math.max(delayMs, refillAtLastMs);
  else clearTimeout(state.refillTimer);
  const wait = Math.min(delayMs, Math.max(0, state.refillDue - at));
  state.refillTimer = setTimeout(() => {
    state.refillTimer = undefined;
    refill(state);
  }, wait);
  state.refillTimer.unref?.();
}

function refill(state: State): void {
  // Without dials no success would end the row of hang-ups.
  if (targetOf(state) === 0) forgetHangUps(state);
  const rest = state.setbacks.restUntil - state.options.now();
  if (rest > 0) {
    scheduleRefill(state, rest);
    return;
  }
  while (
    !state.isClosed &&
    state.dialling < refillsAtOnce(state.dialMs) &&
    state.ready.length + state.dialling < targetOf(state)
  )
    void dialOne(state);
}

async function dialOne(state: State): Promise<void> {
  const { dial, now, random } = state.options;
  const { era } = state;
  const started = now();
  state.dialling += 1;
  try {
    const conn = await withinLimit(dial, era);
    if (era.aborted) return void conn.abort();
    state.dialMs = state.dialMs * 0.8 + (now() - started) * 0.2;
    state.setbacks = { ...state.setbacks, failures: 0 };
    keep(state, conn);
  } catch {
    // A client that needs a connection meets the same failure and reports it.
    // Here it only slows the next dial down.
    if (!era.aborted) state.setbacks = afterFailedDial(state.setbacks, now(), random());
  } finally {
    state.dialling -= 1;
    refill(state);
  }
}

/** As `dial`, which has a limited time. */
const withinLimit = (dial: PoolOptions["dial"], era: Signal): Promise<Conn> =>
  cancellable(era, async (stop) => {
    const late = setTimeout(
      () => stop.abort(new DOMException("No answer in time", "TimeoutError")),
      dialLimitMs,
    );
    try {
      return await dial(stop);
    } finally {
      clearTimeout(late);
    }
  });

const discarded = (): NgrokdError =>
  new NgrokdError("cancelled", "The connections to the ingress were dropped");

function keep(state: State, conn: Conn): void {
  const first = Promise.resolve(conn.read());
  const one: Ready = { conn, first, since: state.options.now() };
  state.ready.push(one);
  first.then(
    (bytes) => spoke(state, one, bytes === null),
    (error: unknown) => spoke(state, one, true, isNgrokdError(error) ? error : undefined),
  );
  scheduleExpiry(state);
}

/**
 * A ready connection has delivered bytes or its end. A healthy one does neither
 * before a request.
 */
function spoke(state: State, one: Ready, isOver: boolean, error?: NgrokdError): void {
  if (!state.ready.includes(one)) return;
  const { now, random } = state.options;
  const age = now() - one.since;
  drop(state, one);
  if (!isOver) return;
  learn(state, age);
  if (age < leastPatienceMs)
    state.setbacks = afterHangUpAtOnce(state.setbacks, error, now(), random());
  else forgetHangUps(state);
  scheduleRefill(state, refillDelayMs);
}

function forgetHangUps(state: State): void {
  if (state.setbacks.hangUps > 0) state.setbacks = { ...state.setbacks, hangUps: 0 };
}

function learn(state: State, age: number): void {
  state.patience = afterHangUp(state.patience, age, state.options.now());
  scheduleExpiry(state);
}

function drop({ ready }: State, one: Ready): void {
  const at = ready.indexOf(one);
  if (at >= 0) ready.splice(at, 1);
  one.first.catch(() => undefined);
  one.conn.close();
}

function scheduleExpiry(state: State): void {
  clearTimeout(state.expiryTimer);
  const [oldest] = state.ready;
  if (oldest === undefined || state.isClosed) return;
  const left = oldest.since + patienceOf(state) - state.options.now();
  state.expiryTimer = setTimeout(() => expire(state), Math.max(0, left));
  state.expiryTimer.unref?.();
}

function expire(state: State): void {
  const now = state.options.now();
  forgetHangUps(state);
  const limit = now - patienceOf(state);
  const over = state.ready.filter(({ since }) => since <= limit);
  if (over.some(({ since }) => since >= state.patience.learnedAt))
    state.patience = afterPatience(state.patience, now);
  for (const one of over) drop(state, one);
  scheduleExpiry(state);
  scheduleRefill(state, 0);
}
