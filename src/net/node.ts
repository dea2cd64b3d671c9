/**
 * The seam on node:net and node:tls, for Deno. TLS runs over a stream of our own and not over the socket itself: only the plain socket
 * can send a RST, and only it tells a RST from a FIN (Deno 2.9.6 reports both as the end of a TLS stream).
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import * as net from "node:net";
import process from "node:process";
import { Duplex } from "node:stream";
import { clearTimeout, setTimeout } from "node:timers";
import * as tls from "node:tls";
import { isNgrokdError, type NgrokdError } from "../model/error.ts";
import { checkListenable, ipAddress, peerCertificate } from "./addresses.ts";
import { giveDescriptor, takeDescriptor } from "./descriptors.ts";
import { dialEach, underSignal } from "./dial.ts";
import { dialFailed, listenFailed, lost, tlsFailed, tooManySockets } from "./errors.ts";
import { handOver, type OnConn } from "./hand-over.ts";
import { handshakeLimit, keepAliveIdle, lookLimit } from "./limits.ts";
import { PullConn, type SocketVerbs } from "./pull.ts";
import type { Address, Conn, Listener, Net, PeerCertificate, TlsClientOptions, TlsServerOptions } from "./types.ts";
import { fileAt, privately, stopAt } from "./unix.ts";

export const nodeNet: Net = {
  runtime: process.versions["deno"] === undefined ? "node" : "deno",
  listen: (address, onConn, options = {}) => listen(address, onConn, options.tls),
  dial: (address, options = {}) => dialEach(address, options, dialOne),
};

async function listen(address: Address, onConn: OnConn, options: TlsServerOptions | undefined): Promise<Listener> {
  checkListenable(address, options);
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    const admitted = takeDescriptor("accept");
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
  const client = clientCa === undefined ? {} : { ca: [...clientCa], requestCert: true, rejectUnauthorized: true, allowPartialTrustChain: true };
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
}
