/**
 * How connections share the memory. A reader that is stuck holds a MiB in this
 * process (what was read last), and megabytes in the kernel (full socket
 * buffers). The runtime reads what is in a buffer in one go, so small buffers
 * bound both: with 64 KiB it is a quarter of a MiB each. Pure.
 */

const KiB = 1024;
/** The part of the memory for bytes that wait for readers. */
const part = 1 / 8;
/** What a connection may hold while the kernel chooses the sizes. */
const ample = 1024 * KiB;
/** A connection whose share is less is one too many. */
const least = 64 * KiB;
/**
 * Sizes of socket buffers. Loopback has segments of 64 KiB: with less than one,
 * each waits for a delayed acknowledgement.
 */
const [smallest, largest] = [64 * KiB, 256 * KiB];

/** The most connections for which this memory has room. */
export const roomInMemory = (memory: number): number => Math.floor((memory * part) / least);

/**
 * The size of the socket buffers of one more connection if so many are open;
 * undefined if the kernel may choose it. A smaller one bounds what one
 * connection can carry in a second over a long way, so it is for many only.
 */
export function bufferSize(open: number, memory: number): number | undefined {
  const share = (memory * part) / Math.max(1, open);
  if (share >= ample) return undefined;
  return Math.floor(Math.min(largest, Math.max(smallest, share / 4)));
}
