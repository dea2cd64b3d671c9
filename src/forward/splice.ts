import { NgrokdError, reasonOf } from "../model/error.ts";
import type { Conn } from "../net/types.ts";

/** How a spliced pair ended: both directions to their last byte, or one side failed and the other was told by a reset. */
export type SpliceEnd = { readonly kind: "finished" } | { readonly kind: "aborted"; readonly side: "a" | "b"; readonly error: NgrokdError };

export interface SpliceOptions {
  /** What has been read of `b` already and `a` has not got yet. */
  readonly first?: Uint8Array;
  /** Called for every chunk after it was handed on; must be cheap and must not throw. */
  readonly onBytes?: (direction: "a->b" | "b->a", bytes: number) => void;
}

/**
 * Carries both directions between two connections until both have finished, then gives both back. FIN passes through as FIN while the
 * other direction goes on; a failure of one side reaches the other as RST. Nothing is read while the other side has no room, so a slow
 * reader slows its sender. Never rejects; settles once both descriptors are free.
 */
export async function splice(a: Conn, b: Conn, options: SpliceOptions = {}): Promise<SpliceEnd> {
  const { onBytes, first = nothing } = options;
  let end: SpliceEnd = { kind: "finished" };
  const fail = (side: "a" | "b", error: unknown): void => {
    if (end.kind === "finished") end = { kind: "aborted", side, error: asNgrokdError(error) };
    a.abort();
    b.abort();
  };
  await Promise.all([
    pump(a, b, nothing, (bytes) => onBytes?.("a->b", bytes)).catch(({ reading, error }: PumpFailure) => fail(reading ? "a" : "b", error)),
    pump(b, a, first, (bytes) => onBytes?.("b->a", bytes)).catch(({ reading, error }: PumpFailure) => fail(reading ? "b" : "a", error)),
  ]);
  a.close();
  b.close();
  await Promise.all([a.closed, b.closed]);
  return end;
}

/** What pump() throws: which half of the step failed tells which connection did. */
interface PumpFailure {
  readonly reading: boolean;
  readonly error: unknown;
}

async function pump(from: Conn, to: Conn, first: Uint8Array, onBytes: (bytes: number) => void): Promise<void> {
  let reading = false;
  try {
    if (first.length > 0) {
      onBytes(first.length);
      await to.write(first);
    }
    for (;;) {
      reading = true;
      const next = from.read();
      // Bytes that already wait, and room that is already there, cost no turn of the event loop.
      const bytes = next instanceof Promise ? await next : next;
      reading = false;
      if (bytes === null) return to.closeWrite();
      const room = to.write(bytes);
      onBytes(bytes.length);
      if (room !== undefined) await room;
    }
  } catch (error) {
    throw { reading, error } satisfies PumpFailure;
  }
}

const nothing = new Uint8Array(0);

function asNgrokdError(error: unknown): NgrokdError {
  return error instanceof NgrokdError ? error : new NgrokdError("aborted", reasonOf(error), { cause: error });
}
