import { isNgrokdError, NgrokdError } from "../model/error.ts";
import type { ProxyServer } from "../model/proxy.ts";
import type { Conn, Net, TlsClientOptions } from "../net/types.ts";
import { createFrameReader, decodeConnResponse, encodeConnRequest } from "./frame.ts";
import { createLimiter } from "./limiter.ts";
import { createPool, type PoolLimits } from "./pool.ts";
import { createSessions } from "./sessions.ts";
import { describeTlsFailure, refusedCertificate } from "./trust.ts";

/** The way to ngrok's ingress as it is now; read anew for every dial, so a renewed certificate or CA counts at once. */
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

/** What the ingress answered to one request. A refusal is an answer, not an exception. */
export type Opened =
  | {
      readonly kind: "accepted";
      readonly conn: Conn;
      /** Bytes of the stream that came with the answer; they go to the client first. May be empty. */
      readonly first: Uint8Array;
      readonly endpointId: string;
      readonly proto: string;
      readonly notices: readonly string[];
    }
  | { readonly kind: "refused"; readonly code: string; readonly message: string; readonly notices: readonly string[] };

export interface Ingress {
  /**
   * A connection to the endpoint `host:port`, ready to carry its bytes. `signal` bounds waiting, dial, TLS and header together.
   * Rejects with NgrokdError: what {@link Net.dial} rejects with, `protocol` for an answer that is none, or the signal's reason.
   */
  open(target: { host: string; port: number }, signal: AbortSignal): Promise<Opened>;
  /** Forgets ready connections and sessions: call it whenever the settings, or the network, are others than before. */
  renew(): void;
  /** Makes ready what the pool's limits ask for; call it when they may have changed. */
  prepare(): void;
  /** Dials no more and drops what is ready; connections that are in use go on. */
  close(): void;
  readonly stats: IngressStats;
  /** Why the latest dial failed, the pool's included; undefined once one has succeeded. */
  readonly trouble: NgrokdError | undefined;
}

/** Counters since the start, apart from `ready` and `patienceMs`, which are as of now. */
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

/** Dials at once, in all; the others wait in order. Bun serves the latest handshake first, and the earliest of many would wait for ever. */
const dialsAtOnce = 16;
export const noPool: PoolLimits = { min: 0, max: 0, idleTimeoutMs: 0 };

/**
 * The client side of the binding protocol (protocol.md section 3). A request takes a connection that the pool has ready, or dials. No byte
 * of a client's leaves before the answer, so a ready connection that proves dead costs a dial and nothing else.
 */
export function createIngress(net: Net, settings: () => IngressSettings, limits: () => PoolLimits = () => noPool): Ingress {
  const dials = createLimiter(dialsAtOnce);
  const count = { hits: 0, misses: 0, retries: 0, dials: 0 };
  const pool = createPool({ dial, limits });
  let sessions = createSessions();
  let trouble: NgrokdError | undefined;

  return {
    async open(target, signal) {
      const ready = pool.take();
      if (ready !== undefined) {
        try {
          const opened = await upgrade(ready.conn, target, signal, ready.first);
          count.hits += 1;
          return opened;
        } catch (error) {
          if (signal.aborted || isNgrokdError(error, "protocol")) throw error;
          count.retries += 1;
          pool.provedDead(ready);
        }
      }
      count.misses += 1;
      return await upgrade(await dial(signal), target, signal);
    },
    renew() {
      sessions = createSessions();
      pool.renew();
    },
    prepare: pool.prepare,
    close: pool.close,
    get stats() {
      return { ...count, ready: pool.idle, patienceMs: pool.patienceMs };
    },
    get trouble() {
      return trouble;
    },
  };

  function dial(signal: AbortSignal): Promise<Conn> {
    return dials.run(async () => {
      count.dials += 1;
      const { host, port, resume, via, ...tls } = settings();
      try {
        const conn = await net.dial(
          { host, port },
          { tls: { serverName: host, ...tls, sessions: resume ? sessions : undefined }, via, signal },
        );
        trouble = undefined;
        return conn;
      } catch (error) {
        if (isNgrokdError(error) && !signal.aborted) trouble = isNgrokdError(error, "tls") ? describeTlsFailure(error) : error;
        throw error;
      }
    }, signal);
  }
}

/**
 * Asks for one endpoint on a handshaken connection that nobody has used; it is aborted unless the answer is "accepted". `first` is the read
 * that already waits on it, if one does.
 */
export async function upgrade(
  conn: Conn,
  target: { host: string; port: number },
  signal: AbortSignal,
  first?: Promise<Uint8Array | null>,
): Promise<Opened> {
  const giveUp = (): void => conn.abort();
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    signal.throwIfAborted();
    await conn.write(encodeConnRequest(target));
    const { payload, rest } = await readFrame(conn, first);
    const reply = decodeConnResponse(payload);
    if (!reply.ok) throw new NgrokdError("protocol", `The ingress answered nonsense for "${target.host}": ${reply.reason}`);
    if (reply.value.kind === "accepted") return { ...reply.value, conn, first: rest };
    conn.close();
    return reply.value;
  } catch (error) {
    conn.abort();
    if (signal.aborted) throw signal.reason;
    throw explained(error);
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

async function readFrame(conn: Conn, first: Promise<Uint8Array | null> | undefined): Promise<{ payload: Uint8Array; rest: Uint8Array }> {
  const feed = createFrameReader();
  let seen = 0;
  let waiting = first;
  for (;;) {
    const bytes = await (waiting ?? conn.read());
    waiting = undefined;
    if (bytes === null)
      throw seen < 2 ? unknownCertificate() : new NgrokdError("protocol", "The ingress closed in the middle of its answer");
    seen += bytes.length;
    const split = feed(bytes);
    if (split.kind === "frame") return split;
  }
}

/** Closing before the length bytes is how this ingress says that it does not know a certificate. Source: protocol.md section 3. */
function unknownCertificate(): NgrokdError {
  return new NgrokdError(
    "tls",
    "The ingress closed the connection without an answer; it usually means that it does not know this client certificate",
    {
      hint: "was the operator deleted in ngrok's dashboard, or does the certificate belong to another account? see `ngrokd status`",
    },
  );
}

/** What a connection that broke before the answer most likely means. With TLS 1.3 a refused client certificate shows only now, as an alert. */
function explained(error: unknown): unknown {
  if (isNgrokdError(error, "tls") && error.hint === undefined) {
    return new NgrokdError("tls", `The ingress refused our client certificate: ${error.message}`, {
      hint: refusedCertificate,
      cause: error,
      details: { ...error.details },
    });
  }
  if (isNgrokdError(error, "aborted")) {
    return new NgrokdError("aborted", "The ingress reset the connection before it had answered", {
      hint: "if it goes on, it may not know this client certificate; see `ngrokd status`",
      cause: error,
      details: { ...error.details },
    });
  }
  return error;
}
