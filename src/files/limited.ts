/**
 * All bytes of a stream. If there are more than `limit`, cancels the stream and
 * returns undefined.
 */
export async function readLimited(
  stream: ReadableStream<Uint8Array>,
  limit: number,
): Promise<Uint8Array | undefined> {
  const reader = stream.getReader();
  // A list of chunks could use too much memory: 100 MB for a million bytes in
  // chunks of one byte.
  let bytes = Buffer.alloc(0);
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return bytes.subarray(0, size);
    if (size + value.length > limit) {
      // A rejection means that the stream is gone, which is the aim.
      reader.cancel().catch(() => undefined);
      return undefined;
    }
    if (size + value.length > bytes.length) {
      const larger = Buffer.alloc(Math.max(size + value.length, 2 * bytes.length));
      larger.set(bytes.subarray(0, size));
      bytes = larger;
    }
    bytes.set(value, size);
    size += value.length;
  }
}
