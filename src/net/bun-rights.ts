/**
 * Unix datagrams, and descriptors that are passed between processes, by
 * sendmsg(2) and recvmsg(2) of the C library: Bun has neither.
 */
import { closeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  controlLengthIn,
  controlOf,
  controlSize,
  descriptorsIn,
  messageHeader,
  mostDescriptors,
} from "../linux/rights.ts";
import { NgrokdError } from "../model/error.ts";
import { errnoName, errnoNow, type Libc, libcNow, socketAddress } from "./bun-libc.ts";

/**
 * Sends descriptors over an open unix socket. `descriptor` returns undefined
 * once the socket is gone. Rejects with NgrokdError `network`.
 */
export async function sendDescriptors(
  descriptor: () => number | undefined,
  descriptors: readonly number[],
): Promise<void> {
  const calls = await messageCalls("Cannot pass descriptors");
  for (let i = 0; i < descriptors.length; i += mostDescriptors) {
    const some = descriptors.slice(i, i + mostDescriptors);
    for (;;) {
      const socket = descriptor();
      if (socket === undefined || socket < 0)
        throw failed("Cannot pass descriptors: the connection is gone");
      const errno = sendOne(calls, socket, { bytes: Uint8Array.of(some.length), some });
      if (errno === undefined) break;
      // Without room: the receiver has to read first.
      if (!["EAGAIN", "ETOOMANYREFS", "EINTR"].includes(errno))
        throw failed(`Cannot pass descriptors: ${errno}`);
      await sleep(pauseMs);
    }
  }
}

/** {@link Net.datagram}. */
export async function sendDatagram(
  path: string,
  text: string,
  descriptors: readonly number[] = [],
): Promise<boolean> {
  try {
    const calls = await messageCalls("Cannot send a datagram");
    const [address, bytes] = [socketAddress(path), new TextEncoder().encode(text)];
    const socket = calls.socket(unixFamily, datagrams, 0);
    if (socket < 0) return false;
    try {
      return sendOne(calls, socket, { bytes, some: descriptors, address }) === undefined;
    } finally {
      calls.close(socket);
    }
  } catch {
    return false; // No such library, or none that can be called.
  }
}

/**
 * Connects to a unix listener, sends `request`, and returns the descriptors
 * that come back until the end. No child process inherits them. Rejects with
 * NgrokdError `network`, or with the signal's reason.
 */
export async function receiveDescriptors(
  path: string,
  request: string,
  signal: AbortSignal,
): Promise<readonly number[]> {
  const calls = await messageCalls("Cannot take over descriptors");
  const socket = calls.socket(unixFamily, stream, 0);
  if (socket < 0) throw failed(`Cannot take over descriptors: ${errnoName(errnoNow())}`);
  const received: number[] = [];
  try {
    const address = socketAddress(path);
    if (calls.connect(socket, address, address.length) !== 0)
      throw failed(`Cannot connect to "${path}": ${errnoName(errnoNow())}`);
    const bytes = new TextEncoder().encode(request);
    const errno = sendOne(calls, socket, { bytes, some: [] });
    if (errno !== undefined) throw failed(`Cannot ask "${path}" for descriptors: ${errno}`);
    while (await receiveOne(calls, socket, received)) signal.throwIfAborted();
    return received;
  } catch (error) {
    for (const one of received) closeSync(one);
    throw error;
  } finally {
    calls.close(socket);
  }
}

type MessageCalls = Libc & { readonly ptr: (bytes: NodeJS.TypedArray) => number };

/** The calls of this file. Rejects if this system does not have them. */
async function messageCalls(action: string): Promise<MessageCalls> {
  if (process.platform !== "linux") throw failed(`${action}: only Linux can`);
  try {
    const { ptr } = await import("bun:ffi");
    return { ...(await libcNow()), ptr };
  } catch (error) {
    throw failed(`${action}: no C library can be called`, error);
  }
}

/** Returns the name of the error; undefined if all was sent. */
function sendOne(
  calls: MessageCalls,
  socket: number,
  message: { bytes: Uint8Array; some: readonly number[]; address?: Uint8Array },
): string | undefined {
  const { ptr } = calls;
  const { bytes, some, address } = message;
  const control = some.length === 0 ? undefined : controlOf(some);
  const parts = new BigUint64Array([BigInt(ptr(bytes)), BigInt(bytes.length)]);
  const header = messageHeader({
    name: address === undefined ? 0 : ptr(address),
    nameLength: address?.length ?? 0,
    parts: ptr(parts),
    control: control === undefined ? 0 : ptr(control),
    controlLength: control?.length ?? 0,
  });
  const sent = Number(calls.sendmsg(socket, header, noSignal | dontWait));
  return sent === bytes.length ? undefined : errnoName(errnoNow());
}

/** Adds what one message brings. Returns false at the end. */
async function receiveOne(
  calls: MessageCalls,
  socket: number,
  received: number[],
): Promise<boolean> {
  const { ptr } = calls;
  const [bytes, control] = [new Uint8Array(1), new Uint8Array(controlSize(mostDescriptors))];
  const parts = new BigUint64Array([BigInt(ptr(bytes)), BigInt(bytes.length)]);
  const place = { name: 0, nameLength: 0, parts: ptr(parts) };
  const header = messageHeader({
    ...place,
    control: ptr(control),
    controlLength: control.length,
  });
  const length = Number(calls.recvmsg(socket, header, closeOnExec | dontWait));
  if (length >= 0) {
    received.push(...descriptorsIn(control.subarray(0, controlLengthIn(header))));
    return length > 0;
  }
  const errno = errnoName(errnoNow());
  if (errno !== "EAGAIN" && errno !== "EINTR")
    throw failed(`Cannot take over descriptors: ${errno}`);
  await sleep(pauseMs);
  return true;
}

const failed = (text: string, cause?: unknown): NgrokdError =>
  new NgrokdError("network", text, { cause });

const pauseMs = 1;
// From Linux's headers: AF_UNIX; SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
// SOCK_DGRAM | SOCK_CLOEXEC; MSG_DONTWAIT, MSG_NOSIGNAL, MSG_CMSG_CLOEXEC.
const unixFamily = 1;
const stream = 1 | 0o2000000 | 0o4000;
const datagrams = 2 | 0o2000000;
const [dontWait, noSignal, closeOnExec] = [0x40, 0x4000, 0x40000000];
