/**
 * All bytes of a stream. Cancels the stream and returns undefined once there
 * are more than `limit` bytes.
 */
export async function readLimited(
  stream: ReadableStream<Uint8Array>,
  limit: number,
): Promise<Uint8Array | undefined> {
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(chunks, size);
    size += value.length;
    if (size > limit) {
      // A rejection only says that the stream is gone, which is the aim.
      reader.cancel().catch(() => undefined);
      return undefined;
    }
    chunks.push(value);
  }
}
