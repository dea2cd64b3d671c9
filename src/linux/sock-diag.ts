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

/**
 * The request for the socket whose own end is `own`. Undefined if an end is not
 * an IP address.
 */
export function diagRequest({ own, other }: Ends, sequence: number): Uint8Array | undefined {
  const [source, destination] = [addressBytes(own.host), addressBytes(other.host)];
  if (source === undefined || source.length !== destination?.length) return undefined;
  const bytes = new Uint8Array(requestLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, requestLength, true);
  view.setUint16(4, diagType, true);
  view.setUint16(6, requestFlag, true);
  view.setUint32(8, sequence, true);
  view.setUint8(16, source.length === 4 ? ipv4Family : ipv6Family);
  view.setUint8(17, tcp);
  view.setUint32(20, noCookie, true); // in all states
  view.setUint16(24, own.port);
  view.setUint16(26, other.port);
  bytes.set(source, 28);
  bytes.set(destination, 44);
  view.setUint32(64, noCookie, true);
  view.setUint32(68, noCookie, true);
  return bytes;
}

/**
 * Reads the answer to a {@link diagRequest}. Without the socket, the kernel
 * looks for one that listens at its own end. That one is another program's and
 * does not count.
 */
export function diagReply(bytes: Uint8Array, request: Uint8Array): DiagReply {
  if (bytes.length < headerLength + 4) return { kind: "unusable" };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!isSame(bytes, 8, request, 8, 4)) return { kind: "stray" };
  const type = view.getUint16(4, true);
  if (type === errorType)
    return { kind: view.getInt32(headerLength, true) === -noEntry ? "none" : "unusable" };
  if (type !== diagType || bytes.length < messageLength) return { kind: "unusable" };
  if (view.getUint8(17) === listening || !isOf(bytes, request)) return { kind: "none" };
  return { kind: "found", uid: ownerOf(view.getUint32(80, true), view.getUint32(84, true)) };
}

/**
 * A socket that its program has closed has no inode. Many kernels then call
 * root its owner, whoever it was.
 */
export const ownerOf = (uid: number, inode: number): number | undefined =>
  uid === 0 && inode === 0 ? undefined : uid;

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
