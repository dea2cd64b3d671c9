/**
 * Bytes as a text with a character for each. These are methods of Buffer that
 * work on any bytes: to make a Buffer of a socket's bytes takes longer.
 */
export const latin1 = (bytes: Uint8Array, start = 0, end = bytes.length): string =>
  Buffer.prototype.toString.call(bytes, "latin1", start, end);

/** Where such a text begins, at `from` or behind it; -1 if it is not there. */
export const indexOfText = (bytes: Uint8Array, text: string, from = 0): number =>
  Buffer.prototype.indexOf.call(bytes, text, from, "latin1");
