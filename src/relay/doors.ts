import { type Placed, placeOf } from "../exposure/plan.ts";
import { type ErrorCode, isNgrokdError, reasonOf } from "../model/error.ts";
import type { Hostname } from "../model/hostname.ts";
import type { Ip } from "../model/ip.ts";
import { countError, createMeter, type Meter } from "../model/meter.ts";
import { listeningKey } from "../net/proc-net.ts";
import type { Conn, Listener, Net } from "../net/types.ts";
import { type ForwardDeps, forward } from "./forward.ts";
import { type Excess, excess, type Limits, unlimited } from "./limits.ts";

/** A binding that listens, or that listened and still carries connections. */
export interface Raised {
  placed: Placed;
  /** The binding that it was raised for: whose meter this is. */
  readonly key: string;
  readonly meter: Meter;
  listener: Listener;
  readonly conns: Set<Conn>;
  /** Who waits for the last connection's end. */
  readonly waiting: (() => void)[];
}

type Carrying = Omit<Raised, "listener">;

export interface Listeners {
  /** Connections that are open now, in all. */
  readonly open: number;
  /** What listens now, by place ({@link placeOf}). */
  readonly present: ReadonlyMap<string, Raised>;
  /** What was retired and still carries connections. */
  readonly draining: ReadonlySet<Raised>;
  /** Listens; answers the reason where that fails. */
  raise(placed: Placed): Promise<string | undefined>;
  /**
   * Listens no more; running connections go on until they end or `drainMs` have
   * passed, and are then reset.
   */
  retire(place: string, drainMs: number): void;
  /**
   * Retires everything; settles when all connections have ended, with the
   * number of those that were cut.
   */
  retireAll(drainMs: number, hurry: AbortSignal): Promise<{ cut: number }>;
  /**
   * Listens again where `listening` (listeningPlaces) does not know a listener
   * of ours; open connections go on. Answers whom it found dead, with the
   * reason where it could not be raised: it is in `present` no more then, and
   * the next pass tries again.
   */
  mend(
    listening: () => Promise<ReadonlySet<string> | undefined>,
  ): Promise<{ placed: Placed; reason: string | undefined }[]>;
  /**
   * Which of these addresses cannot be listened on at these ports because
   * something else does. Binds and lets go.
   */
  probe(places: readonly { ip: Ip; port: number }[]): Promise<ReadonlySet<Ip>>;
}

/**
 * Listeners of which none exists yet; `limits` is asked at every connection.
 */
export function createListeners(
  net: Net,
  deps: ForwardDeps,
  limits: () => Limits = () => unlimited,
): Listeners {
  const present = new Map<string, Raised>();
  const draining = new Set<Raised>();
  // A binding keeps its counters when its address or its endpoints change:
  // those who raised it, and still drain, share one meter.
  const meters = new Map<string, { readonly meter: Meter; users: number }>();
  let open = 0;
  // Sandboxes have files of that name which say nothing: silence only means
  // something where a listener, of whatever program, has been seen.
  let systemTells = false;

  return {
    get open() {
      return open;
    },
    present,
    draining,

    async raise(placed) {
      const shared = meters.get(placed.binding.key) ?? { meter: createMeter(), users: 0 };
      const raised: Carrying = {
        placed,
        key: placed.binding.key,
        meter: shared.meter,
        conns: new Set(),
        waiting: [],
      };
      try {
        const listener = await net.listen(
          { host: placed.ip, port: placed.binding.port },
          serving(raised),
        );
        present.set(placeOf(placed), Object.assign(raised, { listener }));
        meters.set(placed.binding.key, shared);
        shared.users += 1;
        return undefined;
      } catch (error) {
        return listenReason(error, placed);
      }
    },

    retire(place, drainMs) {
      const raised = withdraw(place);
      if (raised === undefined) return;
      const timer = setTimeout(() => {
        for (const conn of [...raised.conns]) conn.abort();
      }, drainMs);
      timer.unref?.();
      void drained(raised).then(() => clearTimeout(timer));
    },

    async retireAll(drainMs, hurry) {
      for (const place of [...present.keys()]) withdraw(place);
      const all = [...draining];
      const cut = new Set<Conn>();
      const cutNow = (): void => {
        for (const { conns } of all) {
          for (const conn of [...conns]) {
            cut.add(conn);
            conn.abort();
          }
        }
      };
      // One limit for all: what was retired earlier does not get more time than
      // the daemon has.
      const timer = setTimeout(cutNow, drainMs);
      hurry.addEventListener("abort", cutNow, { once: true });
      if (hurry.aborted) cutNow();
      await Promise.all(all.map(drained));
      clearTimeout(timer);
      hurry.removeEventListener("abort", cutNow);
      return { cut: cut.size };
    },

    async mend(listening) {
      // What is raised while the system is asked may not be in its answer.
      const asked = [...present];
      const alive = await listening();
      if (alive === undefined) return [];
      systemTells ||= alive.size > 0;
      const missing = unlisted(asked, alive);
      if (missing.length === 0 || !systemTells) return [];
      const found: { placed: Placed; reason: string | undefined }[] = [];
      // Twice: the kernel lists them in pieces, and can leave out one that
      // lives where another goes in between.
      const still = await listening();
      for (const [place, raised] of still === undefined ? [] : unlisted(missing, still)) {
        if (present.get(place) !== raised) continue;
        const { placed } = raised;
        raised.listener.close();
        try {
          const listener = await net.listen(
            { host: placed.ip, port: placed.binding.port },
            serving(raised),
          );
          if (present.get(place) === raised) raised.listener = listener;
          else listener.close();
          found.push({ placed, reason: undefined });
        } catch (error) {
          if (present.get(place) === raised) withdraw(place);
          found.push({ placed, reason: listenReason(error, placed) });
        }
      }
      return found;
    },

    async probe(places) {
      const taken = new Set<Ip>();
      for (const { ip, port } of places) {
        try {
          (await net.listen({ host: ip, port }, (conn) => conn.abort())).close();
        } catch (error) {
          if (isNgrokdError(error, "address-in-use")) taken.add(ip);
        }
      }
      return taken;
    },
  };

  /** What a listener does with its connections. */
  function serving(raised: Carrying): (conn: Conn) => void {
    const { meter, conns, waiting } = raised;
    const ended = (conn: Conn): void => {
      open -= 1;
      conns.delete(conn);
      if (conns.size === 0) for (const tell of waiting.splice(0)) tell();
    };
    return (conn) => {
      const { binding } = raised.placed;
      const over = excess(open, meter.active, limits());
      if (over !== undefined) return turnAway(conn, binding.key, meter, over);
      open += 1;
      conns.add(conn);
      forward(conn, binding, meter, deps, ended);
    };
  }

  /** The log says it once a minute, however many come. */
  function turnAway(conn: Conn, key: string, meter: Meter, { reason, hint, local }: Excess): void {
    conn.abort();
    meter.total += 1;
    countError(meter, "limit");
    meter.lastError = `reset at once: ${reason}`;
    deps.log.warn(`${local ? `${key}: new` : "New"} connections are reset at once: ${reason}`, {
      ...(local && { endpoint: key }),
      hint,
    });
  }

  /** Listens no more; answers what still carries connections. */
  function withdraw(place: string): Raised | undefined {
    const raised = present.get(place);
    if (raised === undefined) return undefined;
    present.delete(place);
    raised.listener.close();
    if (raised.conns.size > 0) {
      draining.add(raised);
      void drained(raised).then(() => {
        draining.delete(raised);
        forget(raised);
      });
      return raised;
    }
    forget(raised);
    return undefined;
  }

  function forget({ key }: Raised): void {
    const shared = meters.get(key);
    if (shared === undefined) return;
    shared.users -= 1;
    if (shared.users === 0) meters.delete(key);
  }
}

/** Those of `asked` that the system does not list. */
function unlisted(
  asked: readonly [string, Raised][],
  alive: ReadonlySet<string>,
): [string, Raised][] {
  return asked.filter(([, { placed }]) => !alive.has(listeningKey(placed.ip, placed.binding.port)));
}

/** Settles when the last connection has ended. */
function drained({ conns, waiting }: Raised): Promise<void> {
  return new Promise((resolve) => {
    if (conns.size === 0) resolve();
    else waiting.push(resolve);
  });
}

/** Why an endpoint does not listen, for people. */
function listenReason(error: unknown, { binding, ip }: Placed): string {
  const where = `${ip}:${binding.port}`;
  const code: ErrorCode | undefined = isNgrokdError(error) ? error.code : undefined;
  switch (code) {
    case "address-in-use":
      return `another program listens on ${where} (or on port ${binding.port} of all addresses)`;
    case "permission":
      return `ports below 1024 need root or CAP_NET_BIND_SERVICE, and ${where} is one`;
    case "address-unavailable":
      return process.platform === "darwin"
        ? `${ip} is not an address of this machine; add it with \`sudo ifconfig lo0 alias ${ip}\``
        : `${ip} is not an address of this machine`;
    default:
      return `cannot listen on ${where}: ${reasonOf(error)}`;
  }
}

/**
 * Host names that answer on at least one port: the only ones that belong into
 * the hosts file.
 */
export function answeringNames(present: ReadonlyMap<string, Raised>): Map<Hostname, Ip> {
  return new Map([...present.values()].map(({ placed }) => [placed.binding.host, placed.ip]));
}
