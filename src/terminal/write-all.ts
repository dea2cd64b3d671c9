import { writeSync } from "node:fs";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";

/** Writes as write(2) does: returns the count, and throws with an errno. */
type Write = (fd: number, bytes: Uint8Array) => number;

/** A pipe that does not block is asked again after so many milliseconds. */
const pauseMs = 5;

/**
 * Writes the whole text, in as many pieces as the system accepts. If the reader
 * has gone, that is not a failure. Throws NgrokdError `output` for all other
 * errors, such as a full disk.
 */
export function writeAll(fd: number, text: string, write: Write = writeSync): void {
  let rest: Uint8Array = new TextEncoder().encode(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(write(fd, rest));
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "EPIPE") return;
      if (errno === "EAGAIN") pause(pauseMs);
      else if (errno !== "EINTR") throw unwritten(error);
    }
  }
}

/** The error for a result that could not be written. */
export function unwritten(cause: unknown): NgrokdError {
  // The runtime writes "ENOSPC: no space left on device, write".
  const reason = reasonOf(cause)
    .replace(/^[A-Z\d]+: /, "")
    .replace(/, write$/, "");
  return new NgrokdError("output", `Cannot write the result to the standard output: ${reason}`, {
    cause,
  });
}

/** Waits without an event loop: the text must be out before the next step. */
const pause = (ms: number): unknown =>
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
