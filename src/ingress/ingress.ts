import { onAbort } from "../model/abort.ts";
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import { type HostPort, hostPortText } from "../model/host-port.ts";
import { type ProxyServer, proxyText } from "../model/proxy.ts";
import type { Conn, Net, TlsClientOptions } from "../net/types.ts";
import { createFrameReader, decodeConnResponse, encodeConnRequest } from "./frame.ts";
import { createLimiter } from "./limiter.ts";
import { createPool, type PoolLimits } from "./pool.ts";
import { createSessions } from "./sessions.ts";
import { describeTlsFailure, refusedCertificate } from "./trust.ts";

/**
 * The way to ngrok's ingress as it is now; read anew for every dial, so a
 * renewed certificate or CA counts at once.
 */
export interface IngressSettings {
  readonly host: string;
  readonly port: number;
  /** PEM. */
  readonly cert: string;
  readonly key: string;
  readonly ca: readonly string[];
  readonly caFile?: TlsClientOptions["caFile"];
  readonly insecureSkipVerify: boolean;
  /** Whether handshakes may resume an earlier session. */
  readonly resume: boolean;
  /** The proxy that leads there; none means directly. */
  readonly via?: ProxyServer | undefined;
}

/**
 * What the ingress answered to one request. A refusal is an answer, not an
 * exception.
 */
export type Opened =
  | {
      readonly kind: "accepted";
      /** Its next bytes are the first of the endpoint's. */
      readonly conn: Conn;
      readonly endpointId: string;
      readonly proto: string;
      readonly notices: readonly string[];
    }
  | {
      readonly kind: "refused";
      readonly code: string;
      readonly message: string;
      readonly notices: readonly string[];
    };

export interface Ingress {
  /**
   * A connection to the endpoint `host:port`, ready to carry its bytes.
   * `signal` bounds waiting, dial, TLS and header together. Rejects with
   * NgrokdError: what {@link Net.dial} rejects with, `protocol` for an answer
   * that is none, or the signal's reason.
   */
  open(target: { host: string; port: number }, signal: AbortSignal): Promise<Opened>;
  /**
   * Forgets ready connections and sessions: call it whenever the settings, or
   * the network, are others than before.
   */
  renew(): void;
  /**
   * Makes ready what the pool's limits ask for, and where they ask for nothing
   * looks whether a trouble is over; call it at every pass.
   */
  prepare(): void;
  /**
   * Dials no more and drops what is ready; connections that are in use go on.
   */
  close(): void;
  readonly stats: IngressStats;
  /**
   * Why the latest dial failed, the pool's included, or why the ingress hangs
   * up on what the pool has dialled; undefined once one has succeeded, or
   * lasts.
   */
  readonly trouble: NgrokdError | undefined;
}

/**
 * Counters since the start, apart from `ready` and `patienceMs`, which are as
 * of now.
 */
export interface IngressStats {
  /** Connections that found a ready one. */
  readonly hits: number;
  /** Connections that had to wait for a dial. */
  readonly misses: number;
  /** Ready ones that proved dead, and were made good by a dial. */
  readonly retries: number;
  readonly dials: number;
  readonly ready: number;
  readonly patienceMs: number;
}

/**
 * Dials at once, in all; the others wait in order. Bun serves the latest
 * handshake first, and the earliest of many would wait for ever.
 */
const dialsAtOnce = 16;
/**
 * A dial that had less time than this, since it had to wait for its turn, says
 * nothing of the ingress by running out of it.
 */
const leastDialMs = 500;
/** For a look whether a trouble is over. */
const lookLimitMs = 10_000;
/**
 * From so many in a row on, ready connections that the ingress closes or resets
 * at once are no accident.
 */
const hangUpsThatCount = 3;
export const noPool: PoolLimits = { min: 0, max: 0, idleTimeoutMs: 0 };

/**
 * The client side of the binding protocol (docs/protocol.md, "The ingress"). A
 * request takes a connection that the pool has ready, or dials. No byte of a
 * client's leaves before the answer, so a ready connection that proves dead
 * costs a dial and nothing else.
 */
export function createIngress(
  net: Net,
  settings: () => IngressSettings,
  limits: () => PoolLimits = () => noPool,
): Ingress {
  const dials = createLimiter(dialsAtOnce);
  const count = { hits: 0, misses: 0, retries: 0, dials: 0 };
  const pool = createPool({ dial, limits });
  let sessions = createSessions();
  let trouble: NgrokdError | undefined;
  /** The latest connection that asked for something got an answer. */
  let answered = false;
  let looking = false;

  return {
    async open(target, signal) {
      const ready = pool.take();
      if (ready !== undefined) {
        try {
          const opened = await upgrade(ready.conn, target, signal, ready.first);
          count.hits += 1;
          answered = true;
          return opened;
        } catch (error) {
          if (signal.aborted || isNgrokdError(error, "protocol")) throw error;
          count.retries += 1;
          pool.provedDead(ready);
        }
      }
      count.misses += 1;
      const conn = await dial(signal);
      pool.reached();
      try {
        const opened = await upgrade(conn, target, signal);
        answered = true;
        return opened;
      } catch (error) {
        if (!signal.aborted) answered = false;
        throw error;
      }
    },
    renew() {
      sessions = createSessions();
      answered = false;
      pool.discard();
    },
    prepare() {
      pool.prepare();
      if (trouble !== undefined && !pool.wanting && !looking) void look();
    },
    close: pool.close,
    get stats() {
      return { ...count, ready: pool.idle, patienceMs: pool.patienceMs };
    },
    get trouble() {
      return trouble ?? hungUp();
    },
  };

  /**
   * With TLS 1.3 a dial has succeeded before the ingress has looked at our
   * certificate: that it refuses it shows on a ready connection, long before
   * anybody asks for something. One that answers those who ask is only short of
   * patience.
   */
  function hungUp(): NgrokdError | undefined {
    const { times, error } = pool.hungUp;
    if (isNgrokdError(error, "tls")) return refusedUs(error);
    return times < hangUpsThatCount || answered ? undefined : hangsUp(error);
  }

  /** Tells `trouble`, as every dial does. */
  async function look(): Promise<void> {
    looking = true;
    const conn = await dial(AbortSignal.timeout(lookLimitMs)).catch(() => undefined);
    conn?.close();
    looking = false;
  }

  function dial(signal: AbortSignal): Promise<Conn> {
    return dials.run(async () => {
      count.dials += 1;
      const { host, port, resume, via, ...tls } = settings();
      const began = performance.now();
      try {
        const conn = await net.dial(
          { host, port },
          {
            tls: { serverName: host, ...tls, sessions: resume ? sessions : undefined },
            via,
            signal,
          },
        );
        trouble = undefined;
        return conn;
      } catch (error) {
        const late = isNgrokdError(error, "timeout");
        // Who leaves, or renews, says nothing of the ingress.
        const counts = late
          ? performance.now() - began >= leastDialMs
          : !isNgrokdError(error, "cancelled");
        if (counts && isNgrokdError(error))
          trouble = late
            ? noAnswer({ host, port }, via, error)
            : isNgrokdError(error, "tls")
              ? describeTlsFailure(error)
              : error;
        throw error;
      }
    }, signal);
  }
}

/**
 * Asks for one endpoint on a handshaken connection that nobody has used; it is
 * aborted unless the answer is "accepted". `first` is the read that already
 * waits on it, if one does.
 */
export async function upgrade(
  conn: Conn,
  target: { host: string; port: number },
  signal: AbortSignal,
  first?: Promise<Uint8Array | null>,
): Promise<Opened> {
  const unhook = onAbort(signal, () => conn.abort());
  try {
    signal.throwIfAborted();
    await conn.write(encodeConnRequest(target));
    const { payload, rest } = await readFrame(conn, first);
    const reply = decodeConnResponse(payload);
    if (!reply.ok)
      throw new NgrokdError(
        "protocol",
        `The ingress answered nonsense for "${target.host}": ${reply.reason}`,
      );
    if (reply.value.kind === "accepted") {
      conn.unread(rest);
      return { ...reply.value, conn };
    }
    conn.close();
    return reply.value;
  } catch (error) {
    conn.abort();
    if (signal.aborted) throw signal.reason;
    throw explained(error);
  } finally {
    unhook();
  }
}

async function readFrame(
  conn: Conn,
  first: Promise<Uint8Array | null> | undefined,
): Promise<{ payload: Uint8Array; rest: Uint8Array }> {
  const feed = createFrameReader();
  let seen = 0;
  let waiting = first;
  for (;;) {
    const bytes = await (waiting ?? conn.read());
    waiting = undefined;
    if (bytes === null)
      throw seen < 2
        ? unknownCertificate()
        : new NgrokdError("protocol", "The ingress closed in the middle of its answer");
    seen += bytes.length;
    const split = feed(bytes);
    if (split.kind === "frame") return split;
  }
}

/**
 * Closing before the length bytes is how this ingress says that it knows no
 * such certificate. Source: docs/protocol.md, "The ingress".
 */
function unknownCertificate(): NgrokdError {
  return new NgrokdError(
    "tls",
    "The ingress closed the connection without an answer; it usually means that it does not know this client certificate",
    {
      hint: "was the operator deleted in ngrok's dashboard, or does the certificate belong to another account? see `ngrokd status`",
    },
  );
}

/**
 * In the same words whoever's limit it was, so that the same trouble is told
 * once.
 */
function noAnswer(
  ingress: HostPort,
  via: ProxyServer | undefined,
  cause: NgrokdError,
): NgrokdError {
  const way = via === undefined ? "" : ` through the proxy "${proxyText(via)}"`;
  return new NgrokdError(
    "timeout",
    `Cannot connect to "${hostPortText(ingress)}"${way}: no answer in time`,
    {
      hint: "does a firewall drop what goes to this host and port?",
      cause,
    },
  );
}

function hangsUp(cause: NgrokdError | undefined): NgrokdError {
  return new NgrokdError("aborted", "The ingress closes every new connection at once", {
    hint: "it may not know this client certificate, or be restarting; `ngrokd doctor` tells more",
    cause,
  });
}

/**
 * What a connection that broke before the answer most likely means. With TLS
 * 1.3 a refused client certificate shows only now, as an alert.
 */
function explained(error: unknown): unknown {
  if (isNgrokdError(error, "tls") && error.hint === undefined) return refusedUs(error);
  if (isNgrokdError(error, "aborted")) {
    return new NgrokdError("aborted", "The ingress reset the connection before it had answered", {
      hint: "if it goes on, it may not know this client certificate; see `ngrokd status`",
      cause: error,
      details: { ...error.details },
    });
  }
  return error;
}

function refusedUs(error: NgrokdError): NgrokdError {
  return new NgrokdError("tls", `The ingress refused our client certificate: ${error.message}`, {
    hint: refusedCertificate,
    cause: error,
    details: { ...error.details },
  });
}
