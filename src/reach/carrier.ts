import type { Ingress } from "../ingress/ingress.ts";
import { onAbort } from "../model/abort.ts";
import type { Binding } from "../model/binding.ts";
import type { Log } from "../model/log.ts";
import { createMeter } from "../model/meter.ts";
import { defaultProfile } from "../model/profile.ts";
import { isLoopback } from "../model/proxy.ts";
import type { Caller, Conn, Net } from "../net/types.ts";
import { type Courtesy, forward } from "../relay/forward.ts";
import { createQuietWatch } from "../relay/quiet.ts";

/** Carries the connections of all doors of this run. */
export interface Carrier {
  /** `open` reaches the binding; without `courtesy` a failure is a reset. */
  carry(client: Conn, binding: Binding, open: Ingress["open"], courtesy?: Courtesy): void;
  /**
   * Waits for open connections for a moment, or until `hurry` aborts, and
   * resets the others.
   */
  drain(hurry: AbortSignal): Promise<void>;
}

export interface CarrierOptions {
  readonly net: Net;
  readonly log: Log;
  /** In milliseconds, as in the daemon; 0 means no limit for the last two. */
  readonly openTimeoutMs: number;
  readonly idleMs: number;
  readonly halfClosedMs: number;
}

/** Who has stopped a command does not want to wait for it. */
const drainMs = 1000;

export function createCarrier(options: CarrierOptions): Carrier {
  const { net, log, openTimeoutMs, idleMs, halfClosedMs } = options;
  const quiet = createQuietWatch({ idleMs, halfClosedMs });
  const conns = new Set<Conn>();
  const empty: (() => void)[] = [];
  const ended = (conn: Conn): void => {
    conns.delete(conn);
    if (conns.size === 0) for (const tell of empty.splice(0)) tell();
  };
  return {
    carry(client, binding, open, courtesy) {
      // Bun spins when there are no descriptors left.
      if (conns.size >= net.descriptors.room(0)) {
        log.warn("New connections are reset at once: there are too few open files for them");
        client.abort();
        return;
      }
      conns.add(client);
      const deps = { account: defaultProfile, ingress: { open }, log, quiet, openTimeoutMs };
      const all = courtesy === undefined ? deps : { ...deps, courtesy };
      forward(client, binding, createMeter(), all, ended);
    },
    drain: (hurry) =>
      new Promise((done) => {
        if (conns.size === 0) return done();
        const cut = (): void => {
          for (const conn of [...conns]) conn.abort();
        };
        const timer = setTimeout(cut, drainMs);
        const unhook = onAbort(hurry, cut);
        empty.push(() => {
          clearTimeout(timer);
          unhook();
          done();
        });
      }),
  };
}

/**
 * Lets clients in that run as this user or as root: a loopback port is open to
 * every user of the machine. A listener on another address was made for others,
 * so it takes everybody.
 */
export async function isForThisUser(net: Pick<Net, "callerOf">, conn: Conn): Promise<boolean> {
  if (!("host" in conn.local) || !isLoopback(conn.local.host)) return true;
  return isSameUser(await net.callerOf(conn), process.getuid?.());
}

/** Pure: a system that does not tell users lets every program of it in. */
export function isSameUser({ isHere, uid }: Caller, own: number | undefined): boolean {
  if (!isHere) return false;
  if (uid === undefined) return process.platform !== "linux";
  return own === undefined || uid === own || uid === 0;
}
