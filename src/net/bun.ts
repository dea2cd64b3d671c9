/**
 * The seam on Bun's native sockets. Seen on Bun 1.4.5 and built upon here:
 * end() and close() lose bytes that write() has accepted, so that only
 * shutdown() ends a half; a TLS socket may be used from `handshake` on, not
 * from `open`; a dial cannot be cancelled, only its late winner be terminated;
 * `drain` comes uncalled; TCP_NODELAY is on from the start.
 */
import { existsSync } from "node:fs";
import { clearTimeout, setTimeout } from "node:timers";
import { checkListenable, ipAddress, peerCertificate } from "./addresses.ts";
import { isFull, makeFilesOnlyIn, sendDatagram } from "./bun-libc.ts";
import { countedListener, giveDescriptor, takeDescriptor } from "./descriptors.ts";
import { type Dialer, dialAny, underSignal } from "./dial.ts";
import { coded, dialFailed, listenFailed, tlsFailed } from "./errors.ts";
import { handOver, type OnConn } from "./hand-over.ts";
import { handshakeLimit, keepAliveIdle } from "./limits.ts";
import { PullConn, type SocketVerbs } from "./pull.ts";
import type {
  Address,
  Listener,
  Net,
  TlsClientOptions,
  TlsServerOptions,
  TlsSessions,
} from "./types.ts";
import { fileAt, privately, stopAt } from "./unix.ts";

export { makeFilesOnlyIn };

export const bunNet: Net = {
  runtime: "bun",
  listen: (address, onConn, options = {}) =>
    countedListener(address, () => listen(address, onConn, options.tls)),
  dial: (address, options = {}) => dialAny(address, options, dialer),
  datagram: sendDatagram,
};

type Socket = Bun.Socket<Stage>;

/**
 * Who hears what a socket has to say: first the code that opens it, then its
 * PullConn.
 */
interface Stage {
  opened?(socket: Socket): void;
  /**
   * `error` says what is wrong with the certificate, or what broke the
   * handshake.
   */
  handshaken?(socket: Socket, ok: boolean, error: Error | null): void;
  received(bytes: Uint8Array): void;
  drained(): void;
  theyFinished(): void;
  broke(error: Error): void;
  gone(error?: Error): void;
}

function listen(address: Address, onConn: OnConn, tls: TlsServerOptions | undefined): Listener {
  checkListenable(address, tls);
  const open = (socket: Socket) => {
    if (!takeDescriptor("accept")) turnAway(socket);
    else if (tls === undefined) handOver(connected(socket, address), onConn);
    else acceptTls(socket, address, tls, onConn);
  };
  const options = {
    allowHalfOpen: true,
    socket: { ...handlers, open },
    ...(tls === undefined ? {} : { tls: serverTls(tls) }),
  };
  try {
    if ("path" in address) {
      const server = privately(() => Bun.listen<Stage>({ ...options, unix: address.path }));
      const ours = fileAt(address.path);
      return { address, close: () => stopAt(address.path, ours, () => server.stop()) };
    }
    const server = Bun.listen<Stage>({ ...options, hostname: address.host, port: address.port });
    return { address: { host: address.host, port: server.port }, close: () => server.stop() };
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
      // A failed handshake is ended by Bun itself, behind the alert that says
      // why. Without clientCa an error only says that there is no client
      // certificate.
      if (!ok) return;
      if (tls.clientCa !== undefined && (error || !socket.authorized)) socket.terminate();
      else handOver(connected(socket, address), onConn);
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

const dialer: Dialer<Socket> = {
  dial(target, tls, signal, up) {
    if (!takeDescriptor("dial")) {
      giveDescriptor();
      return Promise.reject(dialFailed(target, coded("EMFILE")));
    }
    const dialing = newDialing();
    let dialed: Socket | undefined;
    const stage = tls === undefined ? plainStage(target, dialing) : tlsStage(target, tls, dialing);
    const data: Stage = {
      ...stage,
      opened(socket) {
        dialed = socket;
        if (dialing.stopped) return void socket.terminate();
        up();
        stage.opened?.(socket);
      },
    };
    const connecting = async (tls?: TlsClientOptions) => {
      const options = {
        allowHalfOpen: true,
        data,
        socket: handlers,
        ...(tls === undefined ? {} : { tls: clientTls(tls, target) }),
      };
      return "path" in target
        ? await Bun.connect<Stage>({ ...options, unix: target.path })
        : await Bun.connect<Stage>({ ...options, hostname: target.host, port: target.port });
    };
    const listed = (error: unknown) => {
      if (tls?.caFile === undefined || !isMissingFile(error)) throw error;
      return connecting({ ...tls, caFile: undefined });
    };
    connecting(tls)
      .catch(listed)
      .catch(async (said) => {
        giveDescriptor();
        const error =
          "path" in target && said.code === "ECONNREFUSED" && (await isFull(target.path))
            ? coded("EAGAIN")
            : said;
        dialing.reject(
          /^ERR_(BORING|OS)SL/.test(error.code)
            ? tlsFailed(target, error)
            : dialFailed(target, error),
        );
      });
    return underSignal(target, signal, dialing.promise, () => {
      dialing.stopped = true;
      dialed?.terminate();
    });
  },

  secure(target, plain, tls, signal) {
    const dialing = newDialing();
    const trusting =
      tls.caFile !== undefined && existsSync(tls.caFile) ? tls : { ...tls, caFile: undefined };
    let both: [raw: Socket, secured: Socket];
    try {
      both = plain.socket.upgradeTLS<Stage>({
        data: tlsStage(target, tls, dialing),
        tls: clientTls(trusting),
        socket: handlers,
      });
    } catch (error) {
      // Such as a certificate of our own that does not fit its key.
      plain.abort();
      return Promise.reject(tlsFailed(target, error));
    }
    const [raw, secured] = both;
    // Without this, all of the ciphertext would be handed to the plain
    // connection too. The TLS socket gives the descriptor back.
    raw.reload({ socket: { open: ignore, drain: ignore, close: ignore } });
    return underSignal(target, signal, dialing.promise, () => {
      dialing.stopped = true;
      secured.terminate();
    });
  },
};

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

const plainStage = (target: Address, { resolve }: Dialing): Stage => ({
  ...deaf,
  opened: (socket) => resolve(connected(socket, target)),
  gone: ignore,
});

function tlsStage(target: Address, tls: TlsClientOptions, dialing: Dialing): Stage {
  const { resolve, reject } = dialing;
  const sessions = tls.insecureSkipVerify === true ? undefined : tls.sessions;
  return {
    ...deaf,
    opened(socket) {
      // Only here: in `handshake` it would be ignored.
      const session = sessions?.get();
      if (session !== undefined) socket.setSession(session);
    },
    handshaken(socket, ok, error) {
      const verified = ok && !error && socket.authorized;
      const accepted =
        verified || (tls.insecureSkipVerify === true && (ok || isNameMismatch(error)));
      if (accepted && !dialing.stopped)
        return resolve(connected(socket, target, verified ? sessions : undefined));
      const shown = peerCertificate(socket.getPeerCertificate());
      reject(
        tlsFailed(target, error ?? new Error("the server's certificate was not verified"), shown),
      );
      // Where the handshake failed, Bun hangs up by itself behind the alert
      // that says why.
      if (ok) socket.terminate();
    },
    gone(error) {
      // Only meant for a handshake that the server cut off; otherwise the
      // promise is settled by now.
      reject(tlsFailed(target, error ?? coded("ECONNRESET")));
    },
  };
}

/** Where a socket becomes a connection. */
function connected(socket: Socket, address: Address, sessions?: TlsSessions): PullConn<Socket> {
  const remote =
    "path" in address ? address : ipAddress(shared(socket.remoteAddress), socket.remotePort);
  if (!("path" in address)) socket.setKeepAlive(true, keepAliveIdle);
  const conn = new PullConn(socket, verbs, remote);
  socket.data = sessions?.wanted() ? takingSession(socket, conn, sessions) : conn;
  collectAfterBurst();
  return conn;
}

let lastHost: string | undefined;
/** Most peers have one address, of which one copy is enough. */
const shared = (host: string | undefined): string | undefined => {
  if (host !== lastHost) lastHost = host;
  return lastHost;
};

/**
 * Bun collects garbage while the heap grows; what a burst of sockets leaves
 * behind, 2 KiB each, would stay for as long as nothing else happens. So it is
 * collected in the first pause behind many that were opened or closed. That
 * stops everything for some 30 ms where thousands are open (a collection in the
 * background leaves half of it), so never soon again.
 */
const [burst, pauseMs, apartMs] = [1000, 250, 5000];
let openedOrClosed = 0;
let collected = 0;

function collectAfterBurst(): void {
  openedOrClosed += 1;
  if (openedOrClosed === burst) collectInPause(openedOrClosed);
}

function collectInPause(seen: number): void {
  setTimeout(() => {
    const now = performance.now();
    if (openedOrClosed !== seen || now - collected < apartMs) return collectInPause(openedOrClosed);
    openedOrClosed = 0;
    collected = now;
    Bun.gc(true);
  }, pauseMs).unref();
}

/**
 * Stands before a connection until its first bytes: a session can be resumed
 * from then on, for the tickets come before them.
 */
function takingSession(socket: Socket, conn: PullConn<Socket>, sessions: TlsSessions): Stage {
  return {
    received(bytes) {
      socket.data = conn;
      const session = socket.getSession();
      if (session != null) sessions.put(session);
      conn.received(bytes);
    },
    drained: () => conn.drained(),
    theyFinished: () => conn.theyFinished(),
    broke: (error) => conn.broke(error),
    gone: (error) => conn.gone(error),
  };
}

const verbs: SocketVerbs<Socket> = {
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
};

const handlers = {
  binaryType: "uint8array",
  open: (socket: Socket) => socket.data.opened?.(socket),
  handshake: (socket: Socket, ok: boolean, error: Error | null) =>
    socket.data.handshaken?.(socket, ok, error),
  data: (socket: Socket, bytes: Uint8Array) => socket.data.received(bytes),
  drain: (socket: Socket) => socket.data.drained(),
  end: (socket: Socket) => socket.data.theyFinished(),
  error: (socket: Socket, error: Error) => socket.data.broke(error),
  close: (socket: Socket, error?: Error) => {
    giveDescriptor();
    collectAfterBurst();
    socket.data.gone(error);
  },
} as const;

const ignore = (): void => undefined;
/**
 * Before a socket is a connection, nothing that it says counts but how its
 * opening ends; `broke` is always followed by `gone`.
 */
const deaf = { received: ignore, drained: ignore, theyFinished: ignore, broke: ignore };

/**
 * `rejectUnauthorized` is spelled out since NODE_TLS_REJECT_UNAUTHORIZED would
 * decide otherwise; `allowPartialTrustChain` lets an intermediate CA be an
 * anchor.
 */
function clientTls(
  { serverName, ca, caFile, cert, key, insecureSkipVerify }: TlsClientOptions,
  dialed?: Address,
): Bun.TLSOptions {
  const own = cert === undefined || key === undefined ? {} : { cert, key };
  const name =
    dialed !== undefined && "host" in dialed && dialed.host === serverName ? {} : { serverName };
  return {
    ...(caFile === undefined ? { ca: [...ca] } : { caFile }),
    ...name,
    ...own,
    rejectUnauthorized: insecureSkipVerify !== true,
    ...partialChain,
  };
}

function serverTls({ cert, key, clientCa }: TlsServerOptions): Bun.TLSOptions {
  if (clientCa === undefined) return { cert, key };
  return {
    cert,
    key,
    ca: [...clientCa],
    requestCert: true,
    rejectUnauthorized: true,
    ...partialChain,
  };
}

/** Bun honours it, though its types do not know it. */
const partialChain = { allowPartialTrustChain: true };

/**
 * A file of CAs that is gone: the list itself is still there. To look before
 * every dial would cost a twentieth of it.
 */
const isMissingFile = (error: unknown): boolean =>
  error instanceof TypeError && "code" in error && error.code === "ERR_INVALID_ARG_TYPE";

const isNameMismatch = (error: Error | null): boolean =>
  error !== null && "code" in error && error.code === "ERR_TLS_CERT_ALTNAME_INVALID";
