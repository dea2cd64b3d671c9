import { createHash } from "node:crypto";
import { atEnd } from "./story.ts";

export interface WebUpstream {
  /** `127.0.0.1:PORT` */
  readonly address: string;
}

/** An HTTP service behind an endpoint, with WebSockets on request. */
export function web(handler: {
  fetch(request: Request, server: Bun.Server<undefined>): Response | Promise<Response> | undefined;
  websocket?: Bun.WebSocketHandler<undefined>;
}): WebUpstream {
  const { fetch, websocket = { message() {} } } = handler;
  const server = Bun.serve({
    fetch,
    websocket,
    hostname: "127.0.0.1",
    port: 0,
    maxRequestBodySize: 2 ** 31,
    idleTimeout: 0,
  });
  atEnd(() => server.stop(true));
  return { address: `127.0.0.1:${server.port}` };
}

/** An HTTP service with one page. */
export const page = (text: string): WebUpstream => web({ fetch: () => new Response(text) });

/** The SHA-256 of a stream that is too large for the memory; hexadecimal. */
export async function sha256(stream: ReadableStream<Uint8Array> | null): Promise<string> {
  const hash = createHash("sha256");
  if (stream !== null) for await (const chunk of stream) hash.update(chunk);
  return hash.digest("hex");
}
