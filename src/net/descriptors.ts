/**
 * Counts the sockets of this process. A listener that runs out of descriptors cannot take a waiting connection off the kernel and spins
 * on it with a whole CPU (Bun 1.4.5: oven-sh/bun#32705), and a dial then fails with a misleading ECONNREFUSED. So newcomers are turned
 * away while there are still some left: first those that arrive, then those that we dial.
 */
import { readFileSync } from "node:fs";

/** Kept free for files, HTTP servers and everything else that does not come by here. */
const reserve = 64;

let limit: number | undefined;
let taken = 0;

/** Counts one more, and says whether that is within bounds; if not, it must be closed at once. In any case {@link giveDescriptor} follows. */
export function takeDescriptor(use: "accept" | "dial"): boolean {
  limit ??= softLimit();
  taken++;
  return taken <= limit - (use === "accept" ? 2 : 1) * Math.min(reserve, limit / 4);
}

export function giveDescriptor(): void {
  taken--;
}

/** Linux only: elsewhere a process has no cheap way to ask, and the limit counts as unknown. */
function softLimit(): number {
  try {
    const match = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return match === null ? Number.POSITIVE_INFINITY : Number(match[1]);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
