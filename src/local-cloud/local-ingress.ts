/** The local cloud's ingress: accepts connections, and applies TLS faults. */
import type { HostPort } from "../model/host-port.ts";
import type { Log } from "../model/log.ts";
import type { Conn, Net, TlsServerOptions } from "../net/types.ts";
import { splice } from "../relay/splice.ts";
import type { Faults } from "./faults.ts";
import { serveConnection, untilClosed } from "./ingress-connection.ts";
import type { Store } from "./store.ts";
import { closingFully } from "./with-read.ts";

export interface IngressOptions {
  readonly net: Net;
  /** Port 0 means any free port. */
  readonly address: HostPort;
  readonly tls: TlsServerOptions;
  readonly store: Store;
  readonly faults: Faults;
  readonly log: Log;
}

export interface LocalIngress {
  readonly address: HostPort;
  /** Resets open connections. */
  close(): void;
}

/**
 * The server side of the binding protocol (docs/protocol.md, "The ingress"). A
 * plain listener stands in front of the TLS listener and passes bytes on
 * unchanged. Only there can a connection fail before TLS, and faults must count
 * from one connection to the next. Rejects as {@link Net.listen} does.
 */
export async function startIngress(options: IngressOptions): Promise<LocalIngress> {
  const { net, store, faults, log } = options;
  const open = new Set<Conn>();
  const stopping = new AbortController();
  const track = (conn: Conn): Conn => {
    open.add(conn);
    void conn.closed.then(() => open.delete(conn));
    return conn;
  };
  const connection = { net, store, faults, log, stop: stopping.signal, track };

  const inner = await net.listen(
    { host: options.address.host, port: 0 },
    (conn) => serveConnection(track(conn), connection),
    { tls: options.tls },
  );
  const outer = await net
    .listen(options.address, (conn) => admit(track(conn)))
    .catch((error: unknown) => {
      inner.close();
      throw error;
    });
  return {
    address: { host: options.address.host, port: "port" in outer.address ? outer.address.port : 0 },
    close() {
      stopping.abort();
      outer.close();
      inner.close();
      for (const conn of open) conn.abort();
    },
  };

  async function admit(conn: Conn): Promise<void> {
    const fault = faults.take("tls-reset", "tls-stall");
    if (fault?.name === "tls-reset") return conn.abort();
    if (fault?.name === "tls-stall") return await untilClosed(conn);
    const outside = closingFully(conn, () => faults.take("half-close") !== undefined);
    await splice(outside, track(await net.dial(inner.address)));
  }
}
