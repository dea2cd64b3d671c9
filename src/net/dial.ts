/**
 * The part of a dial that all runtimes share: the lookup of names, a race
 * between addresses, and the way through a proxy.
 */
import { lookup } from "node:dns/promises";
import { clearTimeout, setTimeout } from "node:timers";
import { onAbort, type Signal } from "../model/abort.ts";
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import type { HostPort } from "../model/host-port.ts";
import type { ProxyServer } from "../model/proxy.ts";
import { gaveUp, lookupFailed } from "./errors.ts";
import { isIP } from "./is-ip.ts";
import type { PullConn } from "./pull.ts";
import { dialStagger } from "./timeouts.ts";
import { openTunnel, tunnelFailed } from "./tunnel.ts";
import {
  type Address,
  addressText,
  type Conn,
  type DialOptions,
  type TlsClientOptions,
} from "./types.ts";

/**
 * One attempt at an IP address and port, or a path. It calls `connected` once
 * TCP is up, before TLS, and must end soon after `signal` aborts.
 */
export type Attempt<C> = (
  target: Address,
  signal: Signal | undefined,
  connected: () => void,
) => Promise<C>;

/** The part of a dial that each runtime has for itself. */
export interface Dialer<S> {
  /** Dials one address, with TLS if `tls` is given. */
  dial(
    target: Address,
    tls: TlsClientOptions | undefined,
    signal: Signal | undefined,
    connected: () => void,
  ): Promise<PullConn<S>>;
  /**
   * Starts TLS with `target` over a plain connection without a pending read.
   * `again` makes another one like it.
   */
  secure(
    target: Address,
    plain: PullConn<S>,
    tls: TlsClientOptions,
    signal: Signal | undefined,
    again: Again<S>,
  ): Promise<PullConn<S>>;
}
export type Again<S> = (signal: Signal | undefined) => Promise<PullConn<S>>;

/** {@link Net.dial} for every runtime. */
export async function dialAny<S>(
  address: Address,
  { tls, via, signal, connected: told }: DialOptions,
  dialer: Dialer<S>,
): Promise<Conn> {
  if (signal?.aborted) throw gaveUp(address, signal.reason);
  // Bun 1.4.5 takes an empty list for the system's roots; the seam promises
  // that nothing else is trusted.
  if (tls !== undefined && tls.ca.length === 0 && tls.insecureSkipVerify !== true)
    throw nothingTrusted(address);
  if (via === undefined || "path" in address) {
    return await dialEach(address, signal, (target, stop, connected) =>
      dialer.dial(target, tls, stop, () => {
        connected();
        told?.();
      }),
    );
  }
  const through: Again<S> = (stop) => dialThrough(address, via, stop, dialer, tls !== undefined);
  const plain = await through(signal);
  told?.();
  if (tls === undefined) return plain;
  try {
    return await dialer.secure(address, plain, tls, signal, through);
  } catch (error) {
    const said = isNgrokdError(error, "tls") ? ofTheWay[String(error.details.reason)] : undefined;
    throw said === undefined ? error : tunnelFailed(via, address, behindIt(said, error));
  }
}

/**
 * By the reason of a failed handshake: the proxy's fault or the target's. Other
 * reasons, such as a verdict on a certificate, are the target's alone.
 */
const ofTheWay: Readonly<Record<string, string>> = {
  ECONNRESET: "the connection was closed during the TLS handshake",
  WRONG_VERSION_NUMBER: "the data after that is not TLS",
};

function behindIt(said: string, cause: unknown): NgrokdError {
  return new NgrokdError("network", `it accepted the tunnel, but ${said}`, {
    cause,
    hint: "the proxy may block this host or this kind of TLS after it accepts the tunnel; see its log",
  });
}

/**
 * A plain connection with `target` through `via`. With `silent`, as for TLS, it
 * is an error if the target speaks first.
 */
async function dialThrough<S>(
  target: HostPort,
  via: ProxyServer,
  signal: Signal | undefined,
  { dial }: Dialer<S>,
  silent: boolean,
) {
  const connecting = dialEach(
    { host: via.host, port: via.port },
    signal,
    (proxy, stop, connected) => dial(proxy, undefined, stop, connected),
  );
  const conn = await connecting.catch((error: unknown) => {
    throw signal?.aborted ? error : tunnelFailed(via, target, error);
  });
  try {
    const rest = await underSignal(target, signal, openTunnel(conn, via, target), () =>
      conn.abort(),
    );
    if (silent && rest.length > 0)
      throw tunnelFailed(
        via,
        target,
        new NgrokdError("protocol", "the other side sent data before TLS began"),
      );
    conn.unread(rest);
    return conn;
  } catch (error) {
    conn.abort();
    throw error;
  }
}

/** The lookup of names and the clock; tests replace them. */
export interface Surroundings {
  lookup(host: string): Promise<readonly { address: string }[]>;
  /** Calls back after `ms`, unless the returned function is called before. */
  later(ms: number, call: () => void): () => void;
}

const real: Surroundings = {
  lookup: (host) => lookup(host, { all: true }),
  later(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

/**
 * Dials the addresses of a name in the manner of happy eyeballs (RFC 8305).
 * Both families take turns. Each attempt starts a moment after the previous
 * one, or at its failure, until one is connected. Then the others are
 * cancelled. Only after `network` failures do the others go on. It rejects with
 * the last failure. An IP or a path is dialed unchanged.
 */
export async function dialEach<C>(
  address: Address,
  signal: Signal | undefined,
  attempt: Attempt<C>,
  around = real,
): Promise<C> {
  const [first, ...others] = await targets(address, signal, around);
  if (first === undefined) throw lookupFailed(addressText(address), new Error("it has no address"));
  return others.length === 0
    ? await attempt(first, signal, () => undefined)
    : await race(address, [first, ...others], signal, attempt, around);
}

function race<C>(
  address: Address,
  targets: Address[],
  signal: Signal | undefined,
  attempt: Attempt<C>,
  { later }: Surroundings,
): Promise<C> {
  const { promise, resolve, reject } = Promise.withResolvers<C>();
  const running = new Set<AbortController>();
  const queue = [...targets];
  let winner: AbortController | undefined;
  let cancelNext = (): void => undefined;

  const start = (): void => {
    cancelNext();
    const target = queue.shift();
    if (target === undefined) return;
    if (queue.length > 0) cancelNext = later(dialStagger, start);
    const stop = new AbortController();
    running.add(stop);
    const settled = (conn: C): void => {
      won(stop);
      resolve(conn);
    };
    attempt(target, stop.signal, () => won(stop)).then(settled, (error: unknown) =>
      lost(stop, error),
    );
  };
  const won = (stop: AbortController): void => {
    if (winner !== undefined || !running.has(stop)) return;
    winner = stop;
    finish(stop);
  };
  const lost = (stop: AbortController, error: unknown): void => {
    if (!running.delete(stop)) return;
    const last = queue.length === 0 && running.size === 0;
    if (stop !== winner && isNgrokdError(error, "network") && !last) start();
    else {
      finish();
      reject(error);
    }
  };
  const finish = (except?: AbortController, reason?: unknown): void => {
    cancelNext();
    queue.length = 0;
    for (const stop of running) {
      if (stop === except) continue;
      running.delete(stop);
      stop.abort(reason);
    }
  };
  start();
  return underSignal(address, signal, promise, () => finish(undefined, signal?.reason));
}

/**
 * Settles as `work` does, except that an aborted signal rejects it at once and
 * calls `stop`.
 */
export function underSignal<T>(
  address: Address,
  signal: Signal | undefined,
  work: Promise<T>,
  stop: () => void,
): Promise<T> {
  if (signal === undefined) return work;
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const unhook = onAbort(signal, () => {
    reject(gaveUp(address, signal.reason));
    stop();
  });
  void work.then(resolve, reject).then(unhook);
  return promise;
}

async function targets(
  address: Address,
  signal: Signal | undefined,
  around: Surroundings,
): Promise<Address[]> {
  if ("path" in address || isIP(address.host) !== 0) return [address];
  const { host, port } = address;
  const looking = around.lookup(host).catch((error) => {
    throw lookupFailed(host, error);
  });
  const found = await underSignal(address, signal, looking, () => undefined);
  return interleaved([...new Set(found.map((entry) => entry.address))]).map((ip) => ({
    host: ip,
    port,
  }));
}

/**
 * Both families in turn, with the resolver's first choice first, in its order
 * within each (RFC 8305, section 4).
 */
export function interleaved(ips: readonly string[]): string[] {
  const first = isIP(ips[0] ?? "");
  const ofFirst = ips.filter((ip) => isIP(ip) === first);
  const others = ips.filter((ip) => isIP(ip) !== first);
  return Array.from({ length: Math.max(ofFirst.length, others.length) }, (_, i) => [
    ofFirst[i],
    others[i],
  ])
    .flat()
    .filter((ip) => ip !== undefined);
}

function nothingTrusted(address: Address): NgrokdError {
  const message = `Cannot connect to "${addressText(address)}" over TLS: no CA is trusted, since none was given`;
  return new NgrokdError("tls", message, {
    details: { reason: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY" },
  });
}
