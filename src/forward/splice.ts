import { NgrokdError, reasonOf } from "../model/error.ts";
import type { Conn } from "../net/types.ts";
import { patient, type QuietWatch, type Silence } from "./quiet.ts";

/**
 * How a spliced pair ended: both directions to their last byte; one side failed and the other was told by a reset; or nothing moved for
 * too long and both were reset.
 */
export type SpliceEnd =
  | { readonly kind: "finished" }
  | { readonly kind: "aborted"; readonly side: "a" | "b"; readonly error: NgrokdError }
  | ({ readonly kind: "silent" } & Silence);

export type Direction = "a->b" | "b->a";

export interface SpliceOptions {
  /** What has been read of `b` already and `a` has not got yet. */
  readonly first?: Uint8Array;
  /** Called for every chunk as it is handed on; must be cheap and must not throw. */
  readonly onBytes?: (direction: Direction, bytes: number) => void;
  /** Ends the pair where nothing moves; without it silence may last for ever. */
  readonly quiet?: QuietWatch;
}

/**
 * Carries both directions between two connections until both have finished, then gives both back. FIN passes through as FIN while the
 * other direction goes on; a failure of one side reaches the other as RST. Nothing is read while the other side has no room, so a slow
 * reader slows its sender. Never rejects; settles once both descriptors are free.
 */
export async function splice(a: Conn, b: Conn, options: SpliceOptions = {}): Promise<SpliceEnd> {
  const { first = nothing, onBytes = ignore, quiet = patient } = options;
  let end: SpliceEnd = finished;
  const giveUp = (why: SpliceEnd): void => {
    if (end === finished) end = why;
    a.abort();
    b.abort();
  };
  // A failure shows where somebody reads or writes. Where nobody does, because that direction has ended, or because it was our own abort
  // (a drain that is over) while all wait for the other side, this tells it. What arrived before a peer's reset is still handed on.
  const readToTheEnd = { a: false, b: false };
  const lost = (side: "a" | "b") => (error: NgrokdError | undefined) => {
    if (error !== undefined && (readToTheEnd[side] || error.code === "cancelled")) giveUp({ kind: "aborted", side, error });
  };
  void a.closed.then(lost("a"));
  void b.closed.then(lost("b"));
  const pulse = quiet.begin((silence) => giveUp({ kind: "silent", ...silence }));

  const pump = async (from: Conn, to: Conn, direction: Direction, waiting: Uint8Array): Promise<void> => {
    let reading = false;
    try {
      let bytes: Uint8Array | null = waiting;
      while (bytes !== null) {
        if (bytes.length > 0) {
          const room = to.write(bytes);
          pulse.moved = true;
          onBytes(direction, bytes.length);
          if (room !== undefined) {
            await room;
            pulse.moved = true;
          }
        }
        reading = true;
        const next = from.read();
        // Bytes that already wait, and room that is already there, cost no turn of the event loop.
        bytes = next instanceof Promise ? await next : next;
        reading = false;
      }
      readToTheEnd[from === a ? "a" : "b"] = true;
      to.closeWrite();
      quiet.halfClosed(pulse);
    } catch (error) {
      giveUp({ kind: "aborted", side: (from === a) === reading ? "a" : "b", error: asNgrokdError(error) });
    }
  };

  await Promise.all([pump(a, b, "a->b", nothing), pump(b, a, "b->a", first)]);
  quiet.end(pulse);
  a.close();
  b.close();
  await Promise.all([a.closed, b.closed]);
  return end;
}

const nothing = new Uint8Array(0);
const ignore = (): void => undefined;
const finished: SpliceEnd = { kind: "finished" };

function asNgrokdError(error: unknown): NgrokdError {
  return error instanceof NgrokdError ? error : new NgrokdError("aborted", reasonOf(error), { cause: error });
}
