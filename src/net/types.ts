/**
 * The runtime seam: the few operations that ngrokd needs of sockets. `bun.ts`
 * implements them on Bun's native sockets, `node.ts` on node:net and node:tls
 * (Deno). One contract suite tests both against this file. Users pull instead
 * of getting events: not reading is backpressure.
 */

import type { NetlinkReply } from "../linux/netlink.ts";
import type { Signal } from "../model/abort.ts";
import type { NgrokdError } from "../model/error.ts";
import type { HostPort } from "../model/host-port.ts";
import type { ProxyServer } from "../model/proxy.ts";

/**
 * The place where a socket listens or connects: an IP address (for a dial also
 * a host name) and a port, or the path of a unix socket.
 */
export type Address = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * Waits without promises. It is called once at the end of a read or write of a
 * connection's `…For` methods. The same object can wait again and again, so a
 * relay of thousands makes no garbage. The methods must not throw.
 */
export interface Waiter {
  /** The read is over: bytes, or null once the peer has finished sending. */
  arrived(bytes: Uint8Array | null): void;
  /** The write is over: there is room for more. */
  drained(): void;
  /** A part of the write has left. Some runtimes never report that. */
  moved(): void;
  /** The read or the write is over, as a promise would have rejected. */
  failed(error: NgrokdError): void;
}

/** Watches over a connection while nobody reads. Must not throw. */
export interface Watcher {
  /** The descriptor is free. See {@link Conn.closed}. */
  gone(error: NgrokdError | undefined): void;
  /** Bytes have come, and no read waits for them. See {@link Conn.readNow}. */
  came?(): void;
}

export interface Conn {
  /** The other end of the socket; through a proxy, the proxy's. */
  readonly remote: Address;
  /**
   * This end of the socket; for an accepted connection the address that the
   * client connected to. The runtime forgets it with the connection: a first
   * question after the end may return an empty host. A dialed unix socket has
   * an empty path.
   */
  readonly local: Address;
  /**
   * The peer as TLS has verified it. Undefined for plain connections, for peers
   * without a certificate, for a server whose session was resumed, and once the
   * connection is gone.
   */
  readonly peer: PeerCertificate | undefined;
  /**
   * The next bytes (never empty), or null once the peer has finished sending.
   * Returns them without a promise if bytes wait already. One read at a time.
   * Rejects (or throws) with NgrokdError `aborted` after a reset (earlier bytes
   * come first), `tls` after a TLS alert, `cancelled` after our own close() or
   * abort(). The array is the caller's to keep. Over TLS a FIN without
   * close_notify of a dialed connection is a reset, too: `aborted` with the
   * reason "CUT". Two cases pass as ends: a record of exactly two bytes before
   * the FIN (Deno, or Bun if other records came in one piece with it).
   */
  read(): Promise<Uint8Array | null> | Uint8Array | null;
  /**
   * Takes all of `bytes`, in order. Returns a promise that settles when there
   * is room for more, or nothing if there is room now. The array must not
   * change before that. One write at a time. Rejects (or throws) as read() does
   * when the connection is gone, and with `cancelled` after closeWrite(). What
   * the peer sent before it refused a write can still be read.
   */
  write(bytes: Uint8Array): Promise<void> | void;
  /**
   * Puts `bytes` back: the next read returns them first, and those of the last
   * call before others. It throws while a read waits. The array must not change
   * after that. Dropped after our own close() or abort().
   */
  unread(bytes: Uint8Array): void;
  /**
   * {@link read} of bytes that are here already. Undefined if there are none,
   * for whatever reason: it neither waits nor throws.
   */
  readNow(): Uint8Array | undefined;
  /** {@link read} without a promise: undefined if `waiter` is called later. */
  readFor(waiter: Waiter): Uint8Array | null | undefined;
  /**
   * {@link write} without a promise: true if there is room now. Otherwise
   * `waiter` is called later.
   */
  writeFor(bytes: Uint8Array, waiter: Waiter): boolean;
  /**
   * Finishes our half once all written bytes have left (FIN; with TLS also
   * close_notify). Reading goes on. Idempotent.
   */
  closeWrite(): void;
  /**
   * Ends both halves: written bytes still leave, later bytes of the peer are
   * dropped. Idempotent, and allowed at any time.
   */
  close(): void;
  /**
   * Sends a RST at once: the other side failed and this peer must learn it.
   * Unsent bytes are dropped. Idempotent. A unix socket has no RST: its peer
   * sees an end.
   */
  abort(): void;
  /**
   * Settles (never rejects) when the socket's descriptor is free: with the
   * error that broke the connection (`cancelled`: our own abort()), or
   * undefined after a normal end. Earlier bytes may still wait to be read.
   */
  readonly closed: Promise<NgrokdError | undefined>;
  /**
   * {@link closed} without a promise; called at once if it has settled. One
   * watcher at a time; undefined removes it.
   */
  watch(watcher: Watcher | undefined): void;
  /**
   * Asks the system for socket buffers of about this size, which bounds what a
   * read returns as well. Only Bun on Linux can; others ignore it.
   */
  limitBuffers(bytes: number): void;
}

export interface PeerCertificate {
  /** Distinguished names as `CN=x, O=y`. */
  readonly subject: string;
  readonly issuer: string;
  /** SHA-256 of the certificate, `AB:CD:…`. */
  readonly fingerprint256: string;
}

/** A user of this machine, by numbers. */
export interface PeerUser {
  readonly uid: number;
  /** All groups of the process, the first one included. */
  readonly groups: readonly number[];
}

/** The program at the other end of an accepted TCP connection. */
export interface Caller {
  /** Whether it runs on this machine, or more exactly in its network. */
  readonly isHere: boolean;
  /**
   * The user who opened its socket. Undefined if the system does not tell, for
   * example if the program has closed the socket by now.
   */
  readonly uid: number | undefined;
}

export interface Listener {
  /** With the real port if the requested one was 0. */
  readonly address: Address;
  /**
   * The listening descriptor, for another process to adopt. Undefined if this
   * runtime does not report it. It stays the listener's, and is free after
   * close().
   */
  readonly fd: number | undefined;
  /**
   * No new connections from now on; those accepted live on. A unix socket's
   * path is removed if it is still ours; the path of an adopted one never is.
   * Idempotent.
   */
  close(): void;
}

/**
 * A bound UDP socket. Nothing waits for room: a datagram that cannot be sent is
 * dropped and counted, as the network may drop it too.
 */
export interface UdpSocket {
  /** With the real port if the requested one was 0. */
  readonly address: HostPort;
  /** As {@link Listener.fd}. */
  readonly fd: number | undefined;
  /**
   * Sends one datagram; `to.host` is an IP address of the socket's family. From
   * a socket on all addresses the system chooses the sender's address. Returns
   * false if it was dropped: it is too long, there is no room or no route, or
   * the socket is closed. Some runtimes learn that later and only count it.
   */
  send(bytes: Uint8Array, to: HostPort): boolean;
  /**
   * How many datagrams were lost here: not sent, refused by their receiver, or
   * received and failed in {@link OnDatagram}.
   */
  readonly dropped: number;
  /** Idempotent. */
  close(): void;
}

export type OnConn = (conn: Conn) => void | Promise<void>;

/** `bytes` belongs to the receiver; it is empty for an empty datagram. */
export type OnDatagram = (bytes: Uint8Array, from: HostPort) => void | Promise<void>;

/** The open files of this process, as far as a net counts them. */
export interface Descriptors {
  /**
   * The limit of open descriptors of this process; Infinity if it is unknown.
   */
  readonly limit: number;
  /** How many accepted sockets were closed at once, as they were too many. */
  readonly turnedAway: number;
  /**
   * How many connections of two sockets each have room at once, beside the
   * listeners, `others` sockets and reserves. Infinity without a known limit.
   */
  room(others: number): number;
}

export interface TlsClientOptions {
  /** SNI, and the name that the certificate must carry. */
  readonly serverName: string;
  /**
   * PEM texts, each with one certificate or more. Nothing else is trusted, and
   * an empty list trusts no server. An intermediate counts as an anchor.
   */
  readonly ca: readonly string[];
  /**
   * The same list in a file that only we can write, and whose name changes with
   * its content. It saves parsing hundreds of roots for each dial.
   */
  readonly caFile?: string | undefined;
  /** Our own certificate (chain) and key, PEM. */
  readonly cert?: string;
  readonly key?: string;
  /**
   * Only `server.insecure_skip_verify` sets this. Sessions are then not used.
   */
  readonly insecureSkipVerify?: boolean;
  /** Resumes a session if the server agrees; otherwise a full handshake. */
  readonly sessions?: TlsSessions | undefined;
}

/**
 * The store of a TLS session for the next dial. A resumed session skips the
 * verification of the chain and keeps the old client certificate. So only dials
 * with equal address, name, CA and certificate may share a store.
 */
export interface TlsSessions {
  get(): Uint8Array | undefined;
  /** Whether a new session is needed; called after a connection is verified. */
  wanted(): boolean;
  /** A session of a verified connection, never of another one. */
  put(session: Uint8Array): void;
}

export interface TlsServerOptions {
  readonly cert: string;
  readonly key: string;
  /**
   * If given, a client must show a certificate that one of these signed;
   * without one the handshake fails.
   */
  readonly clientCa?: readonly string[];
}

export interface DialOptions {
  readonly tls?: TlsClientOptions;
  /**
   * Makes the connection, and resolves the name. TLS is still with the target.
   * Not for unix sockets.
   */
  readonly via?: ProxyServer | undefined;
  /**
   * The deadline and the cancel of the whole dial, TLS handshake included. An
   * abort rejects with the signal's NgrokdError reason, or `cancelled`.
   */
  readonly signal?: Signal | undefined;
  /** Called when the target is reached, before TLS. It must not throw. */
  readonly connected?: (() => void) | undefined;
}

export interface ListenOptions {
  readonly tls?: TlsServerOptions;
  /**
   * The address may be of no interface if a local route leads to it. Linux
   * needs to be told so for IPv6. A runtime that cannot refuses such an address
   * with `address-unavailable`.
   */
  readonly routed?: boolean;
  /** It is closed at once: only whether the place is free is of interest. */
  readonly trial?: boolean;
  /**
   * Clients wait in the queue of the socket: nothing is accepted here, but by
   * the processes that get copies of {@link Listener.fd}. Without passing
   * descriptors (see {@link Net.sendDescriptors}) it rejects with `network`.
   */
  readonly queued?: boolean;
}

/** An interface that exists as long as any process has it open. */
export interface Tun {
  /** As {@link Listener.fd}. */
  readonly fd: number;
  /** Idempotent. */
  close(): void;
}

/** Interfaces, addresses and routes, as rtnetlink(7) has them. Synchronous. */
export interface Routing {
  /**
   * Makes a TUN interface from which nothing is ever read. It goes with all its
   * addresses and routes when it is closed, and when this process ends in any
   * way. Throws NgrokdError `permission`, `address-in-use` if there is an
   * interface of this name, or `network` without TUN.
   */
  tun(name: string): Tun;
  /**
   * Goes on with a TUN interface that another process has made. From then on
   * the descriptor is the interface's, and no child process inherits it.
   */
  adoptTun(fd: number): Tun;
  /** The names of interfaces that {@link tun} only goes on with. */
  readonly inherited: readonly string[];
  /** Sends one request and returns the reply. Throws as {@link tun}. */
  ask(request: Uint8Array): NetlinkReply;
  /** Whether anything has changed since the last question. */
  changed(): boolean;
  /** Also closes the interfaces. Idempotent. */
  close(): void;
}

/**
 * The work of a program in namespaces of its own, and a channel on which its
 * listeners come out of there. Synchronous. The methods throw NgrokdError
 * `permission` or `network`.
 */
export interface Enclosure {
  /**
   * A pair of connected descriptors. The second one is for a child process,
   * which inherits it; close it here after that.
   */
  channel(): readonly [number, number];
  /** Sends a text and at most 250 descriptors, which stay the sender's. */
  send(channel: number, text: string, descriptors: readonly number[]): void;
  /**
   * The next message; the descriptors are the receiver's. Undefined if there is
   * none yet, null if the other side has gone.
   */
  receive(channel: number): ChannelMessage | null | undefined;
  /** As {@link receive}, but the whole thread waits. */
  await(channel: number): ChannelMessage | null;
  /** Brings the loopback interface up. */
  raiseLoopback(): void;
  /** Puts a file over another one, for the programs in this namespace. */
  cover(path: string, over: string): void;
  /**
   * The program that this process becomes next has no rights here, and not the
   * channel.
   */
  leave(channel: number): void;
}

export interface ChannelMessage {
  readonly text: string;
  readonly descriptors: readonly number[];
}

export interface Net {
  readonly runtime: "bun" | "node" | "deno";
  readonly descriptors: Descriptors;
  /**
   * Listens on an IP and port (0: any free one) or a unix socket path. The path
   * must not exist, and has mode 0600 from the first moment on, whatever the
   * umask. With TLS, `onConn` gets verified, handshaken connections only;
   * failed ones are dropped. An exception or rejection of `onConn` aborts that
   * connection and nothing else. Rejects with NgrokdError `address-in-use`,
   * `address-unavailable`, `permission` or `network`.
   */
  listen(address: Address, onConn: OnConn, options?: ListenOptions): Promise<Listener>;
  /**
   * Goes on with a listening TCP or unix socket that another process has
   * opened, such as systemd. Clients that already wait there are accepted. From
   * then on the descriptor is the listener's, and no child process inherits it.
   * Rejects with NgrokdError `network` if the descriptor is not such a socket,
   * or if this runtime cannot adopt. It then remains the caller's.
   */
  adopt(fd: number, onConn: OnConn, options?: ListenOptions): Promise<Listener>;
  /**
   * Binds a UDP socket to an IP address and port (0: any free one). An
   * exception or rejection of `onDatagram` drops that datagram and nothing
   * else. Rejects as {@link listen} does.
   */
  udp(address: HostPort, onDatagram: OnDatagram): Promise<UdpSocket>;
  /** {@link adopt} for a bound UDP socket. */
  adoptUdp(fd: number, onDatagram: OnDatagram): Promise<UdpSocket>;
  /**
   * A connected (and with TLS: verified) connection, with TCP_NODELAY and
   * keepalive. Rejects with NgrokdError `network` (refused, unreachable, name
   * or path not found; `details.errno` if it is known), `timeout`/`cancelled`
   * (the signal), `permission`, or `tls`. Then `details` has `reason`
   * (OpenSSL's code, such as "UNABLE_TO_GET_ISSUER_CERT_LOCALLY") and, if the
   * peer showed one, `certificate` (PeerCertificate). A failure of a proxy is
   * `network` too, and `details.proxy` names it.
   */
  dial(address: Address, options?: DialOptions): Promise<Conn>;
  /**
   * Sends one datagram to a unix datagram socket; `@name` is in Linux's
   * abstract namespace. Returns true if it was taken; false if it was not, or
   * if this runtime has no such sockets (node.ts). Does not wait for room, and
   * never rejects. The receiver gets copies of `descriptors`.
   */
  datagram(path: string, text: string, descriptors?: readonly number[]): Promise<boolean>;
  /**
   * Passes copies of descriptors to the process that has connected to a unix
   * listener; nothing else may be written meanwhile. Rejects with NgrokdError
   * `network` if the connection breaks, or if this runtime cannot (only Bun on
   * Linux can).
   */
  sendDescriptors(conn: Conn, descriptors: readonly number[]): Promise<void>;
  /**
   * Connects to a unix listener, sends `request`, and returns all descriptors
   * that are passed before the end. No child process inherits them. Rejects as
   * {@link sendDescriptors}, and when the signal aborts.
   */
  receiveDescriptors(
    path: string,
    request: string,
    signal: AbortSignal,
  ): Promise<readonly number[]>;
  /**
   * A second descriptor of the same file, which a program inherits if this
   * process becomes it. Undefined if this runtime cannot.
   */
  heritableCopy(fd: number): Promise<number | undefined>;
  /**
   * The address of a listening descriptor that another process has opened.
   * Rejects as {@link adopt}.
   */
  addressOf(fd: number): Promise<Address>;
  /** Closes a descriptor that nothing has adopted. Never throws. */
  closeDescriptor(fd: number): void;
  /**
   * Access to interfaces and routes. Rejects with NgrokdError `network` if this
   * system or this runtime has none (Bun on Linux has).
   */
  routing(): Promise<Routing>;
  /**
   * Rejects with NgrokdError `network` if this system or this runtime has no
   * such namespaces (Bun on Linux has).
   */
  enclosure(): Promise<Enclosure>;
  /**
   * The user of the process that has connected to a unix listener, as the
   * kernel knows it. Undefined if this runtime cannot ask, or if the connection
   * is gone.
   */
  userOf(conn: Conn): Promise<PeerUser | undefined>;
  /**
   * The program at the other end of an accepted TCP connection. Returns it
   * without a promise if the system can be asked at once (Bun on Linux from the
   * second question on, within microseconds). Linux tells it to both runtimes;
   * elsewhere only addresses are compared. Never rejects.
   */
  callerOf(conn: Conn): Caller | Promise<Caller>;
}

/** `127.0.0.2:80`, `[::1]:80` or a path. */
export function addressText(address: Address): string {
  if ("path" in address) return address.path;
  return address.host.includes(":")
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`;
}
