/**
 * ingress/ opens a TLS connection to ngrok's ingress for each connection of a
 * client, and names the endpoint on it. A pool keeps connections ready.
 */
import type { Signal } from "../model/abort.ts";
import { isNgrokdError, type NgrokdError } from "../model/error.ts";
import type { Net } from "../net/types.ts";
import type { PodIdentity } from "./frame.ts";
import { createHeaders, type Target } from "./headers.ts";
import { createIngressDialer, type IngressSettings } from "./ingress-dialer.ts";
import { hangsUp, refusedUs } from "./ingress-errors.ts";
import { createPool, type Pool, type PoolLimits } from "./pool.ts";
import { type Early, type Opened, upgrade } from "./upgrade.ts";

export interface Ingress {
  /**
   * A connection to the endpoint `host:port`, ready to carry its bytes.
   * `signal` bounds waiting, dial, TLS and header together. Rejects with the
   * NgrokdError of a dial or of {@link upgrade}, or with the signal's reason.
   * If `early` returned bytes, they are lost with a failed connection, and
   * nothing is tried again. Notes its steps in `way`.
   */
  open(target: Target, signal: Signal, options?: OpenOptions): Promise<Opened>;
  /**
   * Drops ready connections and sessions. Call it when the settings or the
   * network have changed.
   */
  discard(): void;
  /**
   * Makes the connections ready that the pool's limits require. If they require
   * none, it checks whether a trouble is over. Call it at every pass.
   */
  prepare(): void;
  /** Drops ready connections and dials no more; used connections go on. */
  close(): void;
  readonly stats: IngressStats;
  /**
   * Why the latest dial failed, the pool's included, or why the ingress closes
   * the pool's connections. Undefined once one has succeeded, or lasts.
   */
  readonly trouble: NgrokdError | undefined;
}

/** The steps of a request so far, with times of performance.now(). */
export interface Way {
  from: "pool" | "dial" | undefined;
  /** TCP reaches the ingress, and TLS begins; only of a dial. */
  connected: number | undefined;
  /** The connection to the ingress is there, TLS included. */
  ready: number | undefined;
}

/** What else one request to the ingress has. */
export interface OpenOptions {
  /** Its bytes leave with the request. */
  readonly early?: Early | undefined;
  readonly way?: Way | undefined;
  /** Who asks; by default nothing is said about it. */
  readonly identity?: PodIdentity | undefined;
}

/** Counters since the start; `ready` and `patienceMs` are as of now. */
export interface IngressStats {
  /** Requests that found a ready connection. */
  readonly hits: number;
  /** Requests that had to wait for a dial. */
  readonly misses: number;
  /** Ready connections that proved dead and were replaced by a dial. */
  readonly retries: number;
  readonly dials: number;
  readonly ready: number;
  readonly patienceMs: number;
}

/** For a look whether a trouble is over. */
const lookLimitMs = 10_000;
/**
 * From so many in a row on, ready connections that the ingress closes or resets
 * at once are no accident.
 */
const hangUpsThatCount = 3;
const noPool: PoolLimits = { min: 0, max: 0, idleTimeoutMs: 0 };

/**
 * The client side of the binding protocol (docs/protocol.md, "The ingress"). A
 * request takes a ready connection of the pool, or dials. Without early bytes,
 * no byte of a client leaves before the response, so a ready connection that
 * proves dead costs a dial and nothing else.
 */
export function createIngress(
  net: Net,
  settings: () => IngressSettings,
  limits: () => PoolLimits = () => noPool,
): Ingress {
  const dialer = createIngressDialer(net, settings);
  const headers = createHeaders();
  const count = { hits: 0, misses: 0, retries: 0 };
  const pool = createPool({ dial: dialer.dial, limits });
  /** Whether the latest request got a response. */
  let answered = false;
  let looking = false;

  /** A success ends the dialer's trouble, as with every dial. */
  const look = async (): Promise<void> => {
    looking = true;
    const conn = await dialer.dial(AbortSignal.timeout(lookLimitMs)).catch(() => undefined);
    conn?.close();
    looking = false;
  };

  return {
    async open(target, signal, { early: takeEarly, way, identity } = {}) {
      const sent = { early: false };
      const early = takeEarly && noting(takeEarly, sent);
      const ready = pool.take();
      if (ready !== undefined) {
        if (way !== undefined) reach(way, "pool");
        try {
          const { first } = ready;
          const opened = await upgrade(ready.conn, target, signal, {
            headers,
            first,
            early,
            identity,
          });
          count.hits += 1;
          answered = true;
          return opened;
        } catch (error) {
          if (signal.aborted || isNgrokdError(error, "protocol")) throw error;
          pool.provedDead(ready);
          // The ingress may have handed the client's bytes on.
          if (sent.early) throw error;
          count.retries += 1;
        }
      }
      count.misses += 1;
      const conn = await dialer.dial(signal, way);
      if (way !== undefined) reach(way, "dial");
      pool.reached();
      try {
        const opened = await upgrade(conn, target, signal, { headers, early, identity });
        answered = true;
        return opened;
      } catch (error) {
        if (!signal.aborted) answered = false;
        throw error;
      }
    },
    discard() {
      dialer.discardSessions();
      answered = false;
      pool.discard();
    },
    prepare() {
      pool.prepare();
      if (dialer.trouble !== undefined && !pool.wanting && !looking) void look();
    },
    close: pool.close,
    get stats() {
      const { dials } = dialer;
      return { ...count, dials, ready: pool.idle, patienceMs: pool.patienceMs };
    },
    get trouble() {
      return dialer.trouble ?? hangUpTrouble(pool.hungUp, answered);
    },
  };
}

/**
 * Pure: the ingress trouble shown by closed ready connections. With TLS 1.3 a
 * dial succeeds before the ingress has checked our certificate. Its refusal
 * shows on a ready connection, long before the first request. If the ingress
 * responds to requests, it only has a short idle time.
 */
function hangUpTrouble(
  { times, error }: Pool["hungUp"],
  answered: boolean,
): NgrokdError | undefined {
  if (isNgrokdError(error, "tls")) return refusedUs(error);
  return times < hangUpsThatCount || answered ? undefined : hangsUp(error);
}

/** Notes in `sent` whether there were early bytes. */
const noting =
  (take: Early, sent: { early: boolean }): Early =>
  () => {
    const bytes = take();
    sent.early = bytes !== undefined;
    return bytes;
  };

function reach(way: Way, from: "pool" | "dial"): void {
  way.from = from;
  way.ready = performance.now();
}
