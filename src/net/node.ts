/**
 * The seam on node:net and node:tls, for Deno. TLS runs over a stream of our own and not over the socket itself: only the plain socket
 * can send a RST, and only it tells a RST from a FIN (Deno 2.9.6 reports both as the end of a TLS stream).
 */
import * as net from "node:net";
import process from "node:process";
import { Duplex } from "node:stream";
import { clearTimeout, setTimeout } from "node:timers";
import * as tls from "node:tls";
import { isNgrokdError, type NgrokdError } from "../model/error.ts";
import { checkListenable, ipAddress, peerCertificate } from "./addresses.ts";
import { giveDescriptor, takeDescriptor } from "./descriptors.ts";
import { dialEach, underSignal } from "./dial.ts";
import { dialFailed, isVerdict, listenFailed, lost, tlsFailed, tooManySockets } from "./errors.ts";
import { handOver, type OnConn } from "./hand-over.ts";
import { handshakeLimit, keepAliveIdle, lookLimit } from "./limits.ts";
import { type Ends, PullConn, type SocketVerbs } from "./pull.ts";
import type { Address, Conn, Listener, Net, PeerCertificate, TlsClientOptions, TlsServerOptions } from "./types.ts";
import { fileAt, privately, stopAt } from "./unix.ts";

export const nodeNet: Net = {
  runtime: process.versions.deno === undefined ? "node" : "deno",
  listen: (address, onConn, options = {}) => listen(address, onConn, options.tls),
  dial: (address, options = {}) => dialEach(address, options, dialOne),
};

async function listen(address: Address, onConn: OnConn, options: TlsServerOptions | undefined): Promise<Listener> {
  checkListenable(address, options);
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    const admitted = takeDescriptor("accept");
    socket.once("close", giveDescriptor);
    const conn = connected(socket, address);
    if (!admitted) conn.abort();
    else if (options === undefined) handOver(conn, onConn);
    else acceptTls(conn, options, onConn);
  });
  const listening = Promise.withResolvers<void>();
  server.once("listening", listening.resolve).once("error", listening.reject);
  try {
    if ("host" in address) server.listen(address.port, address.host);
    else privately(() => server.listen(address.path));
    await listening.promise;
  } catch (error) {
    throw listenFailed(address, error);
  }
  // A failed accept (the peer was gone already, no descriptor left) concerns that one connection only.
  server.on("error", () => undefined);
  if ("path" in address) {
    const ours = fileAt(address.path);
    return { address, close: () => server.listening && stopAt(address.path, ours, () => server.close()) };
  }
  const bound = server.address() as net.AddressInfo;
  return { address: { host: address.host, port: bound.port }, close: () => server.listening && server.close() };
}

/** A server for each connection, so that it is known which plain connection a secured stream runs on. */
function acceptTls(plain: Plain, { cert, key, clientCa }: TlsServerOptions, onConn: OnConn): void {
  const deadline = setTimeout(() => plain.abort(), handshakeLimit);
  const client =
    clientCa === undefined ? {} : { ca: [...clientCa], requestCert: true, rejectUnauthorized: true, allowPartialTrustChain: true };
  const server = tls.createServer({ cert, key, ...client, allowHalfOpen: true });
  server.on("tlsClientError", () => plain.close());
  server.on("secureConnection", (secured) => {
    clearTimeout(deadline);
    handOver(overTls(secured, plain, stream), onConn);
  });
  const stream = streamOver(plain);
  void plain.closed.then(() => clearTimeout(deadline));
  server.emit("connection", stream);
}

async function dialOne(target: Address, options: TlsClientOptions | undefined, signal: AbortSignal | undefined): Promise<Conn> {
  const plain = await dialPlain(target, signal);
  if (options === undefined) return plain;
  try {
    return await handshake(plain, target, options, signal);
  } catch (error) {
    plain.close();
    if (isNgrokdError(error)) throw error;
    const certificate = isVerdict(error) ? await look(target, options, signal) : undefined;
    throw tlsFailed(target, error, certificate);
  }
}

function dialPlain(target: Address, signal: AbortSignal | undefined): Promise<Plain> {
  if (!takeDescriptor("dial")) {
    giveDescriptor();
    return Promise.reject(tooManySockets(target));
  }
  const { promise, resolve, reject } = Promise.withResolvers<Plain>();
  const socket = net.connect({ ...target, allowHalfOpen: true });
  socket.once("connect", () => resolve(connected(socket, target)));
  socket.once("error", (error) => reject(dialFailed(target, error)));
  socket.once("close", giveDescriptor);
  return underSignal(target, signal, promise, () => socket.destroy());
}

/** Rejects with what the runtime says; whatever happens, the plain connection is the caller's to close. */
function handshake(plain: Plain, target: Address, options: TlsClientOptions, signal: AbortSignal | undefined): Promise<Conn> {
  const { promise, resolve, reject } = Promise.withResolvers<Conn>();
  const stream = streamOver(plain);
  const secured = tls.connect({ ...clientTls(options), socket: stream });
  secured.once("secureConnect", () => resolve(overTls(secured, plain, stream)));
  secured.on("error", reject);
  secured.once("close", () => reject(Object.assign(new Error("closed"), { code: "ECONNRESET" })));
  return underSignal(target, signal, promise, () => plain.abort());
}

/** node:tls answers a failed verification without the certificate: a second connection, on which nothing is said, looks at it. */
async function look(
  target: Address,
  { serverName, ca }: TlsClientOptions,
  signal: AbortSignal | undefined,
): Promise<PeerCertificate | undefined> {
  const limit = AbortSignal.timeout(lookLimit);
  try {
    const seen = await dialOne(
      target,
      { serverName, ca, insecureSkipVerify: true },
      signal === undefined ? limit : AbortSignal.any([signal, limit]),
    );
    seen.abort();
    return seen.peer;
  } catch {
    // The error that this was to explain stands without it.
    return undefined;
  }
}

interface Handle {
  readonly socket: net.Socket;
  /** Both halves at once, as a RST where there is such a thing. */
  reset(): void;
  drained(): void;
}

type Plain = PullConn<Handle>;

function connected(socket: net.Socket, address: Address): Plain {
  const ends =
    "path" in address
      ? { remote: address, local: address }
      : { remote: ipAddress(socket.remoteAddress, socket.remotePort), local: ipAddress(socket.localAddress, socket.localPort) };
  if ("host" in address) socket.setNoDelay(true).setKeepAlive(true, keepAliveIdle);
  const conn = pulling(socket, "host" in address ? () => socket.resetAndDestroy() : () => socket.destroy(), ends);
  socket.on("close", () => conn.gone());
  return conn;
}

function overTls(secured: tls.TLSSocket, plain: Plain, stream: Duplex): Conn {
  const reset = () => {
    plain.abort();
    secured.destroy();
  };
  const conn = pulling(secured, reset, { remote: plain.remote, local: plain.local, peer: peerCertificate(secured.getPeerCertificate()) });
  stream.once("broken", (error: NgrokdError) => conn.fail(error));
  secured.on("close", () => plain.close());
  void plain.closed.then(() => conn.gone());
  return conn;
}

function pulling(socket: net.Socket, reset: () => void, ends: Ends): Plain {
  const handle: Handle = { socket, reset, drained: () => conn.drained() };
  const conn: Plain = new PullConn(handle, verbs, ends);
  socket.on("data", (bytes) => conn.received(bytes as Uint8Array)); // strings would need setEncoding()
  socket.on("end", () => conn.theyFinished());
  socket.on("error", (error) => conn.fail(lost(conn.remote, error)));
  return conn;
}

const verbs: SocketVerbs<Handle> = {
  write({ socket, drained }, bytes) {
    // Waits for the callback also where there is room, since until then the stream goes on using the array.
    socket.write(bytes, (error) => error ?? drained());
    return taken;
  },
  pause: ({ socket }) => socket.pause(),
  resume: ({ socket }) => socket.resume(),
  shutdown: ({ socket }) => socket.end(),
  terminate: ({ reset }) => reset(),
  release: ({ socket }) => socket.destroy(),
};

const taken = new Uint8Array(0);

/** A connection as the stream that node:tls wants below it. Says "broken" before everything else when the connection fails. */
function streamOver(conn: Conn): Duplex {
  const stream = new Duplex({
    allowHalfOpen: true,
    async read() {
      try {
        stream.push(await conn.read());
      } catch (error) {
        stream.emit("broken", error);
        stream.destroy(error as Error);
      }
    },
    async write(bytes, _encoding, done) {
      try {
        await conn.write(bytes);
        done();
      } catch (error) {
        done(error as Error);
      }
    },
    final(done) {
      conn.closeWrite();
      done();
    },
    destroy(error, done) {
      if (error === null) conn.close();
      else conn.abort();
      done(error);
    },
  });
  return stream.on("error", () => undefined);
}

/** `rejectUnauthorized` is spelled out since NODE_TLS_REJECT_UNAUTHORIZED would decide otherwise; `allowPartialTrustChain` lets an intermediate CA be an anchor. */
function clientTls({ serverName, ca, cert, key, insecureSkipVerify }: TlsClientOptions): tls.ConnectionOptions {
  const own = cert === undefined || key === undefined ? {} : { cert, key };
  // An IP is no server name on the wire (RFC 6066), but as `host` it is what the certificate is checked against.
  const name = net.isIP(serverName) === 0 ? { servername: serverName } : { servername: "", host: serverName };
  return { ca: [...ca], ...name, ...own, rejectUnauthorized: insecureSkipVerify !== true, allowPartialTrustChain: true };
}
