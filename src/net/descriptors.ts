import { readFileSync } from "node:fs";
import { closing } from "./closing.ts";
import { coded, listenFailed } from "./errors.ts";
import type { Address, Descriptors } from "./types.ts";

/**
 * Counts the sockets of one net. A listener without a free descriptor cannot
 * accept a waiting connection, and its event loop spins with a whole CPU (Bun
 * 1.4.5: oven-sh/bun#32705). A dial then fails with a misleading ECONNREFUSED.
 * So new sockets are refused while some descriptors are left: accepted ones
 * first, then dialed ones.
 */
export interface DescriptorAccount extends Descriptors {
  /**
   * Counts one more socket. Returns false if that is too many: it must be
   * closed at once. In both cases {@link give} follows.
   */
  take(use: "accept" | "dial"): boolean;
  give(): void;
  /**
   * Opens a listener or a UDP socket, and counts it until it is closed. Its
   * close() becomes idempotent. Rejects as `open` does, or if listeners have
   * too many descriptors.
   */
  counted<T extends { close(): void }>(address: Address, open: () => T | Promise<T>): Promise<T>;
}

/**
 * The size of one reserve. There are three of them. The last is for files and
 * everything else that is not counted here. One is for the dials of accepted
 * connections. One is for the clients of the control socket and of the health
 * server, which must get in with any number of carried connections.
 */
const reserve = 64;

/**
 * The share of the descriptors for listeners; the rest is for connections:
 * 10,000 endpoints fit into a limit of 20,000.
 */
const listenersShare = 0.6;

/** An empty account. The limit is read once, when it is needed. */
export function createDescriptorAccount(readLimit = softLimit): DescriptorAccount {
  let known: number | undefined;
  let [taken, listeners, turnedAway] = [0, 0, 0];

  const limit = (): number => {
    known ??= readLimit();
    return known;
  };
  const spare = (): number => Math.min(reserve, limit() / 8);
  const giveListener = (): void => {
    listeners -= 1;
    taken -= 1;
  };

  return {
    get limit() {
      return limit();
    },
    get turnedAway() {
      return turnedAway;
    },
    room: (others) => Math.max(0, Math.floor((limit() - 3 * spare() - listeners - others) / 2)),
    take(use) {
      taken += 1;
      const fits = taken <= limit() - (use === "accept" ? 2 : 1) * spare();
      if (!fits && use === "accept") turnedAway += 1;
      return fits;
    },
    give() {
      taken -= 1;
    },
    async counted(address, open) {
      if (listeners >= limit() * listenersShare) throw listenFailed(address, coded("EMFILE"));
      listeners += 1;
      taken += 1;
      try {
        return closing(await open(), giveListener);
      } catch (error) {
        giveListener();
        throw error;
      }
    },
  };
}

/**
 * Linux only. Other systems have no cheap way to ask, and the limit counts as
 * unknown.
 */
function softLimit(): number {
  try {
    const match = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return match === null ? Number.POSITIVE_INFINITY : Number(match[1]);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
