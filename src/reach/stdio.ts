import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import type { Conn } from "../net/types.ts";

/**
 * Carries the standard streams of this process to a connection and back, as
 * for ssh's ProxyCommand. Settles when the connection has ended, or its reader
 * has gone. Rejects with NgrokdError if the connection breaks.
 */
export async function carryStdio(
  conn: Conn,
  { input, output }: { readonly input: Readable; readonly output: Writable },
): Promise<void> {
  const gone = new Promise<"gone">((resolve) => {
    output.once("error", () => resolve("gone"));
  });
  const up = (async (): Promise<void> => {
    for await (const chunk of input) await conn.write(chunk as Uint8Array);
    conn.closeWrite();
  })();
  // Its failure shows in the other direction, which decides.
  up.catch(() => undefined);
  const down = (async (): Promise<void> => {
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
      if (!output.write(bytes)) await Promise.race([once(output, "drain"), gone]);
    }
    await new Promise<void>((flushed) => output.write("", () => flushed()));
  })();
  try {
    await Promise.race([down, gone]);
  } finally {
    input.destroy();
    conn.close();
  }
}
