/**
 * Who receives the events of one of Bun's sockets, and the watch on the end of
 * a TLS stream.
 */
import { longestAlert, StreamTail } from "../model/stream-tail.ts";
import { bytesWaiting } from "./bun-libc.ts";

export type Socket = Bun.Socket<Stage>;

/**
 * Receives the events of a socket: first the code that opens it, then its
 * PullConn.
 */
export interface Stage {
  opened?(socket: Socket): void;
  /** `error` is the problem of the certificate or of the handshake. */
  handshaken?(socket: Socket, ok: boolean, error: Error | null): void;
  received(bytes: Uint8Array): void;
  drained(): void;
  /** `whole` is false for an end that is known not to be the peer's own. */
  theyFinished(whole?: boolean): void;
  broke(error: Error): void;
  gone(error?: Error, whole?: boolean): void;
  /** Ciphertext, in front of the event that it causes. */
  tapped?(bytes: Uint8Array): void;
}

/** The descriptor, which Bun has though its types do not know it. */
export function descriptorOf(opened: object): number | undefined {
  return "fd" in opened && typeof opened.fd === "number" ? opened.fd : undefined;
}

/** From now on the events of the socket are those of `stage`. */
export function handTo(socket: Socket, stage: Stage): void {
  const { data } = socket;
  if (data instanceof Tapped) data.next = stage;
  else socket.data = stage;
}

/**
 * In front of the stages of a dialed TLS connection. It watches the end of the
 * ciphertext, since Bun reports close_notify and a FIN alike. A copy of all
 * ciphertext would cost 5 % of the CPU of a bulk transfer. So it is left out
 * while more bytes wait than Bun reads at once: the next ones are not the last.
 */
export class Tapped implements Stage {
  next: Stage;
  private readonly tail = new StreamTail();
  private raw: Socket | undefined;
  private taps = true;

  constructor(next: Stage) {
    this.next = next;
  }

  /** `raw` is the plain socket below. */
  begin(raw: Socket): void {
    this.raw = raw;
    raw.data = this;
    raw.reload({ socket: tapping });
  }

  tapped(bytes: Uint8Array): void {
    this.tail.take(bytes);
    // Frees the copy at once. Those of the handshakes would add 0.8 KiB to each
    // of thousands of connections.
    if (bytes.length > smallCopy) (bytes.buffer as ArrayBuffer).transfer(0);
  }

  opened(socket: Socket): void {
    this.next.opened?.(socket);
  }

  handshaken(socket: Socket, ok: boolean, error: Error | null): void {
    this.next.handshaken?.(socket, ok, error);
  }

  received(bytes: Uint8Array): void {
    this.tail.heldData();
    if (!this.taps || bytes.length > bulk) this.choose();
    this.next.received(bytes);
  }

  drained(): void {
    this.next.drained();
  }

  theyFinished(): void {
    this.next.theyFinished(this.tail.whole);
  }

  broke(error: Error): void {
    this.next.broke(error);
  }

  gone(error?: Error): void {
    this.next.gone(error, this.tail.whole);
  }

  private choose(): void {
    const { raw } = this;
    const taps = raw === undefined || bytesWaiting(descriptorOf(raw)) < readAtOnce + longestAlert;
    if (taps === this.taps) return;
    this.taps = taps;
    if (!taps) this.tail.forget();
    raw?.reload({ socket: taps ? tapping : deafRaw });
  }
}

/** Bun 1.4.5 reads at most so many bytes at once. */
const readAtOnce = 512 * 1024;
const bulk = readAtOnce / 4;
const smallCopy = 256;

export const ignore = (): void => undefined;

/** For the plain socket below TLS: with its bytes, and without. */
const deafRaw = { open: ignore, drain: ignore, close: ignore } as const;
const tapping = {
  ...deafRaw,
  binaryType: "uint8array",
  data: (raw: Socket, bytes: Uint8Array) => raw.data.tapped?.(bytes),
} as const;

/**
 * Before a socket is a connection, only the end of its opening counts. `gone`
 * always follows `broke`.
 */
export const deaf = { received: ignore, drained: ignore, theyFinished: ignore, broke: ignore };
