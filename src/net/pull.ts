import { clearTimeout, setTimeout } from "node:timers";
import { NgrokdError } from "../model/error.ts";
import { coded, cut, lost } from "./errors.ts";
import { lingerStep, lingerSteps } from "./timeouts.ts";
import {
  type Address,
  addressText,
  type Conn,
  type PeerCertificate,
  type Waiter,
  type Watcher,
} from "./types.ts";

/**
 * The operations of a runtime's socket for {@link PullConn}; one object serves
 * all sockets of a kind.
 */
export interface SocketVerbs<S> {
  /**
   * Offers bytes, never before an earlier rest is sent. Returns the rest to
   * offer again after the next `drained` (empty if all is taken, but there is
   * no room for more), undefined if all is taken and there is room, null if the
   * peer is gone.
   */
  write(socket: S, bytes: Uint8Array): Uint8Array | undefined | null;
  /** A few more bytes may arrive after pause(). */
  pause(socket: S): void;
  resume(socket: S): void;
  /** FIN behind everything that was written; reading goes on. */
  shutdown(socket: S): void;
  /**
   * Sends a RST if the kind of socket has one. The descriptor is free at once.
   */
  terminate(socket: S): void;
  /**
   * Frees the descriptor without a RST of our own; the kernel goes on sending
   * its buffer.
   */
  release(socket: S): void;
  /** The local address; asked only if it is not that of a listener. */
  local(socket: S): Address;
  /** {@link Conn.limitBuffers}, of an open socket. */
  limitBuffers(socket: S, bytes: number): void;
  /**
   * The verified certificate of the peer. It costs a tenth of a handshake, so
   * it is read on demand only.
   */
  peer(socket: S): PeerCertificate | undefined;
}

/**
 * Turns a socket with callbacks into one to pull from. A class, since a relay
 * holds thousands: its methods are shared, it has no closures, and its fields
 * are made when they are needed. The runtime calls the methods for its events
 * (received, drained, theyFinished, fail, gone); users see {@link Conn}.
 */
export class PullConn<S> implements Conn {
  // `declare`: the engine would leave room for these twice. So 18 fit.
  declare readonly remote: Address;
  declare readonly socket: S;
  declare private readonly verbs: SocketVerbs<S>;
  declare private known: Address | undefined;

  /**
   * Unread bytes: a large chunk, or a few small ones, and those that a runtime
   * still delivers after pause().
   */
  private inbox: Uint8Array[] | undefined;
  private reader: Waiter | undefined;
  private paused = false;
  /** The peer has finished sending. */
  private ended = false;

  private writer: Waiter | undefined;
  /** The bytes of the writer that the socket has not taken yet. */
  private rest: Uint8Array = nothing;
  /** We have finished sending: closeWrite() or close() was called. */
  private finished = false;

  private closing = false;
  private failure: NgrokdError | undefined;
  /** The peer takes nothing more; what it sent before can still be read. */
  private refusal: NgrokdError | undefined;
  private isGone = false;
  private watcher: Watcher | undefined;
  declare private release: PromiseWithResolvers<NgrokdError | undefined> | undefined;
  declare private linger: ReturnType<typeof setTimeout> | undefined;
  private moved = false;

  /** `local` is the local address if it is known already; it is shared. */
  constructor(socket: S, verbs: SocketVerbs<S>, remote: Address, local?: Address) {
    this.socket = socket;
    this.verbs = verbs;
    this.remote = remote;
    this.known = local;
  }

  get local(): Address {
    this.known ??= this.verbs.local(this.socket);
    return this.known;
  }

  get peer(): PeerCertificate | undefined {
    return this.verbs.peer(this.socket);
  }

  read(): Promise<Uint8Array | null> | Uint8Array | null {
    const now = this.take();
    if (now !== undefined) return now;
    const waiter = new PromisedBytes();
    this.await(waiter);
    return waiter.promise;
  }

  readNow(): Uint8Array | undefined {
    return this.inbox === undefined ? undefined : (this.take() ?? undefined);
  }

  readFor(waiter: Waiter): Uint8Array | null | undefined {
    const now = this.take();
    if (now === undefined) this.await(waiter);
    return now;
  }

  unread(bytes: Uint8Array): void {
    if (this.reader !== undefined) throw this.waitingRead();
    // Only our own abort() fails a connection as `cancelled`.
    if (bytes.length === 0 || this.closing || this.failure?.code === "cancelled") return;
    this.inbox = [bytes, ...(this.inbox ?? [])];
  }

  write(bytes: Uint8Array): Promise<void> | void {
    if (this.offer(bytes)) return;
    const waiter = new PromisedRoom();
    this.writer = waiter;
    return waiter.promise;
  }

  writeFor(bytes: Uint8Array, waiter: Waiter): boolean {
    if (this.offer(bytes)) return true;
    this.writer = waiter;
    return false;
  }

  closeWrite(): void {
    if (this.finished || this.failure !== undefined) return;
    this.finished = true;
    if (this.writer === undefined) this.verbs.shutdown(this.socket);
  }

  close(): void {
    if (this.closing) return;
    this.closing = true;
    this.inbox = undefined;
    const reader = this.reader;
    this.reader = undefined;
    reader?.failed(this.cancelled("read from"));
    if (this.isGone) return;
    // Armed first: shutdown() may end in gone() before it returns.
    this.linger = setTimeout(() => this.lingered(1), lingerStep);
    this.closeWrite();
    if (this.paused && !this.isGone) {
      // Later bytes have to be taken from the kernel: unread bytes at the end
      // would turn our FIN into a RST, and hide the peer's FIN.
      this.paused = false;
      this.verbs.resume(this.socket);
    }
  }

  abort(): void {
    if (this.isGone) return;
    this.inbox = undefined;
    this.fail(this.cancelled("use"));
    this.verbs.terminate(this.socket);
  }

  get closed(): Promise<NgrokdError | undefined> {
    if (this.isGone) return Promise.resolve(this.failure);
    this.release ??= Promise.withResolvers<NgrokdError | undefined>();
    return this.release.promise;
  }

  watch(watcher: Watcher | undefined): void {
    this.watcher = watcher;
    if (this.isGone) watcher?.gone(this.failure);
  }

  limitBuffers(bytes: number): void {
    if (!this.isGone) this.verbs.limitBuffers(this.socket, bytes);
  }

  /** The socket delivered bytes. */
  received(bytes: Uint8Array): void {
    this.moved = true;
    if (this.closing || this.failure !== undefined) return;
    const reader = this.reader;
    if (reader !== undefined) {
      this.reader = undefined;
      reader.arrived(bytes);
      return;
    }
    if (this.inbox === undefined) this.inbox = [bytes];
    else this.inbox.push(bytes);
    if (!this.paused && this.refusal === undefined && isFull(this.inbox)) {
      this.paused = true;
      this.verbs.pause(this.socket);
    }
    this.watcher?.came?.();
  }

  /** The socket has room again. Runtimes call it for other reasons too. */
  drained(): void {
    this.moved = true;
    const writer = this.writer;
    if (writer === undefined) return;
    if (this.rest.length > 0) {
      const before = this.rest.length;
      const rest = this.verbs.write(this.socket, this.rest);
      if (rest === null) return void this.gaveUp();
      this.rest = rest ?? nothing;
      if (rest !== undefined) {
        if (rest.length < before) writer.moved();
        return;
      }
    }
    this.writer = undefined;
    if (this.finished) this.verbs.shutdown(this.socket);
    writer.drained();
  }

  /**
   * The peer has finished sending. `whole` is false if the end is known not to
   * be its own; of interest only while we read.
   */
  theyFinished(whole = true): void {
    const broken = this.refusal ?? (whole || this.closing ? undefined : cut(this.remote));
    if (broken !== undefined && this.failure === undefined) {
      this.fail(broken);
      this.verbs.terminate(this.socket);
      return;
    }
    this.ended = true;
    const reader = this.reader;
    this.reader = undefined;
    reader?.arrived(null);
  }

  /** The connection broke; `gone` follows. The first failure counts. */
  fail(error: NgrokdError): void {
    if (this.failure !== undefined || this.isGone) return;
    this.failure = error;
    const { reader, writer } = this;
    this.reader = undefined;
    this.writer = undefined;
    this.rest = nothing;
    reader?.failed(error);
    writer?.failed(error);
  }

  /**
   * The runtime reported an error, which does not close the socket on every
   * runtime.
   */
  broke(cause: Error): void {
    const error = lost(this.remote, cause);
    this.fail(error);
    // A TLS alert closes the socket; anything else would be a fault of our own
    // in a callback.
    if (error.code !== "tls") this.verbs.terminate(this.socket);
  }

  /**
   * The descriptor is free; `error` is the runtime's, `whole` as for
   * `theyFinished`. Called once.
   */
  gone(error?: Error, whole = true): void {
    if (this.isGone) return;
    // Without our FIN a socket with both halves open only closes after a
    // failure.
    const broken = error !== undefined || this.writer !== undefined || !this.finished;
    if (this.refusal !== undefined) this.fail(this.refusal);
    else if (broken) this.fail(lost(this.remote, error));
    else if (!this.ended) this.theyFinished(whole);
    clearTimeout(this.linger);
    this.isGone = true;
    this.release?.resolve(this.failure);
    this.watcher?.gone(this.failure);
  }

  /**
   * The result of a read if it is there already; undefined if it has to wait.
   */
  private take(): Uint8Array | null | undefined {
    if (this.closing) throw this.cancelled("read from");
    if (this.inbox !== undefined) {
      const [bytes, ...later] = this.inbox;
      this.inbox = later.length === 0 ? undefined : later;
      return bytes;
    }
    if (this.failure !== undefined) throw this.failure;
    if (this.ended) return null;
    if (this.reader !== undefined) throw this.waitingRead();
    return undefined;
  }

  private waitingRead(): Error {
    return new Error(`Cannot read from "${addressText(this.remote)}": a read is already waiting`);
  }

  private await(reader: Waiter): void {
    this.reader = reader;
    if (!this.paused) return;
    this.paused = false;
    this.verbs.resume(this.socket);
  }

  /**
   * Whether there is room for more. If not, the rest is kept for the writer
   * that the caller now sets.
   */
  private offer(bytes: Uint8Array): boolean {
    const broken = this.failure ?? this.refusal;
    if (broken !== undefined) throw broken;
    if (this.finished) throw this.cancelled("write to");
    if (this.writer !== undefined)
      throw new Error(`Cannot write to "${addressText(this.remote)}": a write is already waiting`);
    if (bytes.length === 0) return true;
    const rest = this.verbs.write(this.socket, bytes);
    if (rest === undefined) return true;
    if (rest === null) throw this.gaveUp();
    this.rest = rest;
    return false;
  }

  /**
   * The refused write was the first to meet the peer's reset. Bytes from before
   * it may wait in the kernel: they are few, and behind them is an end.
   */
  private gaveUp(): NgrokdError {
    const error = lost(this.remote);
    this.refusal = error;
    this.rest = nothing;
    const writer = this.writer;
    this.writer = undefined;
    if (this.ended) {
      this.fail(error);
      this.verbs.terminate(this.socket);
    } else if (this.paused) {
      this.paused = false;
      this.verbs.resume(this.socket);
    }
    writer?.failed(error);
    return error;
  }

  private cancelled(action: string): NgrokdError {
    return new NgrokdError(
      "cancelled",
      `Cannot ${action} "${addressText(this.remote)}": the connection was closed on this side`,
    );
  }

  private lingered(step: number): void {
    if (this.moved && step < lingerSteps) {
      this.moved = false;
      this.linger = setTimeout(() => this.lingered(step + 1), lingerStep);
    } else if (this.writer === undefined) this.verbs.release(this.socket);
    else {
      this.fail(lost(this.remote, coded("ETIMEDOUT")));
      this.verbs.terminate(this.socket);
    }
  }
}

const nothing = new Uint8Array(0);

/**
 * Whether no more is to be read. The few bytes that a client sends before its
 * endpoint is open do not stop the reading: to pause and to resume costs four
 * system calls and two turns of Bun's event loop.
 */
const isFull = (inbox: readonly Uint8Array[]): boolean =>
  inbox.length >= fewChunks || (inbox.at(-1)?.length ?? 0) > smallChunk;
const [fewChunks, smallChunk] = [4, 4096];

class PromisedBytes implements Waiter {
  private readonly settle = Promise.withResolvers<Uint8Array | null>();
  readonly promise = this.settle.promise;
  arrived(bytes: Uint8Array | null): void {
    this.settle.resolve(bytes);
  }
  failed(error: NgrokdError): void {
    this.settle.reject(error);
  }
  drained(): void {}
  moved(): void {}
}

class PromisedRoom implements Waiter {
  private readonly settle = Promise.withResolvers<void>();
  readonly promise = this.settle.promise;
  drained(): void {
    this.settle.resolve();
  }
  failed(error: NgrokdError): void {
    this.settle.reject(error);
  }
  arrived(): void {}
  moved(): void {}
}
