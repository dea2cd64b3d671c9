/**
 * Questions about one TCP connection by Linux's sock_diag(7). Pure: bytes and
 * values. Numbers are in the byte order of this machine, but ports and
 * addresses in that of the network. All that Bun and Deno run on is
 * little-endian.
 */
import type { HostPort } from "../model/host-port.ts";
import { ipv6Bytes, isIpv6, parseIp } from "../model/ip.ts";

/** The two ends of a connection, as one end sees them. */
export interface Ends {
  readonly own: HostPort;
  readonly other: HostPort;
}

/** The owner of a socket. */
export interface SocketOwner {
  /** Undefined if the kernel has forgotten it: the program has closed it. */
  readonly uid: number | undefined;
}

/**
 * `none`: this machine has no such socket. `stray`: the answer to another
 * question; the right one may follow. `unusable`: no answer that can be read.
 */
export type DiagReply =
  | ({ readonly kind: "found" } & SocketOwner)
  | { readonly kind: "none" | "stray" | "unusable" };

/** SOCK_DIAG_BY_FAMILY, NLMSG_ERROR; NLM_F_REQUEST; ENOENT. */
const [diagType, errorType, requestFlag, noEntry] = [20, 2, 1, 2];
/** AF_INET, AF_INET6; IPPROTO_TCP; TCP_LISTEN; INET_DIAG_NOCOOKIE. */
const [ipv4Family, ipv6Family, tcp, listening, noCookie] = [2, 10, 6, 10, 0xffffffff];

/** struct nlmsghdr; inet_diag_req_v2; inet_diag_msg. */
const [headerLength, requestLength, messageLength] = [16, 72, 88];

/** The bytes of a request, for {@link writeDiagRequest}. */
export function createDiagRequest(): Uint8Array {
  const bytes = new Uint8Array(requestLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, requestLength, true);
  view.setUint16(4, diagType, true);
  view.setUint16(6, requestFlag, true);
  view.setUint8(17, tcp);
  view.setUint32(20, noCookie, true); // in all states
  view.setUint32(64, noCookie, true);
  view.setUint32(68, noCookie, true);
  return bytes;
}

/**
 * Makes `bytes` the request for the socket whose own end is `own`. The same
 * bytes serve for all requests, since each connection may need one. False if an
 * end is not an IP address.
 */
export function writeDiagRequest(
  bytes: Uint8Array,
  { own, other }: Ends,
  sequence: number,
  bytesOf: AddressBytes = addressBytes,
): boolean {
  const [source, destination] = [bytesOf(own.host), bytesOf(other.host)];
  if (source === undefined || source.length !== destination?.length) return false;
  for (let i = 0; i < 4; i += 1) bytes[8 + i] = sequence >>> (8 * i);
  bytes[16] = source.length === 4 ? ipv4Family : ipv6Family;
  writePort(bytes, 24, own.port);
  writePort(bytes, 26, other.port);
  for (let i = 0; i < 16; i += 1) {
    bytes[28 + i] = source[i] ?? 0;
    bytes[44 + i] = destination[i] ?? 0;
  }
  return true;
}

function writePort(bytes: Uint8Array, at: number, port: number): void {
  bytes[at] = port >> 8;
  bytes[at + 1] = port;
}

/**
 * Reads the answer to a request, which is the first `length` bytes. Without the
 * socket, the kernel looks for one that listens at its own end. That one is
 * another program's and does not count.
 */
export function diagReply(
  bytes: Uint8Array,
  request: Uint8Array,
  length = bytes.length,
): DiagReply {
  if (length < headerLength + 4) return unusable;
  if (!isSame(bytes, 8, request, 8, 4)) return stray;
  const type = numberAt(bytes, 4) & 0xffff;
  if (type === errorType) return (numberAt(bytes, headerLength) | 0) === -noEntry ? none : unusable;
  if (type !== diagType || length < messageLength) return unusable;
  if (bytes[17] === listening || !isOf(bytes, request)) return none;
  return { kind: "found", uid: ownerOf(numberAt(bytes, 80), numberAt(bytes, 84)) };
}

const none = { kind: "none" } as const;
const stray = { kind: "stray" } as const;
const unusable = { kind: "unusable" } as const;

const numberAt = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)) >>>
  0;

/**
 * A socket that its program has closed has no inode. Many kernels then name
 * root as its owner, so the owner counts as unknown.
 */
export const ownerOf = (uid: number, inode: number): number | undefined =>
  uid === 0 && inode === 0 ? undefined : uid;

/** The 4 or 16 bytes of an address; undefined for another text. */
export type AddressBytes = (host: string) => readonly number[] | undefined;

/**
 * {@link addressBytes} that keeps the last addresses: those of the doors and of
 * their clients come again and again, and reading one leaves garbage.
 */
export function createAddressBytes(most = 1000): AddressBytes {
  const kept = new Map<string, readonly number[] | undefined>();
  return (host) => {
    const known = kept.get(host);
    if (known !== undefined) return known;
    const bytes = addressBytes(host);
    if (kept.size >= most) kept.clear();
    kept.set(host, bytes);
    return bytes;
  };
}

/** The 4 or 16 bytes of an address; IPv4 also if it is mapped into IPv6. */
export function addressBytes(host: string): number[] | undefined {
  if (parseIp(host).ok) return host.split(".").map(Number);
  const plain = host.replace(/%.*$/, "");
  if (!isIpv6(plain)) return undefined;
  const bytes = ipv6Bytes(plain);
  return isMapped(bytes, 0) ? bytes.slice(12) : bytes;
}

function isMapped(bytes: ArrayLike<number>, at: number): boolean {
  for (let i = 0; i < 12; i += 1) if (bytes[at + i] !== (i < 10 ? 0 : 0xff)) return false;
  return true;
}

/** Whether an answer is about the ends that the request names. */
function isOf(bytes: Uint8Array, request: Uint8Array): boolean {
  const isIpv4 = request[16] === ipv4Family;
  return (
    isSame(bytes, 20, request, 24, 4) &&
    isAddress(bytes, 24, request, 28, isIpv4) &&
    isAddress(bytes, 40, request, 44, isIpv4)
  );
}

/** The field of an address has 16 bytes; of IPv4 it uses the first four. */
function isAddress(
  bytes: Uint8Array,
  at: number,
  request: Uint8Array,
  asked: number,
  isIpv4: boolean,
): boolean {
  if (!isIpv4) return isSame(bytes, at, request, asked, 16);
  return (
    isSame(bytes, at, request, asked, 4) ||
    (isMapped(bytes, at) && isSame(bytes, at + 12, request, asked, 4))
  );
}

/** Compares in place: a view for each part would be garbage. */
function isSame(a: Uint8Array, at: number, b: Uint8Array, from: number, length: number): boolean {
  for (let i = 0; i < length; i += 1) if (a[at + i] !== b[from + i]) return false;
  return true;
}
