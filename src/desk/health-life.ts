import { reasonOf } from "../model/error.ts";
import type { HostPort } from "../model/host-port.ts";
import type { Log } from "../model/log.ts";
import { type HealthSource, startHealthServer } from "../observe/health-server.ts";

/**
 * The health server over the daemon's life. A daemon without one is worse off,
 * and works.
 */
export interface Health {
  /** Where it listens; undefined where it does not. */
  readonly url: string | undefined;
  /** Why there is none; empty otherwise. */
  readonly trouble: string;
  /** Starts it where it does not run; every pass tries again. Never rejects. */
  start(): Promise<void>;
  /** Another address counts. */
  move(): Promise<void>;
  close(): Promise<void>;
}

export function createHealth(address: () => HostPort, source: HealthSource, log: Log): Health {
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
      // The old one goes first: the new address may be the same port on all
      // addresses.
      await health.close();
      trouble = "";
      await health.start();
      if (server !== undefined) log.info(`The health server is at ${server.url} now`);
    },
    async close() {
      await starting;
      // At once: a stop may come while it moves, and nobody closes it twice.
      const closing = server;
      server = undefined;
      await closing?.close();
    },
  };
  return health;

  async function open(): Promise<void> {
    try {
      server = await startHealthServer(address(), source);
      if (trouble !== "") log.info(`The health server is at ${server.url} now`);
      trouble = "";
    } catch (error) {
      const before = trouble;
      trouble = `There is no health server: ${reasonOf(error)}`;
      if (trouble !== before)
        log.warn(trouble, { hint: "`server.health_port` in the configuration names another port" });
    }
  }
}
