/** The part of a dial that is the same on every runtime: names to addresses, one after another, under one signal. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import { gaveUp, lookupFailed } from "./errors.ts";
import { type Address, addressText, type Conn, type DialOptions, type TlsClientOptions } from "./types.ts";

/** One attempt at an IP address and port, or a path. It must end soon after `signal` aborts. */
export type DialOne = (target: Address, tls: TlsClientOptions | undefined, signal: AbortSignal | undefined) => Promise<Conn>;

/**
 * Dials the addresses that a name has, in the resolver's order, until one answers; only `network` failures move on to the next. What it
 * rejects with is the last one's failure. An IP or a path is dialed as it is.
 */
export async function dialEach(address: Address, { tls, signal }: DialOptions, dialOne: DialOne): Promise<Conn> {
  if (signal?.aborted) throw gaveUp(address, signal.reason);
  // Bun 1.4.5 takes an empty list for the system's roots; the seam promises that nothing else is trusted.
  if (tls !== undefined && tls.ca.length === 0 && tls.insecureSkipVerify !== true) throw nothingTrusted(address);
  let failure: unknown;
  for (const target of await targets(address, signal)) {
    try {
      return await dialOne(target, tls, signal);
    } catch (error) {
      if (!isNgrokdError(error, "network")) throw error;
      failure = error;
    }
  }
  throw failure;
}

/** Settles as `work` does, except that an aborted signal rejects it at once and calls `stop`. */
export function underSignal<T>(address: Address, signal: AbortSignal | undefined, work: Promise<T>, stop: () => void): Promise<T> {
  if (signal === undefined) return work;
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const onAbort = () => {
    reject(gaveUp(address, signal.reason));
    stop();
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  void work.then(resolve, reject).then(() => signal.removeEventListener("abort", onAbort));
  return promise;
}

async function targets(address: Address, signal: AbortSignal | undefined): Promise<Address[]> {
  if ("path" in address || isIP(address.host) !== 0) return [address];
  const { host, port } = address;
  const looking = lookup(host, { all: true }).catch((error) => {
    throw lookupFailed(host, error);
  });
  const found = await underSignal(address, signal, looking, () => undefined);
  return found.map((entry) => ({ host: entry.address, port }));
}

function nothingTrusted(address: Address): NgrokdError {
  const message = `Cannot connect to "${addressText(address)}" over TLS: no CA is trusted, since none was given`;
  return new NgrokdError("tls", message, { details: { reason: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY" } });
}
