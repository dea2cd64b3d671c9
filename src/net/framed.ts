import { NgrokdError } from "../model/error.ts";
import { lost } from "./errors.ts";
import type { Conn, Waiter, Watcher } from "./types.ts";

/**
 * A connection over a unix socket, which has no reset of its own: frames tell
 * data, the end of a half, and a reset apart. A frame is a kind and a length in
 * four bytes, and the data. Bytes before the first frame belong to the caller,
 * who begins with {@link FramedConn.begin}.
 */
export class FramedConn implements Conn, Waiter {
  private readonly conn: Conn;
  private readonly ready: Uint8Array[] = [];
  private header: Uint8Array = nothing;
  /** Bytes of the current frame that have not come yet. */
  private left = 0;
  private ended = false;
  private failure: NgrokdError | undefined;
  private reader: Waiter | undefined;
  private writer: Waiter | undefined;
  private begun = false;
  private finished = false;
  /** Our half is to end when the pending write has left. */
  private finishing = false;

  constructor(conn: Conn) {
    this.conn = conn;
  }

  /** From now on there are frames. */
  begin(): void {
    this.begun = true;
  }

  get remote(): Conn["remote"] {
    return this.conn.remote;
  }

  get local(): Conn["local"] {
    return this.conn.local;
  }

  get peer(): undefined {
    return undefined;
  }

  get closed(): Conn["closed"] {
    return this.conn.closed.then((error) => this.failure ?? error);
  }

  readFor(waiter: Waiter): Uint8Array | null | undefined {
    for (;;) {
      const next = this.ready.shift();
      if (next !== undefined) return next;
      if (this.failure !== undefined) throw this.failure;
      if (this.ended) return null;
      const bytes = this.conn.readFor(this);
      if (bytes === undefined) {
        this.reader = waiter;
        return undefined;
      }
      this.take(bytes);
    }
  }

  readNow(): Uint8Array | undefined {
    const bytes = this.ready.length === 0 ? this.conn.readNow() : undefined;
    if (bytes !== undefined) this.take(bytes);
    return this.ready.shift();
  }

  read(): Promise<Uint8Array | null> | Uint8Array | null {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array | null>();
    const now = this.readFor({ arrived: resolve, failed: reject, drained: ignore, moved: ignore });
    return now === undefined ? promise : now;
  }

  unread(bytes: Uint8Array): void {
    if (bytes.length > 0) this.ready.unshift(bytes);
  }

  writeFor(bytes: Uint8Array, waiter: Waiter): boolean {
    if (this.failure !== undefined) throw this.failure;
    if (this.finished || this.finishing)
      throw new NgrokdError("cancelled", "Cannot write: the connection was finished on this side");
    if (bytes.length === 0) return true;
    if (this.conn.writeFor(frame(kinds.data, bytes), this)) return true;
    this.writer = waiter;
    return false;
  }

  write(bytes: Uint8Array): Promise<void> | void {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { drained: resolve, failed: reject, arrived: ignore, moved: ignore };
    return this.writeFor(bytes, waiter) ? undefined : promise;
  }

  closeWrite(): void {
    if (this.finished || this.finishing) return;
    if (this.writer === undefined) this.finish();
    else this.finishing = true;
  }

  close(): void {
    this.closeWrite();
    this.conn.close();
  }

  abort(): void {
    if (this.begun && this.writer === undefined && this.failure === undefined) {
      try {
        this.conn.writeFor(frame(kinds.reset, nothing), this);
      } catch {
        // The other side has gone.
      }
    }
    this.failure ??= new NgrokdError("cancelled", "The connection was cut on this side");
    // Without the reset, the other side finds no end of a half, which says the
    // same. What waits in front of it is dropped there.
    if (this.writer === undefined) this.conn.close();
    else this.conn.abort();
  }

  limitBuffers(bytes: number): void {
    this.conn.limitBuffers(bytes);
  }

  watch(watcher: Watcher | undefined): void {
    this.conn.watch(
      watcher && {
        gone: (error) => watcher.gone(this.failure ?? error),
        came: () => watcher.came?.(),
      },
    );
  }

  arrived(bytes: Uint8Array | null): void {
    this.take(bytes);
    const { reader } = this;
    this.reader = undefined;
    if (reader === undefined) return;
    try {
      const next = this.readFor(reader);
      if (next !== undefined) reader.arrived(next);
    } catch (error) {
      reader.failed(error as NgrokdError);
    }
  }

  drained(): void {
    const { writer } = this;
    this.writer = undefined;
    if (this.finishing) this.finish();
    writer?.drained();
  }

  moved(): void {
    this.writer?.moved();
  }

  failed(error: NgrokdError): void {
    this.failure ??= error;
    const { reader, writer } = this;
    this.reader = undefined;
    this.writer = undefined;
    reader?.failed(this.failure);
    writer?.failed(this.failure);
  }

  private finish(): void {
    this.finished = true;
    this.finishing = false;
    try {
      this.conn.writeFor(frame(kinds.end, nothing), this);
    } catch {
      // The other side has gone, as the reader learns.
    }
    if (this.ended) this.conn.close();
  }

  private take(bytes: Uint8Array | null): void {
    if (bytes === null) {
      // Its process has ended, or it has cut the connection.
      if (!this.ended) this.failure ??= lost(this.remote);
      return;
    }
    let rest = bytes;
    while (rest.length > 0 && !this.ended && this.failure === undefined) {
      if (this.left > 0) {
        const data = rest.subarray(0, this.left);
        this.ready.push(data);
        this.left -= data.length;
        rest = rest.subarray(data.length);
        continue;
      }
      const missing = headerLength - this.header.length;
      this.header = Buffer.concat([this.header, rest.subarray(0, missing)]);
      rest = rest.subarray(missing);
      if (this.header.length === headerLength) this.frame();
    }
  }

  private frame(): void {
    const [kind = 0] = this.header;
    this.left = Buffer.from(this.header).readUIntBE(1, 3);
    this.header = nothing;
    if (kind === kinds.end) {
      this.ended = true;
      if (this.finished) this.conn.close();
    } else if (kind !== kinds.data) {
      this.failure = lost(this.remote);
      this.ready.length = 0;
    }
  }
}

const kinds = { data: 1, end: 2, reset: 3 } as const;
const headerLength = 4;
/** Of three bytes; no read is as long. */
const longestFrame = 2 ** 24 - 1;

function frame(kind: number, bytes: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at === 0 || at < bytes.length; at += longestFrame) {
    const data = bytes.subarray(at, at + longestFrame);
    const header = Buffer.alloc(headerLength);
    header[0] = kind;
    header.writeUIntBE(data.length, 1, 3);
    parts.push(header, data);
  }
  return Buffer.concat(parts);
}

const nothing = new Uint8Array(0);
const ignore = (): void => undefined;
