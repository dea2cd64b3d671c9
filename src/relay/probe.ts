/** Finds the places at which other programs listen. */
import { isNgrokdError } from "../model/error.ts";
import type { AnyIp } from "../model/ip.ts";
import { listeningKey, listeningPlaces } from "../net/proc-net.ts";
import type { Net } from "../net/types.ts";

export interface Place<I extends AnyIp = AnyIp> {
  readonly ip: I;
  readonly port: number;
}

/**
 * The addresses on which another program listens at one of these ports. Binds
 * each place briefly, but if there are many, only those that the system's list
 * of sockets leaves open: thousands of new names wait for it.
 */
export async function probe<I extends AnyIp>(
  net: Pick<Net, "listen">,
  places: readonly Place<I>[],
  listening = listeningPlaces,
): Promise<ReadonlySet<I>> {
  const taken = new Set<I>();
  const doubtful = places.length < many ? places : doubtfulAmong(places, await listed(listening));
  for (const { ip, port } of doubtful) {
    try {
      const trial = await net.listen({ host: ip, port }, (conn) => conn.abort(), { trial: true });
      trial.close();
    } catch (error) {
      if (isNgrokdError(error, "address-in-use")) taken.add(ip);
    }
  }
  return taken;
}

/** From here on the list costs less than the trials. */
const many = 100;

/**
 * Asked twice: the kernel lists the sockets in pieces, and can leave one out if
 * another one closes during it.
 */
async function listed(listening: typeof listeningPlaces): Promise<ReadonlySet<string>> {
  const [once, again] = [await listening(), await listening()];
  return once === undefined || again === undefined ? new Set() : once.union(again);
}

/**
 * Pure: the places that one of these sockets may have, by `listeningKey`. A
 * socket of IPv6 may take IPv4 too. Some sandboxes list nothing, which means
 * nothing.
 */
export function doubtfulAmong<P extends Place>(
  places: readonly P[],
  listening: ReadonlySet<string>,
): readonly P[] {
  if (listening.size === 0) return places;
  const [ports, widePorts] = [new Set<number>(), new Set<number>()];
  for (const key of listening) {
    const [address = "", digits = ""] = key.split(":");
    const port = Number.parseInt(digits, 16);
    ports.add(port);
    if (address.length > ipv4Length || /^0+$/.test(address)) widePorts.add(port);
  }
  // Few ports are in use, so most places need no key.
  const isListed = ({ ip, port }: P): boolean =>
    ports.has(port) && listening.has(listeningKey(ip, port));
  return places.filter(
    (place) => place.ip.includes(":") || widePorts.has(place.port) || isListed(place),
  );
}

/** The digits of an IPv4 address in a key. */
const ipv4Length = 8;
