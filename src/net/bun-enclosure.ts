/**
 * Descriptors that pass between processes (SCM_RIGHTS), and what a program does
 * in Linux's namespaces, by the C library.
 */
import { errnoSentence } from "../model/errno.ts";
import { NgrokdError } from "../model/error.ts";
import { errnoName, errnoNow, type Libc, libcNow } from "./bun-libc.ts";
import { dontWait, type MessageCalls, receiveMessage, sendMessage } from "./bun-message.ts";
import type { ChannelMessage, Enclosure } from "./types.ts";

/** {@link Net.enclosure}. */
export async function bunEnclosure(): Promise<Enclosure> {
  const action = "Cannot make a network of its own for a program";
  if (process.platform !== "linux")
    throw new NgrokdError("network", `${action}: only Linux has namespaces`);
  const libc = await libcNow().catch((cause: unknown) => {
    throw new NgrokdError("network", `${action}: no C library can be called`, { cause });
  });
  const { ptr } = await import("bun:ffi");
  const calls: MessageCalls = { ...libc, ptr };
  return {
    channel: () => channel(libc),
    send: (descriptor, text, descriptors) => send(calls, descriptor, { text, descriptors }),
    receive: (descriptor) => receive(calls, descriptor, dontWait),
    await: (descriptor) => receive(calls, descriptor, 0) ?? null,
    raiseLoopback: () => raiseLoopback(libc),
    cover: (path, over) => cover(libc, path, over),
    leave(descriptor) {
      libc.fcntl(descriptor, setFlags, inheritNot);
      // Rights that the kernel would keep for the next program of this user.
      libc.prctl(ambient, clearAll, 0, 0, 0);
    },
  };
}

// From Linux's headers: AF_UNIX, AF_INET; SOCK_DGRAM, SOCK_SEQPACKET,
// SOCK_CLOEXEC; F_SETFD, FD_CLOEXEC.
const [unixFamily, ipv4Family] = [1, 2];
const [datagrams, packets, closeOnExec] = [2, 5, 0o2000000];
const [setFlags, inheritNot] = [2, 1];
/** SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP; MS_BIND. */
const [getInterface, setInterface, up] = [0x8913, 0x8914, 1];
const bind = 0x1000n;
/** PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL. */
const [ambient, clearAll] = [47, 4];

const textLimit = 64 * 1024;

function channel(libc: Libc): readonly [number, number] {
  const pair = new Int32Array(2);
  if (libc.socketpair(unixFamily, packets | closeOnExec, 0, pair) !== 0)
    throw failure("Cannot make a channel", errnoName(errnoNow()));
  const [ours = -1, theirs = -1] = pair;
  libc.fcntl(theirs, setFlags, 0);
  return [ours, theirs];
}

function send(
  calls: MessageCalls,
  descriptor: number,
  { text, descriptors }: ChannelMessage,
): void {
  const message = { bytes: new TextEncoder().encode(text), descriptors };
  const errno = sendMessage(calls, descriptor, message, 0);
  if (errno !== undefined) throw failure("Cannot hand over listeners", errno);
}

/** Null at the end, undefined if there is no message yet. */
function receive(
  calls: MessageCalls,
  descriptor: number,
  flags: number,
): ChannelMessage | null | undefined {
  const message = receiveMessage(calls, descriptor, textLimit, flags);
  if (message === "EAGAIN" || message === "EINTR") return undefined;
  if (message === "ECONNRESET") return null;
  if (typeof message === "string") throw failure("Cannot take over listeners", message);
  const { bytes, descriptors } = message;
  return bytes.length === 0 ? null : { text: new TextDecoder().decode(bytes), descriptors };
}

function raiseLoopback(libc: Libc): void {
  const action = "Cannot bring the loopback interface up";
  const descriptor = libc.socket(ipv4Family, datagrams | closeOnExec, 0);
  if (descriptor < 0) throw failure(action, errnoName(errnoNow()));
  try {
    // struct ifreq: the name, and then the flags.
    const request = new Uint8Array(40);
    request.set(new TextEncoder().encode("lo"));
    const view = new DataView(request.buffer);
    if (libc.ioctl(descriptor, getInterface, request) < 0)
      throw failure(action, errnoName(errnoNow()));
    view.setUint16(16, view.getUint16(16, true) | up, true);
    if (libc.ioctl(descriptor, setInterface, request) < 0)
      throw failure(action, errnoName(errnoNow()));
  } finally {
    libc.close(descriptor);
  }
}

function cover(libc: Libc, path: string, over: string): void {
  const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);
  if (libc.mount(text(path), text(over), null, bind, null) !== 0)
    throw failure(`Cannot put a file over "${over}"`, errnoName(errnoNow()));
}

function failure(action: string, code: string): NgrokdError {
  const denied = code === "EPERM" || code === "EACCES";
  return new NgrokdError(
    denied ? "permission" : "network",
    `${action}: ${errnoSentence(code) ?? code}`,
    { details: { errno: code } },
  );
}
