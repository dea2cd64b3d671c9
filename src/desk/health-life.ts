import { reasonOf } from "../model/error.ts";
import type { HostPort } from "../model/host-port.ts";
import type { Log } from "../model/log.ts";
import type { Net } from "../net/types.ts";
import { type HealthSource, startHealthServer } from "../observe/health-server.ts";

/**
 * The health server during the daemon's life. The daemon also works without it,
 * if its port is taken for instance.
 */
export interface Health {
  /** The URL of the server; undefined if it does not run. */
  readonly url: string | undefined;
  /** Why it does not run; empty otherwise. */
  readonly trouble: string;
  /** Starts it if it does not run. Every pass calls this. Never rejects. */
  start(): Promise<void>;
  /** The address in the settings has changed: starts it again there. */
  move(): Promise<void>;
  close(): Promise<void>;
  /** No new clients: another process has the server. Open ones go on. */
  leave(): Promise<void>;
}

export function createHealth(
  net: Net,
  address: () => HostPort,
  source: HealthSource,
  log: Log,
): Health {
  let server: Awaited<ReturnType<typeof startHealthServer>> | undefined;
  let starting: Promise<void> | undefined;
  let trouble = "";

  const health: Health = {
    get url() {
      return server?.url;
    },
    get trouble() {
      return trouble;
    },
    async start() {
      if (server !== undefined) return;
      starting ??= open().finally(() => {
        starting = undefined;
      });
      await starting;
    },
    async move() {
      // The old server closes first: the new address may be the same port on
      // all addresses.
      await health.close();
      trouble = "";
      await health.start();
      if (server !== undefined) log.info(`The health server is at ${server.url} now`);
    },
    async close() {
      await starting;
      // Cleared before the wait: a stop may come during a move, and the server
      // must not be closed twice.
      const closing = server;
      server = undefined;
      closing?.close();
    },
    async leave() {
      await starting;
      server?.leave();
    },
  };
  return health;

  async function open(): Promise<void> {
    try {
      server = await startHealthServer(net, address(), source);
      if (trouble !== "") log.info(`The health server is at ${server.url} now`);
      trouble = "";
    } catch (error) {
      const before = trouble;
      trouble = `There is no health server: ${reasonOf(error)}`;
      if (trouble !== before)
        log.warn(trouble, {
          hint: "set another port as `server.health_port` in the configuration",
        });
    }
  }
}
