/**
 * Bytes that show their place: a byte follows from its stream's number and its
 * position. So a lost, doubled, reordered or crossed byte is seen at once,
 * without storing anything.
 */
const size = 65_521; // a prime, so that no chunk length divides it
const block = new Uint8Array(2 * size);

/**
 * A small random generator with a seed that can be printed and given again
 * (mulberry32).
 */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

const random = randomFrom(20_240_229);
for (let i = 0; i < size; i += 1) block[i] = block[i + size] = Math.floor(random() * 256);

/**
 * `length` bytes (65,521 at most) of stream `stream` from `position` on; a
 * view, not to be changed.
 */
export function bytesAt(stream: number, position: number, length: number): Uint8Array {
  const start = (position + stream * 7919) % size;
  return block.subarray(start, start + Math.min(length, size));
}

/** Follows one stream and says where it first differs. */
export function checker(stream: number): {
  readonly position: number;
  take(bytes: Uint8Array): void;
} {
  let position = 0;
  return {
    get position() {
      return position;
    },
    take(bytes) {
      for (let at = 0; at < bytes.length; ) {
        const expected = bytesAt(stream, position, bytes.length - at);
        const piece = bytes.subarray(at, at + expected.length);
        if (Buffer.compare(piece, expected) !== 0) {
          const first = piece.findIndex((byte, i) => byte !== expected[i]);
          throw new Error(`stream ${stream} has a wrong byte at ${position + first}`);
        }
        at += piece.length;
        position += piece.length;
      }
    },
  };
}
