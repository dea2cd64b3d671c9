import { setImmediate } from "node:timers/promises";

/**
 * A stream of pieces. Each is written when the reader asks for it, and after
 * other pending work.
 */
export function inPieces(pieces: Iterable<string>, type: string): Response {
  const encoder = new TextEncoder();
  const rest = pieces[Symbol.iterator]();
  const body = new ReadableStream({
    async pull(controller) {
      await setImmediate();
      const next = rest.next();
      if (next.done) controller.close();
      else controller.enqueue(encoder.encode(next.value));
    },
  });
  return new Response(body, { headers: { "content-type": type } });
}
