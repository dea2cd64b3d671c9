/**
 * Messages between processes, with the descriptors that they pass: sendmsg(2)
 * and recvmsg(2) of the C library.
 */
import {
  controlLengthIn,
  controlOf,
  controlSize,
  descriptorsIn,
  messageHeader,
  mostDescriptors,
} from "../linux/rights.ts";
import { errnoName, errnoNow, type Libc } from "./bun-libc.ts";

/** The calls of this file, and the address of some bytes (bun:ffi). */
export type MessageCalls = Libc & { readonly ptr: (bytes: NodeJS.TypedArray) => number };

export interface Message {
  readonly bytes: Uint8Array;
  readonly descriptors: readonly number[];
}

// From Linux's headers: MSG_DONTWAIT, MSG_NOSIGNAL, MSG_CMSG_CLOEXEC.
export const dontWait = 0x40;
const [noSignal, closeOnExec] = [0x4000, 0x40000000];

/**
 * Sends a message, to `address` (a struct sockaddr) if the socket is not
 * connected. Returns the name of the error; undefined if all was sent.
 */
export function sendMessage(
  calls: MessageCalls,
  socket: number,
  { bytes, descriptors, address }: Message & { readonly address?: Uint8Array },
  flags: number,
): string | undefined {
  const { ptr } = calls;
  const control = descriptors.length === 0 ? undefined : controlOf(descriptors);
  const parts = partsOf(ptr, bytes);
  const header = messageHeader({
    name: address === undefined ? 0 : ptr(address),
    nameLength: address?.length ?? 0,
    parts: ptr(parts),
    control: control === undefined ? 0 : ptr(control),
    controlLength: control?.length ?? 0,
  });
  const sent = Number(calls.sendmsg(socket, header, noSignal | flags));
  return sent === bytes.length ? undefined : errnoName(errnoNow());
}

/**
 * Takes one message of at most `size` bytes. No child process inherits its
 * descriptors. Returns the name of the error if there is none. A message
 * without bytes is the end of a stream.
 */
export function receiveMessage(
  calls: MessageCalls,
  socket: number,
  size: number,
  flags: number,
): Message | string {
  const { ptr } = calls;
  const [bytes, control] = [new Uint8Array(size), new Uint8Array(controlSize(mostDescriptors))];
  const parts = partsOf(ptr, bytes);
  const header = messageHeader({
    name: 0,
    nameLength: 0,
    parts: ptr(parts),
    control: ptr(control),
    controlLength: control.length,
  });
  const length = Number(calls.recvmsg(socket, header, closeOnExec | flags));
  if (length < 0) return errnoName(errnoNow());
  return {
    bytes: bytes.subarray(0, length),
    descriptors: descriptorsIn(control.subarray(0, controlLengthIn(header))),
  };
}

/** A struct iovec. */
const partsOf = (ptr: MessageCalls["ptr"], bytes: Uint8Array): BigUint64Array =>
  BigUint64Array.of(BigInt(ptr(bytes)), BigInt(bytes.length));
