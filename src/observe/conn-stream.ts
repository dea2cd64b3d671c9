import { Duplex } from "node:stream";
import type { Conn } from "../net/types.ts";

/**
 * A connection of the seam as a stream of node, for its HTTP parser. Reading is
 * pulled, and a write is over when there is room for more. `onMove` is called
 * whenever bytes have moved.
 */
export class ConnStream extends Duplex {
  /** The parser takes them for the URL of a request without a Host. */
  readonly localAddress: string;
  readonly localPort: number;
  readonly localFamily: "IPv4" | "IPv6";
  readonly conn: Conn;
  private readonly onMove: () => void;

  constructor(conn: Conn, onMove: () => void) {
    super({ allowHalfOpen: true });
    const { local } = conn;
    this.localAddress = "host" in local ? local.host : "localhost";
    this.localPort = "port" in local ? local.port : 80;
    this.localFamily = this.localAddress.includes(":") ? "IPv6" : "IPv4";
    this.conn = conn;
    this.onMove = onMove;
    // The parser listens too, but not after its last request.
    this.on("error", () => undefined);
  }

  override _read(): void {
    this.pull().catch((error: Error) => this.destroy(error));
  }

  override _write(bytes: Uint8Array, _encoding: string, done: (error?: Error) => void): void {
    this.send(bytes).then(() => done(), done);
  }

  override _final(done: () => void): void {
    this.conn.closeWrite();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (error === null) this.conn.close();
    else this.conn.abort();
    done(error);
  }

  private async pull(): Promise<void> {
    const bytes = await this.conn.read();
    this.onMove();
    this.push(bytes);
  }

  private async send(bytes: Uint8Array): Promise<void> {
    // A copy: node reuses some buffers, and the seam keeps them while it waits.
    await this.conn.write(Uint8Array.from(bytes));
    this.onMove();
  }
}
