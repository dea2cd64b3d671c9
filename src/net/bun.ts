/**
 * The seam on Bun's native sockets. It relies on these facts of Bun 1.4.5:
 * end() and close() lose bytes that write() has accepted, so only shutdown()
 * ends a half. A TLS socket may be used from `handshake` on, not from `open`. A
 * dial cannot be cancelled; a late connection can only be terminated. `drain`
 * is also called without need. TCP_NODELAY is on from the start.
 */
import { edenGC } from "bun:jsc";
import { closeSync } from "node:fs";
import { clearTimeout, setTimeout } from "node:timers";
import { type NgrokdError, reasonOf } from "../model/error.ts";
import { checkListenable, ipAddress, peerCertificate, sharedLocal, unnamed } from "./addresses.ts";
import { openDiag } from "./bun-diag.ts";
import { bunEnclosure } from "./bun-enclosure.ts";
import { becomeProgram } from "./bun-exec.ts";
import {
  adoptedAddress,
  adoptedUdpAddress,
  copier,
  freeListener,
  heritableCopy,
  isFull,
  limitBuffersOf,
  makeFilesOnlyIn,
  peerUser,
} from "./bun-libc.ts";
import { receiveDescriptors, sendDatagram, sendDescriptors } from "./bun-rights.ts";
import { bunRouting } from "./bun-routing.ts";
import {
  deaf,
  descriptorOf,
  handTo,
  ignore,
  type Socket,
  type Stage,
  Tapped,
} from "./bun-stage.ts";
import {
  bunJudges,
  chainFrom,
  clientTls,
  problemOf,
  serverTls,
  withoutMissingFile,
} from "./bun-tls.ts";
import { bunUdp } from "./bun-udp.ts";
import { createCallers } from "./callers.ts";
import { createDescriptorAccount, type DescriptorAccount } from "./descriptors.ts";
import { type Dialer, dialAny, underSignal } from "./dial.ts";
import { coded, dialFailed, isVerdict, listenFailed, notAdopted, tlsFailed } from "./errors.ts";
import { handOver } from "./hand-over.ts";
import { leanSession } from "./lean-session.ts";
import { PullConn, type SocketVerbs } from "./pull.ts";
import { handshakeLimit, keepAliveIdle } from "./timeouts.ts";
import type {
  Address,
  Listener,
  ListenOptions,
  Net,
  OnConn,
  TlsClientOptions,
  TlsServerOptions,
  TlsSessions,
} from "./types.ts";
import { closeDescriptor, fileAt, privately, stopAt } from "./unix.ts";

export { becomeProgram, makeFilesOnlyIn };

/** A net with an account of its own. */
export function createBunNet(): Net {
  const descriptors = createDescriptorAccount();
  const shared = createShared(descriptors);
  const dialer: Dialer<Socket> = {
    dial: (...target) => dialOne(shared, ...target),
    secure: (...plain) => secure(shared, ...plain),
  };
  return {
    runtime: "bun",
    descriptors,
    listen: (address, onConn, options = {}) =>
      descriptors.counted(address, () => {
        if (options.routed === true && "host" in address && isFreelyBound(address.host))
          return listenFreely(shared, address, onConn, options);
        return options.queued === true
          ? listenQueued(shared, address)
          : listen(shared, address, onConn, options.tls);
      }),
    async adopt(fd, onConn, options = {}) {
      const address = await adoptedAddress(fd);
      return await descriptors.counted(address, () =>
        options.queued === true
          ? waiting({ fd, address })
          : adopt(shared, { fd, address }, onConn, options.tls),
      );
    },
    udp: (address, onDatagram) => descriptors.counted(address, () => bunUdp(address, onDatagram)),
    async adoptUdp(fd, onDatagram) {
      const address = await adoptedUdpAddress(fd);
      return await descriptors.counted(address, () => bunUdp(address, onDatagram, fd));
    },
    dial: (address, options = {}) => dialAny(address, options, dialer),
    datagram: sendDatagram,
    sendDescriptors: (conn, passed) =>
      sendDescriptors(
        () => (conn instanceof PullConn ? descriptorOf(conn.socket) : undefined),
        passed,
      ),
    receiveDescriptors,
    heritableCopy,
    addressOf: adoptedAddress,
    closeDescriptor,
    routing: bunRouting,
    enclosure: bunEnclosure,
    userOf: (conn) =>
      conn instanceof PullConn
        ? peerUser(() => descriptorOf(conn.socket) ?? -1)
        : Promise.resolve(undefined),
    callerOf: createCallers(openDiag),
  };
}

/** The common parts of all sockets of one net. */
interface Shared {
  readonly descriptors: DescriptorAccount;
  readonly handlers: Handlers;
  /** A connection was opened. */
  opened(): void;
  /** A listener was opened. */
  listening(): void;
  /** One copy of a host: most peers have the same address. */
  host(host: string | undefined): string | undefined;
}

function createShared(descriptors: DescriptorAccount): Shared {
  const openedOrClosed = createBurstCollector();
  let last: string | undefined;
  return {
    descriptors,
    handlers: createHandlers(descriptors, openedOrClosed),
    opened: openedOrClosed,
    listening: createListenerCollector(openedOrClosed),
    host(host) {
      if (host !== last) last = host;
      return last;
    },
  };
}

function listen(
  shared: Shared,
  address: Address,
  onConn: OnConn,
  tls: TlsServerOptions | undefined,
): Listener {
  checkListenable(address, tls);
  const accepting = new Accepting(shared, address, onConn, tls);
  const options = acceptOptions(accepting);
  try {
    if ("path" in address) {
      const server = privately(() => Bun.listen<Stage>({ ...options, unix: address.path }));
      accepting.local = address;
      return listenerAt(address, server, fileAt(address.path));
    }
    const server = Bun.listen<Stage>({ ...options, hostname: address.host, port: address.port });
    const listening = { host: address.host, port: server.port };
    accepting.local = sharedLocal(listening);
    shared.listening();
    return listenerOf(listening, server);
  } catch (error) {
    throw listenFailed(address, error);
  }
}

type Server = Bun.SocketListener<Stage>;

/** Its own function, since a listener keeps all that its close() can see. */
const listenerOf = (address: Address, server: Server): Listener => ({
  address,
  fd: descriptorOf(server),
  close: () => server.stop(),
});

const listenerAt = (
  address: { readonly path: string },
  server: Server,
  ours: string | undefined,
): Listener => ({
  address,
  fd: descriptorOf(server),
  close: () => stopAt(address.path, ours, () => server.stop()),
});

const isFreelyBound = (host: string): boolean => process.platform === "linux" && host.includes(":");

/** On an IPv6 address of no interface. */
async function listenFreely(
  shared: Shared,
  address: { readonly host: string; readonly port: number },
  onConn: OnConn,
  { tls, queued = false }: ListenOptions,
): Promise<Listener> {
  checkListenable(address, tls);
  const fd = await freeListener(address.host, address.port).catch((error: unknown) => {
    throw listenFailed(address, error);
  });
  const bound = address.port === 0 ? await adoptedAddress(fd) : address;
  if (queued) return waiting({ fd, address: bound });
  try {
    return adopt(shared, { fd, address: bound }, onConn, tls);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * The runtime would accept, so only a copy of its socket stays. Nothing comes
 * between its listen(2) and its end here.
 */
async function listenQueued(shared: Shared, address: Address): Promise<Listener> {
  const copy = await copier().catch((cause: unknown) => {
    throw listenFailed(address, cause);
  });
  const listener = listen(shared, address, (conn) => conn.abort(), undefined);
  try {
    return waiting({ fd: copy(listener.fd ?? -1), address: listener.address });
  } catch (error) {
    throw listenFailed(address, error);
  } finally {
    listener.close();
  }
}

/** A listening socket from which only other processes accept. */
const waiting = ({ fd, address }: { fd: number; address: Address }): Listener => ({
  address,
  fd,
  close: () => closeDescriptor(fd),
});

/** Bun 1.4.5 does not unlink the path of an adopted unix socket in stop(). */
function adopt(
  shared: Shared,
  { fd, address }: { fd: number; address: Address },
  onConn: OnConn,
  tls: TlsServerOptions | undefined,
): Listener {
  checkListenable(address, tls);
  const accepting = new Accepting(shared, address, onConn, tls);
  accepting.local = sharedLocal(address);
  // Bun knows the option, though its types do not.
  const options = { ...acceptOptions(accepting), fd } as unknown as Bun.UnixSocketOptions<Stage>;
  try {
    const server = Bun.listen<Stage>(options);
    shared.listening();
    return { ...listenerOf(address, server), fd };
  } catch (error) {
    throw notAdopted(fd, reasonOf(error), error);
  }
}

/**
 * The first stage of all sockets that a listener accepts. One object for each
 * listener: there are thousands, so they share the handlers.
 */
class Accepting implements Stage {
  /** The local address of all connections; set once it is known. */
  local: Address | undefined;
  readonly shared: Shared;
  private readonly address: Address;
  private readonly onConn: OnConn;
  readonly tls: TlsServerOptions | undefined;

  constructor(shared: Shared, address: Address, onConn: OnConn, tls: TlsServerOptions | undefined) {
    this.local = undefined;
    this.shared = shared;
    this.address = address;
    this.onConn = onConn;
    this.tls = tls;
  }

  opened(socket: Socket): void {
    if (!this.shared.descriptors.take("accept")) turnAway(socket);
    else if (this.tls === undefined) this.accept(socket);
    else acceptTls(socket, this.tls, (secured) => this.accept(secured));
  }

  private accept(socket: Socket): void {
    handOver(connected(this.shared, socket, this.address, this.local), this.onConn);
  }

  // Nothing comes before `opened`, which gives the socket another stage.
  received(): void {}
  drained(): void {}
  theyFinished(): void {}
  broke(): void {}
  gone(): void {}
}

/** For Bun.listen(). */
const acceptOptions = (accepting: Accepting) => {
  const { shared, tls } = accepting;
  const secured = tls === undefined ? {} : { tls: serverTls(tls) };
  return { allowHalfOpen: true, data: accepting, socket: shared.handlers, ...secured } as const;
};

/** `accept` is called for a handshaken and verified socket. */
function acceptTls(socket: Socket, tls: TlsServerOptions, accept: (socket: Socket) => void): void {
  const deadline = setTimeout(() => socket.terminate(), handshakeLimit);
  socket.data = {
    ...deaf,
    handshaken(_, ok, error) {
      clearTimeout(deadline);
      // Bun itself ends a failed handshake, after the alert with the reason.
      // Without clientCa an error only means that there is no client
      // certificate.
      if (!ok) return;
      if (tls.clientCa !== undefined && (error || !socket.authorized)) socket.terminate();
      else accept(socket);
    },
    gone() {
      clearTimeout(deadline);
    },
  };
}

function turnAway(socket: Socket): void {
  socket.data = { ...deaf, gone: ignore };
  socket.terminate();
}

function dialOne(
  shared: Shared,
  ...[target, tls, signal, up]: Parameters<Dialer<Socket>["dial"]>
): Promise<PullConn<Socket>> {
  const { descriptors } = shared;
  if (!descriptors.take("dial")) {
    descriptors.give();
    return Promise.reject(dialFailed(target, coded("EMFILE")));
  }
  const dialing = newDialing();
  let dialed: Socket | undefined;
  const data: Stage = {
    ...deaf,
    opened(socket) {
      dialed = socket;
      if (dialing.stopped) return void socket.terminate();
      up();
      if (tls !== undefined) dialed = startTls(shared, target, socket, tls, dialing);
      else
        dialing.resolve(connected(shared, socket, target, "path" in target ? unnamed : undefined));
    },
    gone: ignore,
  };
  connect(shared, data, target).catch(async (error) => {
    descriptors.give();
    dialing.reject(await connectFailed(target, error));
  });
  return underSignal(target, signal, dialing.promise, () => {
    dialing.stopped = true;
    dialed?.terminate();
  });
}

async function connect({ handlers }: Shared, data: Stage, target: Address): Promise<Socket> {
  const options = { allowHalfOpen: true, data, socket: handlers };
  return "path" in target
    ? await Bun.connect<Stage>({ ...options, unix: target.path })
    : await Bun.connect<Stage>({ ...options, hostname: target.host, port: target.port });
}

async function connectFailed(target: Address, said: { code?: unknown }): Promise<NgrokdError> {
  const code = String(said.code);
  if (/^ERR_(BORING|OS)SL/.test(code)) return tlsFailed(target, said);
  const full = "path" in target && code === "ECONNREFUSED" && (await isFull(target.path));
  return dialFailed(target, full ? coded("EAGAIN") : said);
}

function secure(
  shared: Shared,
  ...[target, plain, tls, signal]: Parameters<Dialer<Socket>["secure"]>
): Promise<PullConn<Socket>> {
  const dialing = newDialing();
  const secured = startTls(shared, target, plain.socket, tls, dialing);
  return underSignal(target, signal, dialing.promise, () => {
    dialing.stopped = true;
    secured.terminate();
  });
}

/**
 * TLS over an open socket, and not in Bun's own dial: only so does the
 * ciphertext come, too. Returns the TLS socket, which frees the descriptor.
 */
function startTls(
  shared: Shared,
  target: Address,
  plain: Socket,
  tls: TlsClientOptions,
  dialing: Dialing,
): Socket {
  const attempt = (options: TlsClientOptions): Socket => {
    const session = sessionsOf(tls)?.get();
    const tapped = new Tapped(tlsStage(shared, target, { tls, session }, dialing));
    const [raw, secured] = plain.upgradeTLS<Stage>({
      data: tapped,
      tls: clientTls(options, session),
      socket: shared.handlers,
    });
    tapped.begin(raw);
    return secured;
  };
  try {
    return withoutMissingFile(tls, attempt);
  } catch (error) {
    // For example, our certificate does not fit its key.
    dialing.reject(tlsFailed(target, error));
    plain.terminate();
    return plain;
  }
}

interface Dialing {
  readonly promise: Promise<PullConn<Socket>>;
  resolve(conn: PullConn<Socket>): void;
  reject(error: unknown): void;
  /** The caller has given up. */
  stopped: boolean;
}
const newDialing = (): Dialing => ({
  ...Promise.withResolvers<PullConn<Socket>>(),
  stopped: false,
});

const sessionsOf = (tls: TlsClientOptions): TlsSessions | undefined =>
  tls.insecureSkipVerify === true ? undefined : tls.sessions;

/** `session` is offered to the server. */
function tlsStage(
  shared: Shared,
  target: Address,
  { tls, session }: { tls: TlsClientOptions; session: Uint8Array | undefined },
  dialing: Dialing,
): Stage {
  const { resolve, reject } = dialing;
  const sessions = sessionsOf(tls);
  return {
    ...deaf,
    opened(socket) {
      // Only here: `handshake` would ignore it.
      if (session !== undefined) socket.setSession(session);
    },
    handshaken(socket, ok, error) {
      const problem = problemOf(socket, ok, error, tls);
      const verified = problem === undefined;
      const accepted = verified || (tls.insecureSkipVerify === true && (ok || isVerdict(error)));
      if (accepted && !dialing.stopped)
        return resolve(
          connected(shared, socket, target, undefined, verified ? sessions : undefined),
        );
      const shown = peerCertificate(socket.getPeerCertificate());
      reject(tlsFailed(target, problem, shown, chainFrom(socket)));
      // If Bun judges, it closes the connection itself, after the alert with
      // the reason.
      if (ok || !bunJudges(tls, session)) socket.terminate();
    },
    gone(error) {
      // Only for a handshake that the server cut off; otherwise the promise is
      // settled by now.
      reject(tlsFailed(target, error ?? coded("ECONNRESET")));
    },
  };
}

/**
 * Makes a connection of a socket. `local` is its local address if that is known
 * and shared.
 */
function connected(
  shared: Shared,
  socket: Socket,
  address: Address,
  local: Address | undefined,
  sessions?: TlsSessions,
): PullConn<Socket> {
  const remote =
    "path" in address ? address : ipAddress(shared.host(socket.remoteAddress), socket.remotePort);
  if (!("path" in address)) socket.setKeepAlive(true, keepAliveIdle);
  const conn = new PullConn(socket, verbs, remote, local);
  handTo(socket, sessions?.wanted() ? takingSession(socket, conn, sessions) : conn);
  shared.opened();
  return conn;
}

/**
 * Bun collects garbage while the heap grows. A burst of sockets leaves 2 KiB
 * each, which would stay as long as nothing else happens. So it is collected in
 * the first pause after many were opened or closed. With thousands of open
 * connections that stops everything for some 30 ms, so it is rare. (A
 * collection in the background leaves half of the garbage.)
 */
const [burst, pauseMs, apartMs] = [1000, 250, 5000];

/**
 * Listeners stay for long. Each would keep a page that is otherwise full of the
 * garbage of opening it, so that goes while many are opened: some 5 ms for so
 * many of them.
 */
const collectEvery = 250;

/** The function is to be called for every listener that is opened. */
function createListenerCollector(opened: () => void): () => void {
  let listeners = 0;
  return () => {
    opened();
    listeners += 1;
    if (listeners % collectEvery === 0) edenGC();
  };
}

/** The function is to be called for every socket that is opened or closed. */
function createBurstCollector(): () => void {
  let openedOrClosed = 0;
  let collected = 0;
  const collectInPause = (seen: number): void => {
    setTimeout(() => {
      const now = performance.now();
      if (openedOrClosed !== seen || now - collected < apartMs)
        return collectInPause(openedOrClosed);
      openedOrClosed = 0;
      collected = now;
      Bun.gc(true);
    }, pauseMs).unref();
  };
  return () => {
    openedOrClosed += 1;
    if (openedOrClosed === burst) collectInPause(openedOrClosed);
  };
}

/**
 * Is in front of a connection until its first bytes. From then on a session can
 * be resumed, since the tickets come before them.
 */
function takingSession(socket: Socket, conn: PullConn<Socket>, sessions: TlsSessions): Stage {
  return {
    received(bytes) {
      handTo(socket, conn);
      const session = socket.getSession();
      if (session != null) void leanSession(session).then((lean) => sessions.put(lean));
      conn.received(bytes);
    },
    drained: () => conn.drained(),
    theyFinished: (whole) => conn.theyFinished(whole),
    broke: (error) => conn.broke(error),
    gone: (error, whole) => conn.gone(error, whole),
  };
}

const verbs: SocketVerbs<Socket> = {
  local: (socket) => ipAddress(socket.localAddress, socket.localPort),
  peer: (socket) => peerCertificate(socket.getPeerCertificate()),
  write(socket, bytes) {
    const taken = socket.write(bytes);
    if (taken === bytes.length) return undefined;
    return taken < 0 ? null : bytes.subarray(taken);
  },
  pause: (socket) => socket.pause(),
  resume: (socket) => socket.resume(),
  shutdown: (socket) => socket.shutdown(),
  terminate: (socket) => socket.terminate(),
  release: (socket) => socket.close(),
  limitBuffers: (socket, bytes) => limitBuffersOf(descriptorOf(socket), bytes),
};

type Handlers = ReturnType<typeof createHandlers>;

/** The callbacks for Bun. One object serves all sockets of a net. */
const createHandlers = ({ give }: DescriptorAccount, closed: () => void) =>
  ({
    binaryType: "uint8array",
    open: (socket: Socket) => socket.data.opened?.(socket),
    handshake: (socket: Socket, ok: boolean, error: Error | null) =>
      socket.data.handshaken?.(socket, ok, error),
    data: (socket: Socket, bytes: Uint8Array) => socket.data.received(bytes),
    drain: (socket: Socket) => socket.data.drained(),
    end: (socket: Socket) => socket.data.theyFinished(),
    error: (socket: Socket, error: Error) => socket.data.broke(error),
    close: (socket: Socket, error?: Error) => {
      give();
      closed();
      socket.data.gone(error);
    },
  }) as const;
