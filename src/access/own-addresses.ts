import { networkInterfaces } from "node:os";

/** How long the addresses are believed, in milliseconds. */
const restMs = 1000;

/**
 * Returns whether an address is one of this machine's interfaces. They are read
 * at most once a second: a stranger must not make the daemon busy. A known
 * address is read again too, since another machine may have it by now.
 */
export function createOwnAddresses(
  interfaces = networkInterfaces,
  now = () => performance.now(),
): (address: string) => boolean {
  let known: ReadonlySet<string> = new Set();
  let readAt = Number.NEGATIVE_INFINITY;
  return (address) => {
    if (now() - readAt >= restMs) {
      readAt = now();
      const lists = Object.values(interfaces());
      known = new Set(lists.flatMap((list = []) => list.map((one) => one.address)));
    }
    return known.has(address);
  };
}
