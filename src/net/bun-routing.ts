/**
 * Interfaces, addresses and routes of Linux, by the C library: a TUN device,
 * and requests by netlink. No program such as ip(8) is needed for it.
 */
import { closeSync, openSync } from "node:fs";
import { messagesIn, type NetlinkMessage, type NetlinkReply } from "../linux/netlink.ts";
import { errnoSentence } from "../model/errno.ts";
import { NgrokdError } from "../model/error.ts";
import { errnoName, errnoNow, type Libc, libcNow } from "./bun-libc.ts";
import type { Routing, Tun } from "./types.ts";

/** {@link Net.routing}. */
export async function bunRouting(): Promise<Routing> {
  if (process.platform !== "linux")
    throw new NgrokdError("network", "Cannot make an interface: only Linux has TUN devices");
  const libc = await libcNow().catch((cause: unknown) => {
    throw new NgrokdError("network", "Cannot make an interface: no C library can be called", {
      cause,
    });
  });
  const events = openNetlink(libc, changes);
  const descriptors = new Set([events]);
  return {
    tun: (name) => openTun(libc, name, descriptors),
    adoptTun(fd) {
      libc.fcntl(fd, setFlags, closeOnExec);
      return tunOf(fd, descriptors);
    },
    inherited: [],
    ask: (request) => ask(libc, request),
    changed: () => hasMore(libc, events),
    close() {
      for (const descriptor of descriptors) closeSync(descriptor);
      descriptors.clear();
    },
  };
}

/** From Linux's headers: AF_NETLINK; SOCK_RAW | SOCK_CLOEXEC. */
const family = 16;
const type = 3 | 0o2000000;
/** Links, addresses and routes of both families. */
const changes = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
const [dontWait, noBuffers] = [0x40, 105];
/** TUNSETIFF; IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL. */
const setInterface = 0x400454ca;
const tunFlags = 0x1 | 0x1000 | 0x8000;
const [setFlags, closeOnExec] = [2, 1];

function openNetlink(libc: Libc, groups: number): number {
  const descriptor = libc.socket(family, type, 0);
  if (descriptor < 0) throw failure("Cannot ask for routes", errnoNow());
  const address = new Uint8Array(12);
  new DataView(address.buffer).setUint16(0, family, true);
  new DataView(address.buffer).setUint32(8, groups, true);
  if (libc.bind(descriptor, address, address.length) === 0) return descriptor;
  const errno = errnoNow();
  closeSync(descriptor);
  throw failure("Cannot ask for routes", errno);
}

/** The kernel has its answer ready when the request has been sent. */
function ask(libc: Libc, request: Uint8Array): NetlinkReply {
  const descriptor = openNetlink(libc, 0);
  try {
    const sent = Number(libc.sendto(descriptor, request, request.length, 0, null, 0));
    if (sent !== request.length) return { messages: [], errno: errnoNow() };
    const messages: NetlinkMessage[] = [];
    const buffer = new Uint8Array(64 * 1024);
    for (;;) {
      const length = Number(libc.recv(descriptor, buffer, buffer.length, dontWait));
      if (length < 0) return { messages, errno: errnoNow() };
      const part = messagesIn(buffer.slice(0, length));
      messages.push(...part.messages);
      if (part.end !== undefined) return { messages, errno: part.end };
    }
  } finally {
    closeSync(descriptor);
  }
}

/** Reads everything that waits. An overflow of the queue is a change too. */
function hasMore(libc: Libc, descriptor: number): boolean {
  const buffer = new Uint8Array(64 * 1024);
  let any = false;
  for (;;) {
    if (Number(libc.recv(descriptor, buffer, buffer.length, dontWait)) < 0) {
      if (errnoNow() !== noBuffers) return any;
    }
    any = true;
  }
}

function openTun(libc: Libc, name: string, descriptors: Set<number>): Tun {
  const action = `Cannot make the interface "${name}"`;
  const descriptor = openDevice(action);
  // The interface must end with this process, and not with a child of it.
  libc.fcntl(descriptor, setFlags, closeOnExec);
  const request = new Uint8Array(40);
  request.set(new TextEncoder().encode(name).subarray(0, 15));
  new DataView(request.buffer).setUint16(16, tunFlags, true);
  if (libc.ioctl(descriptor, setInterface, request) < 0) {
    const errno = errnoNow();
    closeSync(descriptor);
    throw failure(action, errno);
  }
  return tunOf(descriptor, descriptors);
}

function tunOf(descriptor: number, descriptors: Set<number>): Tun {
  descriptors.add(descriptor);
  return {
    fd: descriptor,
    close() {
      if (descriptors.delete(descriptor)) closeSync(descriptor);
    },
  };
}

function openDevice(action: string): number {
  try {
    return openSync("/dev/net/tun", "r+");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    const isMissing = ["ENOENT", "ENODEV", "ENXIO"].includes(code);
    const why = isMissing ? "this system has no /dev/net/tun" : errnoSentence(code);
    const isDenied = code === "EACCES" || code === "EPERM";
    throw new NgrokdError(isDenied ? "permission" : "network", `${action}: ${why ?? code}`, {
      cause: error,
      hint: serviceHint,
      details: { errno: code },
    });
  }
}

/** The unit of a service hides the device if it was made for loopback. */
const serviceHint = "if ngrokd is a service, run `sudo ngrokd service install` again";

function failure(action: string, errno: number): NgrokdError {
  const code = errnoName(errno);
  if (code === "EPERM" || code === "EACCES")
    return new NgrokdError("permission", `${action}: this needs the right CAP_NET_ADMIN`, {
      hint: serviceHint,
      details: { errno: code },
    });
  if (code === "EBUSY" || code === "EEXIST" || code === "EINVAL")
    return new NgrokdError("address-in-use", `${action}: another program has one of this name`, {
      details: { errno: code },
    });
  return new NgrokdError("network", `${action}: ${errnoSentence(code) ?? code}`, {
    details: { errno: code },
  });
}
