import { clearTimeout, setTimeout } from "node:timers";
import { serve } from "srvx/node";
import type { HostPort } from "../model/host-port.ts";
import { createPlaces } from "../net/places.ts";
import type { Conn, Net } from "../net/types.ts";
import { ConnStream } from "./conn-stream.ts";

export interface HttpOptions {
  readonly net: Net;
  /** An IP address; port 0 means any free port. */
  readonly address: HostPort;
  readonly answer: (request: Request) => Response | Promise<Response>;
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
  const parser = serve({
    fetch: answer,
    maxRequestBodySize: maxBodyBytes,
    manual: true,
    silent: true,
    gracefulShutdown: false,
  }).node?.server;
  const places = createPlaces(most);
  const listener = await net.listen(address, (conn: Conn) => {
    const place = places.enter(() => conn.abort());
    const alarm = quietMs === 0 ? undefined : setTimeout(() => conn.abort(), quietMs);
    void conn.closed.then(() => {
      clearTimeout(alarm);
      place?.leave();
    });
    const onMove = (): void => {
      alarm?.refresh();
      place?.rest();
    };
    parser?.emit("connection", new ConnStream(conn, onMove));
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
