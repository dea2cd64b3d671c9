/**
 * All bytes of a stream. If there are more than `limit`, cancels the stream and
 * returns undefined.
 */
export async function readLimited(
  stream: ReadableStream<Uint8Array>,
  limit: number,
): Promise<Uint8Array | undefined> {
  const reader = stream.getReader();
  // The first chunk is often the only one, and is not copied. Later ones are:
  // a list of a million one-byte chunks would take 100 MB.
  let bytes: Uint8Array = new Uint8Array(0);
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return bytes.subarray(0, size);
    if (size + value.length > limit) {
      // A rejection means that the stream is gone, which is the aim.
      reader.cancel().catch(() => undefined);
      return undefined;
    }
    if (size === 0) bytes = value;
    else {
      if (size + value.length > bytes.length) {
        // Filled up to `size` at once, and never read beyond it.
        const larger = Buffer.allocUnsafe(Math.max(size + value.length, 2 * bytes.length));
        larger.set(bytes.subarray(0, size));
        bytes = larger;
      }
      bytes.set(value, size);
    }
    size += value.length;
  }
}
