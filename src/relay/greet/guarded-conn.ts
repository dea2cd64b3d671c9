import type { Conn, Waiter, Watcher } from "../../net/types.ts";
import {
  createRequestStream,
  type FirstRequest,
  type Manners,
  type RequestStream,
} from "./request-stream.ts";

/**
 * An HTTP/1 client's connection whose requests are looked at as they are read.
 * If one may not pass, the reader finds the end of the client's bytes, and the
 * server's replies to earlier requests still reach the client. `first` is the
 * request at the start of the bytes that were put back, if it was read before.
 */
export function guardedConn(conn: Conn, manners: Manners, first?: FirstRequest): Conn {
  return new GuardedConn(conn, createRequestStream(manners, first));
}

/** Why a guarded connection passes no more requests; undefined if it does. */
export const refusalOf = (conn: Conn): string | undefined =>
  conn instanceof GuardedConn ? conn.refusal : undefined;

class GuardedConn implements Conn, Waiter {
  private readonly conn: Conn;
  private readonly requests: RequestStream;
  /** Passed requests that have not been read. */
  private ready: Uint8Array = nothing;
  private reader: Waiter | undefined;

  constructor(conn: Conn, requests: RequestStream) {
    this.conn = conn;
    this.requests = requests;
  }

  get remote(): Conn["remote"] {
    return this.conn.remote;
  }

  get local(): Conn["local"] {
    return this.conn.local;
  }

  get peer(): Conn["peer"] {
    return this.conn.peer;
  }

  get closed(): Conn["closed"] {
    return this.conn.closed;
  }

  get refusal(): string | undefined {
    const { state } = this.requests;
    return state.kind === "over" ? state.reason : undefined;
  }

  readFor(waiter: Waiter): Uint8Array | null | undefined {
    const { conn, requests } = this;
    for (;;) {
      const next = this.next();
      if (next !== undefined) return next;
      if (requests.isOpaque) return conn.readFor(waiter);
      this.reader = waiter;
      if (requests.state.kind === "held") return undefined;
      const bytes = conn.readFor(this);
      if (bytes === undefined) return undefined;
      this.reader = undefined;
      if (bytes === null) return requests.finish() ?? null;
      this.ready = requests.take(bytes);
    }
  }

  readNow(): Uint8Array | undefined {
    const bytes = this.conn.readNow();
    if (bytes !== undefined) this.add(this.requests.take(bytes));
    return this.next() ?? undefined;
  }

  read(): Promise<Uint8Array | null> | Uint8Array | null {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array | null>();
    const now = this.readFor({ arrived: resolve, failed: reject, drained: ignore, moved: ignore });
    return now === undefined ? promise : now;
  }

  unread(bytes: Uint8Array): void {
    this.ready = joined(bytes, this.ready);
  }

  write(bytes: Uint8Array): Promise<void> | void {
    this.answered(bytes);
    return this.conn.write(bytes);
  }

  writeFor(bytes: Uint8Array, waiter: Waiter): boolean {
    this.answered(bytes);
    return this.conn.writeFor(bytes, waiter);
  }

  closeWrite(): void {
    this.conn.closeWrite();
  }

  close(): void {
    this.conn.close();
  }

  abort(): void {
    this.conn.abort();
  }

  limitBuffers(bytes: number): void {
    this.conn.limitBuffers(bytes);
  }

  watch(watcher: Watcher | undefined): void {
    this.conn.watch(
      watcher && {
        gone: (error) => {
          // While bytes are held, no read of this connection meets its failure.
          if (error !== undefined && this.requests.state.kind === "held") this.failed(error);
          watcher.gone(error);
        },
        came: () => watcher.came?.(),
      },
    );
  }

  arrived(bytes: Uint8Array | null): void {
    if (bytes !== null) this.add(this.requests.take(bytes));
    this.goOn(bytes === null ? null : undefined);
  }

  failed(error: Parameters<Waiter["failed"]>[0]): void {
    const { reader } = this;
    this.reader = undefined;
    reader?.failed(error);
  }

  drained(): void {}

  moved(): void {}

  /** The server's bytes: they may let a held client go on. */
  private answered(bytes: Uint8Array): void {
    const { requests } = this;
    if (requests.isOpaque) return;
    const { kind } = requests.state;
    requests.answer(bytes);
    if (kind !== "held" || requests.state.kind === "held") return;
    this.add(requests.take(nothing));
    if (this.reader !== undefined) queueMicrotask(() => this.goOn(undefined));
  }

  private goOn(end: null | undefined): void {
    const { reader } = this;
    this.reader = undefined;
    if (reader === undefined) return;
    try {
      const bytes = end === null ? (this.requests.finish() ?? null) : this.readFor(reader);
      if (bytes !== undefined) reader.arrived(bytes);
    } catch (error) {
      reader.failed(error as Parameters<Waiter["failed"]>[0]);
    }
  }

  private add(passed: Uint8Array): void {
    this.ready = joined(this.ready, passed);
  }

  /** The next passed bytes; null at the end; undefined if none are here. */
  private next(): Uint8Array | null | undefined {
    const { ready } = this;
    if (ready.length > 0) {
      this.ready = nothing;
      return ready;
    }
    return this.requests.state.kind === "over" ? null : undefined;
  }
}

const joined = (first: Uint8Array, second: Uint8Array): Uint8Array =>
  first.length === 0 ? second : second.length === 0 ? first : Buffer.concat([first, second]);
const nothing = new Uint8Array(0);
const ignore = (): void => undefined;
