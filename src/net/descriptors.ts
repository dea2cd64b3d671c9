/**
 * Counts the sockets of this process. A listener that runs out of descriptors
 * cannot take a waiting connection off the kernel and spins on it with a whole
 * CPU (Bun 1.4.5: oven-sh/bun#32705), and a dial then fails with a misleading
 * ECONNREFUSED. So newcomers are turned away while there are still some left:
 * first those that arrive, then those that we dial.
 */
import { readFileSync } from "node:fs";
import { coded, listenFailed } from "./errors.ts";
import type { Address, Listener } from "./types.ts";

/**
 * A reserve, of which three are kept: the last for files, HTTP servers and
 * everything else that does not come by here; one for the dials of what was
 * accepted; and one for the clients of the control socket, who must get in
 * however many connections are carried.
 */
const reserve = 64;

let limit: number | undefined;
let taken = 0;
let listeners = 0;
let refused = 0;

/**
 * Counts one more, and says whether that is within bounds; if not, it must be
 * closed at once. In any case {@link giveDescriptor} follows.
 */
export function takeDescriptor(use: "accept" | "dial"): boolean {
  taken++;
  const fits = taken <= descriptorLimit() - (use === "accept" ? 2 : 1) * spare();
  if (!fits && use === "accept") refused++;
  return fits;
}

export function giveDescriptor(): void {
  taken--;
}

/**
 * What listeners may take of all descriptors, so that some are left to accept
 * with: 10,000 endpoints fit into a limit of 20,000.
 */
const listenersShare = 0.6;

/** Opens a listener and counts it until it is closed. */
export async function countedListener(
  address: Address,
  open: () => Listener | Promise<Listener>,
): Promise<Listener> {
  if (listeners >= descriptorLimit() * listenersShare) throw listenFailed(address, coded("EMFILE"));
  listeners++;
  taken++;
  const give = (): void => {
    listeners--;
    taken--;
  };
  try {
    const listener = await open();
    return {
      address: listener.address,
      close: once(() => {
        listener.close();
        give();
      }),
    };
  } catch (error) {
    give();
    throw error;
  }
}

/**
 * How many connections of two sockets each have room at once, beside listeners,
 * `others` sockets and reserves; Infinity without a known limit.
 */
export function connectionRoom(others: number): number {
  return Math.max(0, Math.floor((descriptorLimit() - 3 * spare() - listeners - others) / 2));
}

/** How many accepted sockets were closed at once since there were too many. */
export function turnedAway(): number {
  return refused;
}

/**
 * How many files this process may have open; Infinity where that is unknown.
 */
export function descriptorLimit(): number {
  limit ??= softLimit();
  return limit;
}

const spare = (): number => Math.min(reserve, descriptorLimit() / 8);

function once(work: () => void): () => void {
  let done = false;
  return () => {
    if (!done) work();
    done = true;
  };
}

/**
 * Linux only: elsewhere a process has no cheap way to ask, and the limit counts
 * as unknown.
 */
function softLimit(): number {
  try {
    const match = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return match === null ? Number.POSITIVE_INFINITY : Number(match[1]);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
