/**
 * Unix datagrams, and descriptors that are passed between processes, by
 * sendmsg(2) and recvmsg(2) of the C library: Bun has neither.
 */
import { closeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { mostDescriptors } from "../linux/rights.ts";
import { NgrokdError } from "../model/error.ts";
import { errnoName, errnoNow, libcNow, socketAddress } from "./bun-libc.ts";
import { dontWait, type MessageCalls, receiveMessage, sendMessage } from "./bun-message.ts";

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
      const errno = sendMessage(
        calls,
        socket,
        { bytes: Uint8Array.of(some.length), descriptors: some },
        dontWait,
      );
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
      const message = { bytes, descriptors, address };
      return sendMessage(calls, socket, message, dontWait) === undefined;
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
    while (calls.connect(socket, address, address.length) !== 0) {
      const errno = errnoName(errnoNow());
      // The listener's queue is full.
      if (errno !== "EAGAIN") throw failed(`Cannot connect to "${path}": ${errno}`);
      await sleep(pauseMs);
      signal.throwIfAborted();
    }
    const bytes = new TextEncoder().encode(request);
    const errno = sendMessage(calls, socket, { bytes, descriptors: [] }, dontWait);
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

/** Adds what one message brings. Returns false at the end. */
async function receiveOne(
  calls: MessageCalls,
  socket: number,
  received: number[],
): Promise<boolean> {
  const message = receiveMessage(calls, socket, 1, dontWait);
  if (typeof message !== "string") {
    received.push(...message.descriptors);
    return message.bytes.length > 0;
  }
  if (message !== "EAGAIN" && message !== "EINTR")
    throw failed(`Cannot take over descriptors: ${message}`);
  await sleep(pauseMs);
  return true;
}

const failed = (text: string, cause?: unknown): NgrokdError =>
  new NgrokdError("network", text, { cause });

const pauseMs = 1;
// From Linux's headers: AF_UNIX; SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
// SOCK_DGRAM | SOCK_CLOEXEC.
const unixFamily = 1;
const stream = 1 | 0o2000000 | 0o4000;
const datagrams = 2 | 0o2000000;
