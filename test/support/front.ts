import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { atEnd } from "./story.ts";

/** What a server on the way answers: bytes as they are, or a usual answer. */
export type Odd =
  | { readonly raw: string | Uint8Array }
  | {
      readonly status?: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string | Uint8Array;
    };

export interface Front {
  readonly url: string;
  /** What calls whose method and path match get, until it is undefined. */
  odd: { readonly calls: RegExp; readonly answer: (path: string) => Odd } | undefined;
}

/** A server before an API that passes calls on, but for those of `odd`. */
export async function frontOf(apiUrl: string): Promise<Front> {
  const pass = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = "GET", url = "/", headers } = request;
    const { authorization = "", "ngrok-version": version = "2" } = headers;
    const answer = await fetch(apiUrl + url, {
      method,
      headers: {
        authorization,
        "ngrok-version": String(version),
        "content-type": "application/json",
      },
      ...(chunks.length === 0 ? {} : { body: Buffer.concat(chunks) }),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    response.writeHead(answer.status, { "content-type": "application/json" }).end(bytes);
  };
  const server = createServer((request, response) => {
    const { odd } = front;
    const path = request.url ?? "";
    if (odd === undefined || !odd.calls.test(`${request.method} ${path}`))
      return void pass(request, response).catch(() => request.socket.destroy());
    const answer = odd.answer(path);
    if ("raw" in answer) return void request.socket.end(answer.raw);
    const { status = 200, headers = { "content-type": "application/json" }, body = "" } = answer;
    response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const front: Front = { url: `http://127.0.0.1:${port}`, odd: undefined };
  return front;
}
