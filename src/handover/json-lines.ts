import { NgrokdError } from "../model/error.ts";
import type { Conn } from "../net/types.ts";

/** The list of 10,000 endpoints has some megabytes. */
const mostBytes = 128 * 1024 * 1024;

/**
 * The lines of a connection, until its end. Throws as {@link Conn.read}, and
 * `protocol` for a line without end.
 */
export async function* linesOf(conn: Conn): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  let size = 0;
  for (;;) {
    const bytes = await conn.read();
    if (bytes === null) return;
    size += bytes.length;
    if (size > mostBytes) throw new NgrokdError("protocol", "A line of a handover has no end");
    const [head = "", ...lines] = decoder.decode(bytes, { stream: true }).split("\n");
    pieces.push(head);
    for (const line of lines) {
      yield pieces.join("");
      pieces = [line];
      size = line.length;
    }
  }
}

/** Writes a value as a line. Rejects as {@link Conn.write}. */
export async function writeLine(conn: Conn, value: unknown): Promise<void> {
  await conn.write(new TextEncoder().encode(`${JSON.stringify(value)}\n`));
}
