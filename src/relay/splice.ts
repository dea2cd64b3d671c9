import { clearTimeout, setTimeout } from "node:timers";
import { NgrokdError, reasonOf } from "../model/error.ts";
import type { Conn, Waiter, Watcher } from "../net/types.ts";
import { type Pulse, patient, type QuietWatch, type Silence } from "./quiet.ts";

/**
 * The end of a spliced pair: both directions to their last byte; one side
 * failed and the other got a reset; or nothing moved for too long and both got
 * a reset.
 */
export type SpliceEnd =
  | { readonly kind: "finished" }
  | { readonly kind: "aborted"; readonly side: "a" | "b"; readonly error: NgrokdError }
  | ({ readonly kind: "silent" } & Silence);

export type Direction = "a->b" | "b->a";

/**
 * Receives the traffic and the end of a spliced pair. The methods must be cheap
 * and must not throw.
 */
export interface SpliceUser {
  /**
   * Called for every chunk, after it was handed on. The bytes must not change.
   */
  carried(direction: Direction, bytes: Uint8Array): void;
  /** Once, when both descriptors are free. */
  ended(end: SpliceEnd): void;
}

/**
 * Carries both directions between two connections until both have finished,
 * then closes both. A FIN passes as a FIN while the other direction goes on. A
 * failure of one side reaches the other as a RST. If `b` fails, the bytes that
 * it sent before are handed on first, and `a` has a moment to read them: a
 * server may reply in the midst of an upload, and leave. Nothing is read while
 * the other side has no room, so a slow reader slows its sender. Bytes that
 * were read before have to be put back ({@link Conn.unread}), and count like
 * the others. `quiet` ends the pair if nothing moves. Thousands of pairs wait
 * at a time, so a pair is three objects and no promise.
 */
export function startSplice(a: Conn, b: Conn, user: SpliceUser, quiet: QuietWatch = patient): void {
  new Splice(a, b, user, quiet).start();
}

/** {@link startSplice} with a promise of the end. Never rejects. */
export function splice(a: Conn, b: Conn): Promise<SpliceEnd> {
  return new Promise((ended) => startSplice(a, b, { carried: ignore, ended }));
}

/** Both directions, and their common end. */
class Splice implements Pulse {
  moved = true;
  halfClosed = false;
  limitMs = 0;
  quietMs = 0;
  private readonly up: Pump;
  private readonly down: Pump;
  private readonly user: SpliceUser;
  private readonly quiet: QuietWatch;
  private end: SpliceEnd = finished;
  private told = false;
  private stage: Stage = "carrying";
  private clock: ReturnType<typeof setTimeout> | undefined;
  private stirred = false;
  private replied = false;
  /** `a` has sent bytes behind the end of `b`, which `b` may not have read. */
  private sentAfterEnd = false;

  constructor(a: Conn, b: Conn, user: SpliceUser, quiet: QuietWatch) {
    this.user = user;
    this.quiet = quiet;
    this.up = new Pump(a, b, "a->b", this);
    this.down = new Pump(b, a, "b->a", this);
  }

  start(): void {
    const { up, down } = this;
    this.quiet.begin(this);
    up.from.watch(up);
    down.from.watch(down);
    up.carry(nothing);
    down.carry(nothing);
  }

  carried(direction: Direction, bytes: Uint8Array): void {
    this.stir();
    if (direction === "b->a") this.replied = true;
    else if (this.down.over) this.sentAfterEnd = true;
    this.user.carried(direction, bytes);
  }

  /** Something has moved. */
  stir(): void {
    this.moved = true;
    this.stirred = true;
  }

  finishedSending(): void {
    this.quiet.halfClosed(this);
    this.endIfOver();
  }

  tooQuiet(silence: Silence): void {
    if (this.end === finished) this.end = { kind: "silent", ...silence };
    this.abort();
  }

  /**
   * The failed connection shows the failed side. The first failure counts; it
   * reaches both pumps.
   */
  broke(conn: Conn, error: unknown): void {
    const side = conn === this.up.from ? "a" : "b";
    if (this.end === finished && this.tooLate(error)) {
      this.endIfOver();
      return;
    }
    if (this.end === finished) this.end = { kind: "aborted", side, error: asNgrokdError(error) };
    if (side === "a") this.abort();
    else this.part();
    this.endIfOver();
  }

  endIfOver(): void {
    const { up, down } = this;
    if (!up.over || !down.over || this.stage === "parting") return;
    this.quiet.end(this);
    up.from.close();
    down.from.close();
    if (!up.fromGone || !down.fromGone || this.told) return;
    this.told = true;
    this.user.ended(this.end);
  }

  /**
   * Whether both had finished before. A server that has closed its connection
   * answers our FIN with a reset, and nothing is lost.
   */
  private tooLate(error: unknown): boolean {
    const isOurs = error instanceof NgrokdError && error.code === "cancelled";
    return this.up.whole && this.down.whole && !this.sentAfterEnd && !isOurs;
  }

  /**
   * `b` takes nothing more. The bytes of `a` are dropped from now on, since a
   * sender that has to wait may not read. `a` gets its RST when nothing has
   * moved for a moment.
   */
  private part(): void {
    const { up, down } = this;
    if (this.stage !== "carrying") return;
    if (down.over && !this.replied) {
      this.abort();
      return;
    }
    this.stage = "parting";
    up.dropping = true;
    this.tick(partingTicks);
  }

  private tick(left: number): void {
    this.stirred = false;
    this.clock = setTimeout(() => {
      if (!this.stirred || left === 0) return this.abort();
      this.tick(this.down.over ? left - 1 : left);
    }, partingTickMs);
  }

  private abort(): void {
    if (this.stage === "over") return;
    this.stage = "over";
    clearTimeout(this.clock);
    this.up.from.abort();
    this.down.from.abort();
    this.endIfOver();
  }
}

/** `parting`: `b` has failed, and `a` is given time for its last bytes. */
type Stage = "carrying" | "parting" | "over";

/** `a` reads on this machine, so a moment is enough: 10 s at most in all. */
const [partingTickMs, partingTicks] = [500, 20];

/** One direction: reads, hands on, and waits for one of the two at a time. */
class Pump implements Waiter, Watcher {
  readonly from: Conn;
  /** Nothing more comes this way. */
  over = false;
  /** It came to its end. */
  whole = false;
  fromGone = false;
  /** Nobody takes the bytes any more. */
  dropping = false;
  private readonly to: Conn;
  private readonly direction: Direction;
  private readonly pair: Splice;
  private reading = false;

  constructor(from: Conn, to: Conn, direction: Direction, pair: Splice) {
    this.from = from;
    this.to = to;
    this.direction = direction;
    this.pair = pair;
  }

  /**
   * Hands on `bytes`, and all bytes that wait behind them. Bytes that are
   * there, and room that is there, cost no turn of the event loop.
   */
  carry(bytes: Uint8Array | null): void {
    const { from, to, pair } = this;
    let next: Uint8Array | null | undefined = bytes;
    try {
      while (next !== null) {
        if (next === undefined) return;
        if (next.length > 0) {
          this.reading = false;
          if (!this.handOn(next)) return;
        }
        this.reading = true;
        next = from.readFor(this);
      }
      this.over = true;
      this.whole = true;
      to.closeWrite();
      pair.finishedSending();
    } catch (error) {
      this.failed(error);
    }
  }

  arrived(bytes: Uint8Array | null): void {
    this.carry(bytes);
  }

  drained(): void {
    this.pair.stir();
    this.carry(nothing);
  }

  moved(): void {
    this.pair.stir();
  }

  failed(error: unknown): void {
    if (this.reading) {
      this.over = true;
      this.pair.broke(this.from, error);
    } else {
      this.dropping = true;
      this.pair.broke(this.to, error);
      this.carry(nothing);
    }
  }

  /** Returns whether there is room for more. */
  private handOn(bytes: Uint8Array): boolean {
    const { to, pair } = this;
    if (this.dropping) {
      pair.stir();
      return true;
    }
    const room = to.writeFor(bytes, this);
    pair.carried(this.direction, bytes);
    return room;
  }

  /**
   * A failure shows in a read or a write. There may be none, because this
   * direction has ended, or because of our own abort (a drain that is over).
   * Then this method reports it. Bytes from before a peer's reset are still
   * handed on.
   */
  gone(error: NgrokdError | undefined): void {
    this.fromGone = true;
    if (error !== undefined && (this.over || error.code === "cancelled"))
      this.pair.broke(this.from, error);
    else this.pair.endIfOver();
  }
}

const nothing = new Uint8Array(0);
const ignore = (): void => undefined;
const finished: SpliceEnd = { kind: "finished" };

function asNgrokdError(error: unknown): NgrokdError {
  return error instanceof NgrokdError
    ? error
    : new NgrokdError("aborted", reasonOf(error), { cause: error });
}
