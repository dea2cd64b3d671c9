import { isNgrokdError, type NgrokdError } from "../model/error.ts";
import type { Conn } from "../net/types.ts";
import { createDemand } from "./demand.ts";

export interface PoolLimits {
  /** Kept ready even without demand. */
  readonly min: number;
  /** Never more than this; 0 turns the pool off. */
  readonly max: number;
  /** A ready connection is not kept for longer. */
  readonly idleTimeoutMs: number;
}

/**
 * A handshaken connection that nobody has used, with the read that has watched
 * over it: the first bytes come from there.
 */
export interface Ready {
  readonly conn: Conn;
  readonly first: Promise<Uint8Array | null>;
  /** When it was dialled, by the pool's clock. */
  readonly since: number;
}

export interface Pool {
  /**
   * The newest ready connection, or undefined; either way it counts as demand.
   */
  take(): Ready | undefined;
  /**
   * A taken connection proved dead before the ingress had answered: the ingress
   * closes idle ones sooner than thought.
   */
  provedDead(ready: Ready): void;
  /**
   * Somebody else's dial has succeeded: no reason to wait after those that
   * failed.
   */
  reached(): void;
  /**
   * Drops what is ready and what is being dialled: the identity, the trust, the
   * ingress or the network is another now.
   */
  renew(): void;
  /** The limits have changed: makes ready what they ask for. */
  prepare(): void;
  /** Drops everything, for good. */
  close(): void;
  readonly idle: number;
  /** Whether any are to be ready now. */
  readonly wanting: boolean;
  /**
   * Ready ones in a row that the ingress hung up on at once, and how the latest
   * broke, unless it was closed.
   */
  readonly hungUp: { readonly times: number; readonly error: NgrokdError | undefined };
  /**
   * How long a connection is kept ready now: the configured time, or less where
   * this ingress has proved less patient. Milliseconds.
   */
  readonly patienceMs: number;
}

export interface PoolOptions {
  /**
   * A connection to the ingress, handshake done. Must end soon after the signal
   * aborts.
   */
  readonly dial: (signal: AbortSignal) => Promise<Conn>;
  /** Asked anew at every decision. */
  readonly limits: () => PoolLimits;
  /** Milliseconds of a clock that does not jump. */
  readonly now?: () => number;
  readonly random?: () => number;
}

/**
 * Refilling waits for a pause in the demand, since a handshake costs more than
 * a connection: it would delay the very burst it is for.
 */
const refillDelayMs = 25;
/** But not for longer than this. */
const refillAtLastMs = 150;
/**
 * Dials for the pool at once; connections that somebody waits for have the rest
 * of the dialling to themselves.
 */
const refillsAtOnce = 2;
/** A black hole must not keep the places of those that somebody waits for. */
const dialLimitMs = 10_000;
/** Patience learned from an ingress is never less. */
const leastPatienceMs = 2000;
/**
 * An ingress that restarts, or a way that breaks, looks like an ingress without
 * patience: whenever a connection has been ready for all of the time that was
 * learned, the next may be for so much longer.
 */
const relaxing = 1.25;
const [firstRestMs, longestRestMs] = [500, 30_000];

/**
 * Connections to the ingress made ready in advance, so that a new local
 * connection pays one round trip instead of four. Any of them fits any
 * endpoint: the host is only named in the header. Sized by recent demand,
 * newest first out, each watched while it waits.
 */
export function createPool(options: PoolOptions): Pool {
  const { dial, limits, now = () => performance.now(), random = Math.random } = options;
  const demand = createDemand();
  const ready: Ready[] = [];
  let dialling = 0;
  let dialMs = 50;
  let learnedMs = Number.POSITIVE_INFINITY;
  let learnedAt = 0;
  /**
   * Dials in a row that failed, and ready ones in a row that the ingress hung
   * up on at once.
   */
  let [failures, hangUps] = [0, 0];
  let hungUpBy: NgrokdError | undefined;
  let restUntil = 0;
  let era = new AbortController();
  let refillTimer: ReturnType<typeof setTimeout> | undefined;
  let refillDue = 0;
  let expiryTimer: ReturnType<typeof setTimeout> | undefined;
  let closed = false;

  const patience = (): number =>
    Math.max(leastPatienceMs, Math.min(limits().idleTimeoutMs, learnedMs));
  const target = (): number => demand.target(now(), { dialMs, ...limits() });

  return {
    take() {
      if (closed || limits().max === 0) return undefined;
      demand.note(now());
      const taken = ready.pop();
      // At the low-water mark waiting for a pause would leave the next ones
      // without.
      scheduleRefill(ready.length * 4 < target() ? 0 : refillDelayMs);
      return taken;
    },
    provedDead(dead) {
      learn(now() - dead.since);
      // Those that are older are no better.
      for (const one of ready.filter(({ since }) => since <= dead.since)) discard(one);
    },
    reached() {
      if (failures === 0) return;
      failures = 0;
      restUntil = 0;
      scheduleRefill(refillDelayMs);
    },
    renew() {
      era.abort();
      era = new AbortController();
      for (const one of [...ready]) discard(one);
      learnedMs = Number.POSITIVE_INFINITY;
      [failures, hangUps, restUntil] = [0, 0, 0];
      scheduleRefill(0);
    },
    prepare: () => scheduleRefill(0),
    close() {
      closed = true;
      era.abort();
      clearTimeout(refillTimer);
      clearTimeout(expiryTimer);
      for (const one of [...ready]) discard(one);
    },
    get idle() {
      return ready.length;
    },
    get wanting() {
      return !closed && target() > 0;
    },
    get hungUp() {
      return { times: hangUps, error: hangUps === 0 ? undefined : hungUpBy };
    },
    get patienceMs() {
      return patience();
    },
  };

  /**
   * Plans the next refill: a later call postpones it, but never beyond
   * `refillAtLastMs` from the first.
   */
  function scheduleRefill(delayMs: number): void {
    if (closed) return;
    const at = now();
    if (refillTimer === undefined) refillDue = at + Math.max(delayMs, refillAtLastMs);
    else clearTimeout(refillTimer);
    const wait = Math.min(delayMs, Math.max(0, refillDue - at));
    refillTimer = setTimeout(() => {
      refillTimer = undefined;
      refill();
    }, wait);
    refillTimer.unref?.();
  }

  function refill(): void {
    // Where nobody dials nobody finds out that it has come to an end.
    if (target() === 0) hangUps = 0;
    const rest = restUntil - now();
    if (rest > 0) {
      scheduleRefill(rest);
      return;
    }
    while (!closed && dialling < refillsAtOnce && ready.length + dialling < target())
      void dialOne();
  }

  async function dialOne(): Promise<void> {
    const { signal } = era;
    const started = now();
    dialling += 1;
    try {
      const conn = await dial(AbortSignal.any([signal, AbortSignal.timeout(dialLimitMs)]));
      if (signal.aborted) return void conn.abort();
      dialMs = dialMs * 0.8 + (now() - started) * 0.2;
      failures = 0;
      keep(conn);
    } catch {
      // Whoever needs a connection meets the same failure and tells it; here it
      // only slows the next attempt down.
      if (!signal.aborted) takeRest(++failures);
    } finally {
      dialling -= 1;
      refill();
    }
  }

  function takeRest(setbacks: number): void {
    const ms = Math.min(longestRestMs, firstRestMs * 2 ** Math.min(setbacks - 1, 10));
    restUntil = now() + ms * (1 - random() / 2);
  }

  function keep(conn: Conn): void {
    const first = Promise.resolve(conn.read());
    const one: Ready = { conn, first, since: now() };
    ready.push(one);
    first.then(
      (bytes) => left(one, bytes === null),
      (error: unknown) => left(one, true, isNgrokdError(error) ? error : undefined),
    );
    scheduleExpiry();
  }

  /**
   * A ready connection has said something, which no healthy one does before it
   * was asked.
   */
  function left(one: Ready, ended: boolean, error?: NgrokdError): void {
    if (!ready.includes(one)) return;
    const age = now() - one.since;
    discard(one);
    if (!ended) return;
    learn(age);
    // An ingress that hangs up at once is as good as one that cannot be
    // dialled.
    hangUps = age < leastPatienceMs ? hangUps + 1 : 0;
    hungUpBy = error;
    if (hangUps > 0) takeRest(hangUps);
    scheduleRefill(refillDelayMs);
  }

  function learn(age: number): void {
    learnedMs = Math.min(learnedMs, Math.max(leastPatienceMs, age * 0.8));
    learnedAt = now();
    scheduleExpiry();
  }

  function relax(): void {
    learnedMs = Math.max(leastPatienceMs, learnedMs) * relaxing;
    learnedAt = now();
  }

  function discard(one: Ready): void {
    const at = ready.indexOf(one);
    if (at >= 0) ready.splice(at, 1);
    one.first.catch(() => undefined);
    one.conn.close();
  }

  function scheduleExpiry(): void {
    clearTimeout(expiryTimer);
    const [oldest] = ready;
    if (oldest === undefined || closed) return;
    expiryTimer = setTimeout(expire, Math.max(0, oldest.since + patience() - now()));
    expiryTimer.unref?.();
  }

  function expire(): void {
    hangUps = 0;
    const limit = now() - patience();
    const over = ready.filter(({ since }) => since <= limit);
    if (over.some(({ since }) => since >= learnedAt)) relax();
    for (const one of over) discard(one);
    scheduleExpiry();
    scheduleRefill(0);
  }
}
