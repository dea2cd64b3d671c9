/**
 * What Bun 1.4.5 does not have: the errno of connect(2) on a
 * unix socket, the user of its peer, the address of an adopted listener, sizes
 * of socket buffers, and Landlock. A few calls of the C library give it, which
 * this process runs on anyway. The kernel tells where the library is mapped,
 * which is right for glibc and musl. Its path is absolute: a bare name would be
 * looked for in the working folder too.
 */
import type { Pointer } from "bun:ffi";
import { closeSync, constants, openSync, readFileSync } from "node:fs";
import { constants as systemConstants } from "node:os";
import type { HostPort } from "../model/host-port.ts";
import { ipv6Bytes, ipv6Text } from "../model/ip.ts";
import { coded, notAdopted } from "./errors.ts";
import type { Address, PeerUser } from "./types.ts";

/**
 * Whether a unix socket has a listener although Bun says ECONNREFUSED: Bun says
 * so for EAGAIN too, which means that the queue is full. False if connect(2)
 * cannot be asked.
 */
export async function isFull(path: string): Promise<boolean> {
  if (process.platform !== "linux") return false;
  try {
    return isFullTo(await libcNow(), socketAddress(path));
  } catch {
    return false;
  }
}

/**
 * From now on this thread, and the programs that it becomes, make and remove
 * files below these folders alone: landlock(7). It gives up new privileges for
 * that. The other threads stay as they are. Returns false if the kernel has no
 * Landlock.
 */
export async function makeFilesOnlyIn(folders: readonly string[]): Promise<boolean> {
  if (process.platform !== "linux") return false;
  const descriptors: number[] = [];
  try {
    const { ptr } = await import("bun:ffi");
    const { syscall, prctl } = await libcNow();
    const call = (number: number, ...args: number[]): number =>
      Number(syscall(number, args[0] ?? 0, args[1] ?? 0, args[2] ?? 0, args[3] ?? 0));
    const handled = new BigUint64Array([landlock.handled]);
    const ruleset = call(landlock.create, ptr(handled), handled.byteLength, 0);
    if (ruleset < 0) return false;
    descriptors.push(ruleset);
    for (const path of folders) {
      const folder = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
      descriptors.push(folder);
      const rule = new Uint8Array(12);
      new DataView(rule.buffer).setBigUint64(0, landlock.allowed, true);
      new DataView(rule.buffer).setInt32(8, folder, true);
      if (call(landlock.addRule, ruleset, landlock.pathBeneath, ptr(rule)) !== 0) return false;
    }
    return prctl(noNewPrivileges, 1, 0, 0, 0) === 0 && call(landlock.restrict, ruleset, 0) === 0;
  } catch {
    return false;
  } finally {
    for (const descriptor of descriptors) closeSync(descriptor);
  }
}

/** Numbers of linux/landlock.h and of the calls, equal on all processors. */
const landlock = {
  create: 444,
  addRule: 445,
  restrict: 446,
  pathBeneath: 1,
  /** Removing, making anything of any type, and a second name elsewhere. */
  handled: 0b11_1111_1111_0000n,
  /** The same of files, folders and sockets. */
  allowed: 0b10_0011_1011_0000n,
} as const;
const noNewPrivileges = 38;

/**
 * The address of an inherited listening socket. From then on no child process
 * inherits it. Rejects with NgrokdError `network` if it is no listening TCP or
 * unix socket, or if the system cannot be asked.
 */
export async function adoptedAddress(descriptor: number): Promise<Address> {
  const calls = await callsFor(descriptor);
  const address = listensOn(calls, descriptor);
  if (address === undefined)
    throw notAdopted(descriptor, "it is not a listening TCP or unix socket");
  calls.fcntl(descriptor, setFlags, closeOnExec);
  return address;
}

/**
 * The address of an inherited UDP socket. Otherwise as {@link adoptedAddress}.
 */
export async function adoptedUdpAddress(descriptor: number): Promise<HostPort> {
  const calls = await callsFor(descriptor);
  const address =
    optionOf(calls, descriptor, socketType) === datagramType
      ? boundTo(calls, descriptor)
      : undefined;
  if (address === undefined || "path" in address)
    throw notAdopted(descriptor, "it is not a UDP socket");
  calls.fcntl(descriptor, setFlags, closeOnExec);
  return address;
}

async function callsFor(descriptor: number): Promise<Libc> {
  if (process.platform !== "linux") throw notAdopted(descriptor, "only Linux tells its address");
  return await libcNow().catch((error: unknown) => {
    throw notAdopted(descriptor, "no C library tells its address", error);
  });
}

/**
 * A second descriptor of the same file. Programs that this process becomes by
 * execve(2) inherit it. Undefined if there is none.
 */
export async function heritableCopy(descriptor: number): Promise<number | undefined> {
  const calls = await libcNow().catch(() => undefined);
  const copy = calls?.fcntl(descriptor, duplicate, 0) ?? -1;
  return copy < 0 ? undefined : copy;
}

/**
 * Returns a function for a second descriptor of the same file, which no child
 * process inherits. It is synchronous, and throws an error with a `code`.
 */
export async function copier(): Promise<(descriptor: number) => number> {
  const { fcntl } = await libcNow();
  return (descriptor) => {
    const copy = fcntl(descriptor, duplicateOwn, 0);
    if (copy < 0) throw coded(errnoName(errnoNow()));
    return copy;
  };
}

/**
 * A listening TCP socket on an IPv6 address that no interface has; a local
 * route must lead to it. Bun has no option for that (IPV6_FREEBIND). Throws an
 * error with a `code`, as Bun.listen() does.
 */
export async function freeListener(host: string, port: number): Promise<number> {
  const calls = await libcNow();
  const descriptor = calls.socket(ipv6Family, stream, 0);
  if (descriptor < 0) throw coded(errnoName(errnoNow()));
  const one = Int32Array.of(1);
  const set = (level: number, option: number): number =>
    calls.setsockopt(descriptor, level, option, one, one.byteLength);
  const address = ipv6Address(host, port);
  const done =
    set(ipv6Level, freeBind) === 0 &&
    set(ipv6Level, ipv6Only) === 0 &&
    set(socketLevel, reuseAddress) === 0 &&
    calls.bind(descriptor, address, address.length) === 0 &&
    calls.listen(descriptor, backlog) === 0;
  if (done) return descriptor;
  const code = errnoName(errnoNow());
  calls.close(descriptor);
  throw coded(code);
}

/** Pure: struct sockaddr_in6 of Linux. The inverse of {@link addressIn}. */
export function ipv6Address(host: string, port: number): Uint8Array {
  const address = new Uint8Array(28);
  const view = new DataView(address.buffer);
  new Uint16Array(address.buffer, 0, 1)[0] = ipv6Family;
  view.setUint16(2, port);
  address.set(ipv6Bytes(host), 8);
  return address;
}

/**
 * {@link Net.userOf}. `descriptor` is read when the library is there: a number
 * from before could be that of another connection by then.
 */
export async function peerUser(descriptor: () => number): Promise<PeerUser | undefined> {
  if (process.platform !== "linux") return undefined;
  try {
    return userOn(await libcNow(), descriptor());
  } catch {
    return undefined;
  }
}

/**
 * Sets the sizes of the buffers of an open socket. From then on the kernel does
 * not choose them. The first call of a process may only open the library.
 */
export function limitBuffersOf(descriptor: number | undefined, bytes: number): void {
  if (process.platform !== "linux" || descriptor === undefined || descriptor < 0) return;
  if (libc === undefined) {
    openSoon();
    return;
  }
  bufferSize[0] = bytes;
  for (const name of [sendBuffer, receiveBuffer])
    libc.setsockopt(descriptor, socketLevel, name, bufferSize, bufferSize.byteLength);
}

/** One for all calls: thousands of them would be garbage after a burst. */
const bufferSize = new Int32Array(1);

/**
 * How many bytes of an open socket wait in the kernel; 0 if it cannot be asked.
 * The first call of a process may only open the library.
 */
export function bytesWaiting(descriptor: number | undefined): number {
  if (process.platform !== "linux" || descriptor === undefined || descriptor < 0) return 0;
  if (libc === undefined) {
    openSoon();
    return 0;
  }
  return libc.ioctl(descriptor, readable, waiting) === 0 ? (waiting[0] ?? 0) : 0;
}
const waiting = new Int32Array(1);

/** Once: without the library the kernel goes on choosing the sizes. */
function openSoon(): void {
  if (!isTried) libcNow().catch(() => undefined);
  isTried = true;
}
let isTried = false;

let libc: Libc | undefined;
export type Libc = Awaited<ReturnType<typeof openLibc>>;

/** The C library. Rejects if it cannot be called. */
export async function libcNow(): Promise<Libc> {
  libc ??= await openLibc();
  readNumber ??= (await import("bun:ffi")).read.i32;
  return libc;
}
let readNumber: ((at: Pointer) => number) | undefined;

/** The error of the last call of the library that failed. */
export function errnoNow(): number {
  const at = libc?.__errno_location();
  return at == null ? 0 : (readNumber?.(at as Pointer) ?? 0);
}

/** `EPERM`, and so on. */
export const errnoName = (errno: number): string =>
  Object.entries(systemConstants.errno).find(([, value]) => value === errno)?.[0] ??
  `error ${errno}`;

async function openLibc() {
  const { dlopen } = await import("bun:ffi");
  return dlopen(libcIn(readFileSync("/proc/self/maps", "utf8")), {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    sendto: { args: ["i32", "ptr", "usize", "i32", "ptr", "u32"], returns: "i64" },
    send: { args: ["i32", "ptr", "usize", "i32"], returns: "i64" },
    recv: { args: ["i32", "ptr", "usize", "i32"], returns: "i64" },
    sendmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
    recvmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
    bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
    listen: { args: ["i32", "i32"], returns: "i32" },
    connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
    syscall: { args: ["i64", "i64", "i64", "i64", "i64"], returns: "i64" },
    prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
    getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
    getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
    setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
    ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
    execve: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
    fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
    socketpair: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
    mount: { args: ["ptr", "ptr", "ptr", "u64", "ptr"], returns: "i32" },
    __errno_location: { args: [], returns: "ptr" },
  }).symbols;
}

/**
 * Pure: the C library among the files that /proc/self/maps lists. Throws if
 * there is none.
 */
export function libcIn(maps: string): string {
  const path =
    /\s(\/.*\/(?:libc\.so\.6|libc-2\.\d+\.so|libc\.musl-\w+\.so\.1|ld-musl-\w+\.so\.1|libc\.so))$/m.exec(
      maps,
    )?.[1];
  if (path === undefined) throw new Error("no C library is mapped");
  return path;
}

/**
 * Pure: struct sockaddr_un of Linux. Throws for a path that does not fit into
 * it.
 */
export function socketAddress(path: string): Uint8Array {
  const name = new TextEncoder().encode(path);
  if (name.length === 0 || name.length > 107)
    throw new Error("the path does not fit into an address");
  const isAbstract = path.startsWith("@");
  // A path ends with a zero byte; an abstract name begins with one, and all
  // bytes count.
  const address = new Uint8Array(2 + name.length + (isAbstract ? 0 : 1));
  new Uint16Array(address.buffer, 0, 1)[0] = unixFamily;
  address.set(name, 2);
  if (isAbstract) address[2] = 0;
  return address;
}

/**
 * Pure: the address in a struct sockaddr of Linux; undefined for a family that
 * is not TCP's or unix. The inverse of {@link socketAddress} for unix sockets.
 */
export function addressIn(name: Uint8Array): Address | undefined {
  const bytes = Buffer.from(name);
  if (bytes.length < 2) return undefined;
  const family = new Uint16Array(Uint8Array.from(bytes.subarray(0, 2)).buffer)[0];
  if (family === unixFamily) {
    const isAbstract = bytes.length > 2 && bytes[2] === 0;
    const path = bytes.toString("utf8", isAbstract ? 3 : 2);
    return { path: isAbstract ? `@${path}` : path.replace(/\0.*$/s, "") };
  }
  if (family === ipv4Family && bytes.length >= 8)
    return { host: bytes.subarray(4, 8).join("."), port: bytes.readUInt16BE(2) };
  if (family === ipv6Family && bytes.length >= 24)
    return { host: ipv6Text([...bytes.subarray(8, 24)]), port: bytes.readUInt16BE(2) };
  return undefined;
}

// From Linux's headers, the same for all processors that Bun runs on: AF_UNIX,
// AF_INET, AF_INET6.
const [unixFamily, ipv4Family, ipv6Family] = [1, 2, 10];

/** EAGAIN; SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK. */
const again = 11;
const stream = 1 | 0o2000000 | 0o4000;

/** SO_PEERCRED; SO_PEERGROUPS, and the most groups that Linux knows. */
const [peerCredentials, peerGroups, mostGroups] = [17, 59, 65_536];

/**
 * SOL_SOCKET; SO_SNDBUF, SO_RCVBUF; SO_TYPE, SOCK_STREAM, SOCK_DGRAM;
 * SO_ACCEPTCONN; F_SETFD, FD_CLOEXEC, F_DUPFD, F_DUPFD_CLOEXEC; FIONREAD.
 */
const socketLevel = 1;
const [sendBuffer, receiveBuffer] = [7, 8];
const [socketType, streamType, datagramType, acceptsConnections] = [3, 1, 2, 30];
const [setFlags, closeOnExec, duplicate, duplicateOwn] = [2, 1, 0, 1030];
/** IPPROTO_IPV6; IPV6_FREEBIND, IPV6_V6ONLY; SO_REUSEADDR; as Bun's backlog. */
const [ipv6Level, freeBind, ipv6Only] = [41, 78, 26];
const [reuseAddress, backlog] = [2, 512];
const readable = 0x541b;

function isFullTo({ socket, connect, close }: Libc, address: Uint8Array): boolean {
  const descriptor = socket(unixFamily, stream, 0);
  if (descriptor < 0) return false;
  try {
    // If this connects, the queue has room again.
    if (connect(descriptor, address, address.length) === 0) return true;
    return errnoNow() === again;
  } finally {
    close(descriptor);
  }
}

function userOn({ getsockopt }: Libc, descriptor: number): PeerUser | undefined {
  if (descriptor < 0) return undefined;
  // struct ucred: pid, uid, gid.
  const [credentials, length] = [new Uint32Array(3), Uint32Array.of(12)];
  if (getsockopt(descriptor, socketLevel, peerCredentials, credentials, length) !== 0)
    return undefined;
  const [pid = 0, uid = 0, gid = 0] = credentials;
  // No process has the number 0: the socket is of no unix peer.
  if (length[0] !== 12 || pid === 0) return undefined;
  const [more, bytes] = [new Uint32Array(mostGroups), Uint32Array.of(4 * mostGroups)];
  const known = getsockopt(descriptor, socketLevel, peerGroups, more, bytes) === 0;
  return { uid, groups: [gid, ...(known ? more.subarray(0, (bytes[0] ?? 0) / 4) : [])] };
}

/** Undefined for everything that is no listening stream socket. */
function listensOn(calls: Libc, descriptor: number): Address | undefined {
  const option = (name: number): number | undefined => optionOf(calls, descriptor, name);
  if (option(socketType) !== streamType || option(acceptsConnections) !== 1) return undefined;
  return boundTo(calls, descriptor);
}

function optionOf({ getsockopt }: Libc, descriptor: number, name: number): number | undefined {
  const [value, length] = [new Int32Array(1), Uint32Array.of(4)];
  return getsockopt(descriptor, socketLevel, name, value, length) === 0 ? value[0] : undefined;
}

function boundTo({ getsockname }: Libc, descriptor: number): Address | undefined {
  const name = new Uint8Array(128);
  const length = Uint32Array.of(name.length);
  if (getsockname(descriptor, name, length) !== 0) return undefined;
  return addressIn(name.subarray(0, length[0]));
}
