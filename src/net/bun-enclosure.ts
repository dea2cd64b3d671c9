/**
 * Descriptors that pass between processes (SCM_RIGHTS), and what a program does
 * in Linux's namespaces, by the C library.
 */
import {
  controlLengthIn,
  controlOf,
  controlSize,
  descriptorsIn,
  messageHeader,
  mostDescriptors,
} from "../linux/rights.ts";
import { errnoSentence } from "../model/errno.ts";
import { NgrokdError } from "../model/error.ts";
import { errnoName, errnoNow, type Libc, libcNow } from "./bun-libc.ts";
import type { ChannelMessage, Enclosure } from "./types.ts";

type Pointer = (bytes: NodeJS.TypedArray) => number;

/** {@link Net.enclosure}. */
export async function bunEnclosure(): Promise<Enclosure> {
  const action = "Cannot make a network of its own for a program";
  if (process.platform !== "linux")
    throw new NgrokdError("network", `${action}: only Linux has namespaces`);
  const libc = await libcNow().catch((cause: unknown) => {
    throw new NgrokdError("network", `${action}: no C library can be called`, { cause });
  });
  const { ptr } = await import("bun:ffi");
  const at: Pointer = (bytes) => Number(ptr(bytes));
  return {
    channel: () => channel(libc),
    send: (descriptor, text, descriptors) => send(libc, at, descriptor, { text, descriptors }),
    receive: (descriptor) => receive(libc, at, descriptor, dontWait),
    await: (descriptor) => receive(libc, at, descriptor, 0) ?? null,
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
// SOCK_CLOEXEC; F_SETFD, FD_CLOEXEC; MSG_DONTWAIT, MSG_NOSIGNAL,
// MSG_CMSG_CLOEXEC.
const [unixFamily, ipv4Family] = [1, 2];
const [datagrams, packets, closeOnExec] = [2, 5, 0o2000000];
const [setFlags, inheritNot] = [2, 1];
const [dontWait, noSignal, receivedCloseOnExec] = [0x40, 0x4000, 0x40000000];
/** SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP; MS_BIND. */
const [getInterface, setInterface, up] = [0x8913, 0x8914, 1];
const bind = 0x1000n;
/** PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL. */
const [ambient, clearAll] = [47, 4];

const textLimit = 64 * 1024;

function channel(libc: Libc): readonly [number, number] {
  const pair = new Int32Array(2);
  if (libc.socketpair(unixFamily, packets | closeOnExec, 0, pair) !== 0)
    throw failure("Cannot make a channel", errnoNow());
  const [ours = -1, theirs = -1] = pair;
  libc.fcntl(theirs, setFlags, 0);
  return [ours, theirs];
}

function send(libc: Libc, at: Pointer, descriptor: number, message: ChannelMessage): void {
  const { text, descriptors } = message;
  const bytes = new TextEncoder().encode(text);
  const parts = BigUint64Array.of(BigInt(at(bytes)), BigInt(bytes.length));
  const control = controlOf(descriptors);
  const header = messageHeader({
    ...noName,
    parts: at(parts),
    control: at(control),
    controlLength: descriptors.length === 0 ? 0 : control.length,
  });
  if (Number(libc.sendmsg(descriptor, header, noSignal)) < 0)
    throw failure("Cannot hand over listeners", errnoNow());
}

const noName = { name: 0, nameLength: 0 };

function receive(
  libc: Libc,
  at: Pointer,
  descriptor: number,
  flags: number,
): ChannelMessage | null | undefined {
  const [bytes, control] = [
    new Uint8Array(textLimit),
    new Uint8Array(controlSize(mostDescriptors)),
  ];
  const parts = BigUint64Array.of(BigInt(at(bytes)), BigInt(bytes.length));
  const header = messageHeader({
    ...noName,
    parts: at(parts),
    control: at(control),
    controlLength: control.length,
  });
  const length = Number(libc.recvmsg(descriptor, header, flags | receivedCloseOnExec));
  if (length === 0) return null;
  if (length < 0) {
    const name = errnoName(errnoNow());
    if (name === "EAGAIN" || name === "EINTR") return undefined;
    if (name === "ECONNRESET") return null;
    throw failure("Cannot take over listeners", errnoNow());
  }
  const text = new TextDecoder().decode(bytes.subarray(0, length));
  return { text, descriptors: descriptorsIn(control.subarray(0, controlLengthIn(header))) };
}

function raiseLoopback(libc: Libc): void {
  const action = "Cannot bring the loopback interface up";
  const descriptor = libc.socket(ipv4Family, datagrams | closeOnExec, 0);
  if (descriptor < 0) throw failure(action, errnoNow());
  try {
    // struct ifreq: the name, and then the flags.
    const request = new Uint8Array(40);
    request.set(new TextEncoder().encode("lo"));
    const view = new DataView(request.buffer);
    if (libc.ioctl(descriptor, getInterface, request) < 0) throw failure(action, errnoNow());
    view.setUint16(16, view.getUint16(16, true) | up, true);
    if (libc.ioctl(descriptor, setInterface, request) < 0) throw failure(action, errnoNow());
  } finally {
    libc.close(descriptor);
  }
}

function cover(libc: Libc, path: string, over: string): void {
  const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);
  if (libc.mount(text(path), text(over), null, bind, null) !== 0)
    throw failure(`Cannot put a file over "${over}"`, errnoNow());
}

function failure(action: string, errno: number): NgrokdError {
  const code = errnoName(errno);
  const denied = code === "EPERM" || code === "EACCES";
  return new NgrokdError(
    denied ? "permission" : "network",
    `${action}: ${errnoSentence(code) ?? code}`,
    { details: { errno: code } },
  );
}
