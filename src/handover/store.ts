import type { Net } from "../net/types.ts";
import type { Change, Estate } from "./estate.ts";
import { activatedKey, controlKey, type Held, type Key } from "./handover.ts";
import { storeName } from "./inherited.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** From the unit: systemd keeps descriptors for us, whatever its version. */
export const storeVariable = "NGROKD_FD_STORE";

/**
 * Pure: the socket of systemd's store; undefined if it keeps nothing for us.
 */
export function storeSocket(env: Env): string | undefined {
  const socket = env.NOTIFY_SOCKET ?? "";
  const keeps = Number(env.FDSTORE) > 0 || env[storeVariable] === "yes";
  return keeps && /^[/@]/.test(socket) ? socket : undefined;
}

/** Pure: the message that stores a descriptor: sd_notify(3). */
export const storing = (key: Key): string => `FDSTORE=1\nFDPOLL=0\nFDNAME=${storeName(key)}`;
export const forgetting = (key: Key): string => `FDSTOREREMOVE=1\nFDNAME=${storeName(key)}`;

/**
 * Keeps the open sockets with systemd, so that clients wait instead of being
 * refused while no daemon runs. The control socket is left out: its clients try
 * again, and it says that a daemon runs. Returns the end of that, which settles
 * when all has been told.
 */
export function storeWith(
  net: Pick<Net, "datagram">,
  socket: string,
  estate: Pick<Estate, "follow">,
): () => Promise<void> {
  const stored = new Set<Key>();
  const waiting = new Map<Key, Held | undefined>();
  let telling = Promise.resolve();
  const tell = async (): Promise<void> => {
    for (const [key, held] of waiting) {
      waiting.delete(key);
      // Another socket of the same name may be there.
      if (held === undefined || stored.has(key)) await send(net, socket, forgetting(key));
      stored.delete(key);
      if (held === undefined) continue;
      stored.add(key);
      await send(net, socket, storing(key), [held.fd]);
    }
  };
  estate.follow((change) => {
    if (change.key === controlKey || change.key === activatedKey) return;
    if (waiting.size === 0) telling = telling.then(() => pause()).then(tell);
    waiting.set(change.key, heldBy(change));
  });
  return () => telling;
}

const heldBy = (change: Change): Held | undefined =>
  change.kind === "opened" ? { key: change.key, fd: change.fd } : undefined;

/** Waits a moment: a socket that closes at once needs no message. */
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, pauseMs));
const pauseMs = 20;

/** The queue of systemd may be full for a moment. */
async function send(
  net: Pick<Net, "datagram">,
  socket: string,
  text: string,
  descriptors: readonly number[] = [],
): Promise<void> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    if (await net.datagram(socket, text, descriptors)) return;
    await pause();
  }
}
const attempts = 50;
