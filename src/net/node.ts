/**
 * The seam on node:net and node:tls, for Deno. TLS runs over a stream of our
 * own instead of the socket. Only the plain socket can send a RST and
 * distinguish a RST from a FIN (Deno 2.9.6 reports both as the end of a TLS
 * stream).
 */
import * as net from "node:net";
import process from "node:process";
import { clearTimeout, setTimeout } from "node:timers";
import * as tls from "node:tls";
import { cancellable, type Signal } from "../model/abort.ts";
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import type { StreamTail } from "../model/stream-tail.ts";
import { checkListenable, ipAddress, peerCertificate, sharedLocal, unnamed } from "./addresses.ts";
import { createCallers } from "./callers.ts";
import { createDescriptorAccount, type DescriptorAccount } from "./descriptors.ts";
import { type Again, type Dialer, dialAny, underSignal } from "./dial.ts";
import {
  coded,
  dialFailed,
  isVerdict,
  listenFailed,
  lost,
  notAdopted,
  tlsFailed,
} from "./errors.ts";
import { handOver } from "./hand-over.ts";
import {
  clientIdentity,
  outOfDate,
  type StreamOver,
  streamOver,
  verification,
} from "./node-tls.ts";
import { nodeUdp } from "./node-udp.ts";
import { PullConn, type SocketVerbs } from "./pull.ts";
import { chainOf, weaknessOf } from "./strength.ts";
import { handshakeLimit, keepAliveIdle, lookLimit } from "./timeouts.ts";
import type {
  Address,
  Listener,
  Net,
  OnConn,
  PeerCertificate,
  TlsClientOptions,
  TlsServerOptions,
} from "./types.ts";
import { closeDescriptor, fileAt, privately, stopAt } from "./unix.ts";

/** A net with an account of its own. */
export function createNodeNet(): Net {
  const descriptors = createDescriptorAccount();
  const dialer = createDialer(descriptors);
  return {
    runtime: process.versions.deno === undefined ? "node" : "deno",
    descriptors,
    listen: (address, onConn, options = {}) =>
      options.queued === true
        ? Promise.reject(noDescriptors())
        : descriptors.counted(address, () => listen(descriptors, address, onConn, options.tls)),
    // node:net has no way to take a listening descriptor that Deno knows too.
    adopt: (fd) => Promise.reject(notAdopted(fd, "this runtime cannot adopt a listener")),
    udp: (address, onDatagram) => descriptors.counted(address, () => nodeUdp(address, onDatagram)),
    dial: (address, options = {}) => dialAny(address, options, dialer),
    datagram: () => Promise.resolve(false),
    adoptUdp: (fd) => Promise.reject(notAdopted(fd, "this runtime cannot")),
    sendDescriptors: () => Promise.reject(noDescriptors()),
    receiveDescriptors: () => Promise.reject(noDescriptors()),
    heritableCopy: () => Promise.resolve(undefined),
    addressOf: (fd) => Promise.reject(notAdopted(fd, "this runtime cannot")),
    closeDescriptor,
    routing: () =>
      Promise.reject(
        new NgrokdError("network", "Cannot make an interface: this runtime cannot ask for one", {
          hint: "ngrokd's own program for Linux can",
        }),
      ),
    enclosure: () =>
      Promise.reject(
        new NgrokdError(
          "network",
          "Cannot make a network of its own for a program: this runtime cannot ask for one",
        ),
      ),
    userOf: () => Promise.resolve(undefined),
    callerOf: createCallers(),
  };
}

const noDescriptors = (): NgrokdError =>
  new NgrokdError("network", "Cannot pass descriptors: this runtime cannot", {
    hint: "ngrokd's own program for Linux can",
  });

async function listen(
  descriptors: DescriptorAccount,
  address: Address,
  onConn: OnConn,
  options: TlsServerOptions | undefined,
): Promise<Listener> {
  checkListenable(address, options);
  let local: Address | undefined;
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    const admitted = descriptors.take("accept");
    socket.once("close", descriptors.give);
    const plain = connected(socket, address, local);
    if (!admitted) plain.abort();
    else if (options === undefined) handOver(plain, onConn);
    else acceptTls(plain, options, onConn);
  });
  const started = Promise.withResolvers<void>();
  server.once("listening", started.resolve).once("error", started.reject);
  try {
    if ("host" in address) server.listen(address.port, address.host);
    else privately(() => server.listen(address.path));
    await started.promise;
  } catch (error) {
    throw listenFailed(address, error);
  }
  // A failed accept concerns only the connection that is lost.
  server.on("error", () => undefined);
  if ("path" in address) {
    local = address;
    const ours = fileAt(address.path);
    return {
      address,
      fd: undefined,
      close: () => server.listening && stopAt(address.path, ours, () => server.close()),
    };
  }
  const { port } = server.address() as net.AddressInfo;
  const listening = { host: address.host, port };
  local = sharedLocal(listening);
  return { address: listening, fd: undefined, close: () => server.listening && server.close() };
}

/**
 * A TLS server for each connection, so the plain connection of a secured stream
 * is known.
 */
function acceptTls(plain: Plain, { cert, key, clientCa }: TlsServerOptions, onConn: OnConn): void {
  const deadline = setTimeout(() => plain.abort(), handshakeLimit);
  const clients =
    clientCa === undefined
      ? {}
      : {
          ca: [...clientCa],
          requestCert: true,
          rejectUnauthorized: true,
          allowPartialTrustChain: true,
        };
  const server = tls.createServer({ cert, key, ...clients, allowHalfOpen: true });
  server.on("tlsClientError", () => plain.close());
  server.on("secureConnection", (secured) => {
    clearTimeout(deadline);
    handOver(overTls(secured, plain, stream), onConn);
  });
  const stream = streamOver(plain);
  void plain.closed.then(() => clearTimeout(deadline));
  server.emit("connection", stream.below);
}

const createDialer = (descriptors: DescriptorAccount): Dialer<Handle> => ({
  async dial(target, options, signal, up) {
    if (options === undefined) return await dialPlain(descriptors, target, signal, up);
    // Checked before the first byte: our certificate may not fit its key.
    clientIdentity(target, options);
    const plain = await dialPlain(descriptors, target, signal, up);
    return await secure(target, plain, options, signal, (stop) =>
      dialPlain(descriptors, target, stop),
    );
  },
  secure,
});

async function secure(
  target: Address,
  plain: Plain,
  options: TlsClientOptions,
  signal: Signal | undefined,
  again: Again<Handle>,
): Promise<Plain> {
  const identity = ownIdentity(target, plain, options);
  const stream = streamOver(plain);
  try {
    const secured = await handshake(
      target,
      plain,
      { ...verification(options), ...identity, socket: stream.below },
      signal,
    );
    const weakness =
      options.insecureSkipVerify === true
        ? undefined
        : weaknessOf(chainOf(secured.getPeerCertificate(true)), options.ca);
    if (weakness !== undefined) throw weakness;
    return overTls(secured, plain, stream, stream.tail);
  } catch (error) {
    plain.close();
    if (isNgrokdError(error))
      throw error.code === "aborted" ? tlsFailed(target, coded("ECONNRESET")) : error;
    if (!isVerdict(error)) throw tlsFailed(target, error);
    const seen = await look(target, options, signal, again);
    throw tlsFailed(target, outOfDate(seen) ?? error, peerCertificate(seen), chainOf(seen));
  }
}

function dialPlain(
  descriptors: DescriptorAccount,
  target: Address,
  signal: Signal | undefined,
  up?: () => void,
): Promise<Plain> {
  if (!descriptors.take("dial")) {
    descriptors.give();
    return Promise.reject(dialFailed(target, coded("EMFILE")));
  }
  const { promise, resolve, reject } = Promise.withResolvers<Plain>();
  const socket = net.connect({ ...target, allowHalfOpen: true });
  socket.once("connect", () => {
    up?.();
    resolve(connected(socket, target, "path" in target ? unnamed : undefined));
  });
  socket.once("error", (error) => reject(dialFailed(target, error)));
  socket.once("close", descriptors.give);
  return underSignal(target, signal, promise, () => socket.destroy());
}

/** Our certificate and key. If they do not fit, `plain` is aborted. */
function ownIdentity(
  target: Address,
  plain: Plain,
  options: TlsClientOptions,
): ReturnType<typeof clientIdentity> {
  try {
    return clientIdentity(target, options);
  } catch (error) {
    plain.abort();
    throw error;
  }
}

/**
 * Rejects with the runtime's error. The plain connection is the caller's to
 * close in every case.
 */
function handshake(
  target: Address,
  plain: Plain,
  options: tls.ConnectionOptions,
  signal: Signal | undefined,
): Promise<tls.TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<tls.TLSSocket>();
  const secured = tls.connect(options);
  secured.once("secureConnect", () => resolve(secured));
  secured.on("error", reject);
  secured.once("close", () => reject(coded("ECONNRESET")));
  return underSignal(target, signal, promise, () => plain.abort());
}

/**
 * After a failed verification, node:tls does not return the certificate. A
 * second connection, without any data, reads it.
 */
async function look(
  target: Address,
  options: TlsClientOptions,
  signal: Signal | undefined,
  again: Again<Handle>,
): Promise<tls.PeerCertificate | undefined> {
  return await cancellable(signal, async (within) => {
    const limit = setTimeout(() => within.abort(undefined), lookLimit);
    try {
      const plain = await again(within);
      const insecurely = {
        ...verification({ ...options, insecureSkipVerify: true }),
        socket: streamOver(plain).below,
      };
      const secured = handshake(target, plain, insecurely, within);
      return await secured
        .then((socket) => socket.getPeerCertificate(true))
        .finally(() => plain.abort());
    } catch {
      // The caller reports the failure without the certificate.
      return undefined;
    } finally {
      clearTimeout(limit);
    }
  });
}

/**
 * The handle of a PullConn: a plain socket, or a TLS socket with the parts
 * below it.
 */
interface Handle {
  readonly socket: net.Socket;
  pause(): void;
  resume(): void;
  reset(): void;
  local(): Address;
  /** Only with TLS. */
  peer?(): PeerCertificate | undefined;
  /** Set once there is a PullConn. */
  drained(): void;
}

type Plain = PullConn<Handle>;

/** `local` is the local address if it is known and shared. */
function connected(socket: net.Socket, address: Address, local?: Address): Plain {
  const handle = {
    socket,
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    // A unix socket has no RST: its peer sees an end.
    reset: () => ("path" in address ? socket.destroy() : socket.resetAndDestroy()),
    local: () => ipAddress(socket.localAddress, socket.localPort),
  };
  const remote = "path" in address ? address : ipAddress(socket.remoteAddress, socket.remotePort);
  if ("host" in address) socket.setNoDelay(true).setKeepAlive(true, keepAliveIdle);
  const conn = pulling(handle, remote, local);
  socket.on("error", (error) => conn.fail(lost(conn.remote, error)));
  socket.on("close", () => conn.gone());
  return conn;
}

/** `tail` if the end of the stream has to be the peer's own. */
function overTls(
  secured: tls.TLSSocket,
  plain: Plain,
  stream: StreamOver,
  tail?: StreamTail,
): Plain {
  // A paused TLS socket of Deno goes on taking from the stream below it, so the
  // stream is paused. The certificate is read now, since Deno forgets it with
  // the connection's end.
  const peer = peerCertificate(secured.getPeerCertificate());
  const handle = {
    socket: secured,
    pause: stream.pause,
    resume: stream.resume,
    reset: () => plain.abort(),
    local: () => plain.local,
    peer: () => peer,
  };
  const conn = pulling(handle, plain.remote, undefined, tail);
  stream.below.once("broken", (error) => conn.fail(error));
  secured.on("error", (error) => {
    conn.fail(lost(conn.remote, error));
    plain.abort();
  });
  secured.on("close", () => plain.close());
  void plain.closed.then(() => {
    secured.destroy();
    conn.gone(undefined, tail?.whole);
  });
  return conn;
}

function pulling(
  parts: Omit<Handle, "drained">,
  remote: Address,
  local?: Address,
  tail?: StreamTail,
): Plain {
  const handle: Handle = { ...parts, drained: () => conn.drained() };
  const conn: Plain = new PullConn(handle, verbs, remote, local);
  handle.socket.on("data", (bytes) => conn.received(bytes as Uint8Array)); // strings would need setEncoding()
  handle.socket.on("end", () => conn.theyFinished(tail?.whole));
  return conn;
}

const verbs: SocketVerbs<Handle> = {
  write({ socket, drained }, bytes) {
    // Waits for the callback even if there is room, since the stream uses the
    // array until then.
    socket.write(bytes, (error) => error ?? drained());
    return taken;
  },
  pause: (handle) => handle.pause(),
  resume: (handle) => handle.resume(),
  shutdown: ({ socket }) => socket.end(),
  terminate: (handle) => handle.reset(),
  release: ({ socket }) => socket.destroy(),
  limitBuffers: () => undefined,
  local: (handle) => handle.local(),
  peer: (handle) => handle.peer?.(),
};

const taken = new Uint8Array(0);
