/**
 * The seam on Bun's native sockets. Seen on Bun 1.4.5 and built upon here: end() and close() lose bytes that write() has accepted, so
 * that only shutdown() ends a half; a TLS socket may be used from `handshake` on, not from `open`; a dial cannot be cancelled, only its
 * late winner be terminated; `drain` comes uncalled; TCP_NODELAY is on from the start.
 */
import { clearTimeout, setTimeout } from "node:timers";
import { checkListenable, ipAddress, peerCertificate } from "./addresses.ts";
import { giveDescriptor, takeDescriptor } from "./descriptors.ts";
import { dialEach, underSignal } from "./dial.ts";
import { dialFailed, listenFailed, tlsFailed } from "./errors.ts";
import { handOver, type OnConn } from "./hand-over.ts";
import { handshakeLimit, keepAliveIdle } from "./limits.ts";
import { PullConn, type SocketVerbs } from "./pull.ts";
import type { Address, Conn, Listener, Net, PeerCertificate, TlsClientOptions, TlsServerOptions } from "./types.ts";
import { fileAt, privately, stopAt } from "./unix.ts";

export const bunNet: Net = {
  runtime: "bun",
  listen: async (address, onConn, options = {}) => listen(address, onConn, options.tls),
  dial: (address, options = {}) => dialEach(address, options, dialOne),
};

type Socket = Bun.Socket<Stage>;

/** Who hears what a socket has to say: first the code that opens it, then its PullConn. */
interface Stage {
  opened?(socket: Socket): void;
  /** `error` says what is wrong with the certificate, or what broke the handshake. */
  handshaken?(socket: Socket, ok: boolean, error: Error | null): void;
  received(bytes: Uint8Array): void;
  drained(): void;
  theyFinished(): void;
  broke(error: Error): void;
  gone(error?: Error): void;
}

function listen(address: Address, onConn: OnConn, tls: TlsServerOptions | undefined): Listener {
  checkListenable(address);
  const open = (socket: Socket) => {
    if (!takeDescriptor("accept")) turnAway(socket);
    else if (tls === undefined) handOver(connected(socket, address), onConn);
    else acceptTls(socket, address, tls, onConn);
  };
  const options = { allowHalfOpen: true, socket: { ...handlers, open }, ...(tls === undefined ? {} : { tls: serverTls(tls) }) };
  try {
    if ("path" in address) {
      const server = privately(() => Bun.listen<Stage>({ ...options, unix: address.path }));
      const ours = fileAt(address.path);
      return { address, close: once(() => stopAt(address.path, ours, () => server.stop())) };
    }
    const server = Bun.listen<Stage>({ ...options, hostname: address.host, port: address.port });
    return { address: { host: address.host, port: server.port }, close: once(() => server.stop()) };
  } catch (error) {
    throw listenFailed(address, error);
  }
}

function acceptTls(socket: Socket, address: Address, tls: TlsServerOptions, onConn: OnConn): void {
  const deadline = setTimeout(() => socket.terminate(), handshakeLimit);
  socket.data = {
    ...deaf,
    handshaken(_, ok, error) {
      clearTimeout(deadline);
      // A failed handshake is ended by Bun itself, behind the alert that says why. Without clientCa an error only says that there is
      // no client certificate.
      if (!ok) return;
      if (tls.clientCa !== undefined && (error || !socket.authorized)) socket.terminate();
      else handOver(connected(socket, address, peerCertificate(socket.getPeerCertificate())), onConn);
    },
    gone() {
      clearTimeout(deadline);
      giveDescriptor();
    },
  };
}

function turnAway(socket: Socket): void {
  socket.data = { ...deaf, gone: ignore };
  socket.terminate();
}

function dialOne(target: Address, tls: TlsClientOptions | undefined, signal: AbortSignal | undefined): Promise<Conn> {
  const { promise, resolve, reject } = Promise.withResolvers<Conn>();
  let dialed: Socket | undefined;
  let stopped = false;
  const data: Stage = {
    ...deaf,
    opened(socket) {
      dialed = socket;
      if (stopped) socket.terminate();
      else if (tls === undefined) resolve(connected(socket, target));
    },
    handshaken(socket, ok, error) {
      const certificate = peerCertificate(socket.getPeerCertificate());
      const verified = ok && !error && socket.authorized;
      const accepted = verified || (tls?.insecureSkipVerify === true && (ok || isNameMismatch(error)));
      if (accepted && !stopped) return resolve(connected(socket, target, certificate));
      reject(tlsFailed(target, error ?? new Error("the server's certificate was not verified"), certificate));
      socket.terminate();
    },
    gone(error) {
      giveDescriptor();
      // Only meant for a handshake that the server cut off; otherwise the promise is settled by now.
      reject(tlsFailed(target, error ?? Object.assign(new Error("closed"), { code: "ECONNRESET" })));
    },
  };
  const where = "path" in target ? { unix: target.path } : { hostname: target.host, port: target.port };
  const options = { allowHalfOpen: true, data, socket: handlers, ...(tls === undefined ? {} : { tls: clientTls(tls, target) }) };
  start(() => Bun.connect<Stage>({ ...options, ...where })).catch((error) => {
    giveDescriptor();
    reject(/^ERR_(BORING|OS)SL/.test(error.code) ? tlsFailed(target, error) : dialFailed(target, error));
  });
  return underSignal(target, signal, promise, () => {
    stopped = true;
    dialed?.terminate();
  });
}
