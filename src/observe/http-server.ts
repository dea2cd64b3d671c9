import { clearTimeout, setTimeout } from "node:timers";
import { serve } from "srvx/node";
import type { HostPort } from "../model/host-port.ts";
import { createPlaces } from "../net/places.ts";
import type { Conn, Net } from "../net/types.ts";
import { ConnStream } from "./conn-stream.ts";

/** The answer to a request; `asked` is what the client has sent, as it was. */
export type Answer = (request: Request, asked: Asked) => Response | Promise<Response>;

/** A request before any library has understood it. */
export interface Asked {
  readonly method: string;
  /** The target of the request line. */
  readonly target: string;
  /** Of HTTP, such as `1.1`. */
  readonly version: string;
  /** With every repeated header, in their order. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The connection; undefined if the runtime hides it. */
  readonly conn: Conn | undefined;
}

export interface HttpOptions {
  readonly net: Net;
  /** An IP address; port 0 means any free port. */
  readonly address: HostPort;
  readonly answer: Answer;
  /**
   * The most connections. A further one resets the connection that was quiet
   * for the longest time.
   */
  readonly most: number;
  /** The time after which a quiet connection is reset; 0 means never. */
  readonly quietMs: number;
  readonly maxBodyBytes: number;
}

export interface HttpServer {
  readonly address: HostPort;
  /** Resets open connections. */
  close(): void;
  /** No new connections; open ones go on. */
  leave(): void;
}

/**
 * An HTTP server on the seam. The runtimes' own servers neither count their
 * connections nor know which are idle, so some thousand idle ones would use up
 * the descriptors of the process. Rejects as {@link Net.listen} does.
 */
export async function startHttpServer(options: HttpOptions): Promise<HttpServer> {
  const { net, address, answer, most, quietMs, maxBodyBytes } = options;
  const parser = createHttpParser({ answer, maxBodyBytes, quietMs });
  const places = createPlaces(most);
  const listener = await net.listen(address, (conn: Conn) => {
    const place = places.enter(() => conn.abort());
    void conn.closed.then(() => place?.leave());
    parser.accept(conn, () => place?.rest());
  });
  const { address: bound } = listener;
  return {
    address: "host" in bound ? bound : address,
    close() {
      listener.close();
      places.clear();
    },
    leave: () => listener.close(),
  };
}

/** Serves HTTP on connections that are accepted elsewhere. */
export interface HttpParser {
  /** `onMove` is called whenever bytes have moved. */
  accept(conn: Conn, onMove: () => void): void;
}

export function createHttpParser({
  answer,
  maxBodyBytes,
  quietMs,
}: Pick<HttpOptions, "answer" | "maxBodyBytes" | "quietMs">): HttpParser {
  const parser = serve({
    fetch: (request) => answer(request, askedIn(request.runtime?.node?.req)),
    maxRequestBodySize: maxBodyBytes,
    manual: true,
    silent: true,
    gracefulShutdown: false,
  }).node?.server;
  return {
    accept(conn, onMove) {
      const alarm = quietMs === 0 ? undefined : setTimeout(() => conn.abort(), quietMs);
      void conn.closed.then(() => clearTimeout(alarm));
      const moved = (): void => {
        alarm?.refresh();
        onMove();
      };
      parser?.emit("connection", new ConnStream(conn, moved));
    },
  };
}

interface NodeRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersion?: string | undefined;
  readonly rawHeaders?: readonly string[];
  readonly socket?: unknown;
}

function askedIn(request: NodeRequest | undefined): Asked {
  const { method = "", url: target = "", httpVersion: version = "" } = request ?? {};
  const { rawHeaders = [], socket } = request ?? {};
  const headers: [string, string][] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2)
    headers.push([(rawHeaders[i] ?? "").toLowerCase(), rawHeaders[i + 1] ?? ""]);
  const conn = socket instanceof ConnStream ? socket.conn : undefined;
  return { method, target, version, headers, conn };
}
