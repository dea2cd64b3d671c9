/**
 * Descriptors in a message between two processes: SCM_RIGHTS of unix(7). Pure:
 * bytes and values. All that Bun runs on is little-endian, with 64 bits.
 */

/** The kernel takes no more in one message (SCM_MAX_FD). */
export const mostDescriptors = 253;

/** SOL_SOCKET, SCM_RIGHTS; the length of a struct cmsghdr. */
const [socketLevel, rights, header] = [1, 1, 16];

/** The bytes of control data for so many descriptors. */
export const controlSize = (count: number): number => header + Math.ceil((4 * count) / 8) * 8;

/** Control data that passes these descriptors. */
export function controlOf(descriptors: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(controlSize(descriptors.length));
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(header + 4 * descriptors.length), true);
  view.setInt32(8, socketLevel, true);
  view.setInt32(12, rights, true);
  for (const [i, descriptor] of descriptors.entries())
    view.setInt32(header + 4 * i, descriptor, true);
  return bytes;
}

/** The descriptors in received control data; the inverse of controlOf. */
export function descriptorsIn(control: Uint8Array): number[] {
  const view = new DataView(control.buffer, control.byteOffset, control.byteLength);
  const found: number[] = [];
  for (let at = 0; at + header <= control.length; ) {
    const length = Number(view.getBigUint64(at, true));
    if (length < header || at + length > control.length) break;
    const isRights = view.getInt32(at + 8, true) === socketLevel;
    if (isRights && view.getInt32(at + 12, true) === rights)
      for (let next = at + header; next + 4 <= at + length; next += 4)
        found.push(view.getInt32(next, true));
    at += Math.ceil(length / 8) * 8;
  }
  return found;
}

/** Where the parts of a message are in memory; 0 for a missing one. */
export interface MessageParts {
  /** The address of the receiver of a datagram. */
  readonly name: number;
  readonly nameLength: number;
  /** The struct iovec. */
  readonly parts: number;
  readonly control: number;
  readonly controlLength: number;
}

/** A struct msghdr. */
export const messageHeader = (of: MessageParts): BigUint64Array<ArrayBuffer> =>
  new BigUint64Array(
    [of.name, of.nameLength, of.parts, 1, of.control, of.controlLength, 0].map(BigInt),
  );

/** Where recvmsg(2) writes the length of the control data. */
export const controlLengthIn = (message: BigUint64Array): number => Number(message[5] ?? 0n);
