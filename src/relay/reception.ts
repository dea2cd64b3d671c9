import type { ErrorKind } from "../model/meter.ts";
import type { Conn } from "../net/types.ts";
import { type Greeted, greet } from "./greet/greet.ts";
import type { Named } from "./greet/naming.ts";
import { refuse } from "./greet/refusal.ts";

/** The clients of a shared door that have no endpoint, or none yet. */
export interface Reception {
  /** Reads the first bytes of a client, and hands it on or refuses it. */
  receive(conn: Conn, guest: Guest): void;
  /** Resets all of them. */
  close(): void;
}

export interface Guest {
  /** The time for the first bytes, in milliseconds. */
  readonly limitMs: number;
  readonly laneOf: (
    host: Named,
  ) => { readonly carry: (conn: Conn, speaks?: "http") => void } | undefined;
  /** Called once: before the client is handed on, or when it has gone. */
  readonly leaves: () => void;
  readonly refused: (refusal: Refusal) => void;
}

export interface Refusal {
  readonly kind: ErrorKind;
  /** It fits after "a client was refused, since", and repeats itself. */
  readonly reason: string;
  readonly fields: { readonly client: string; readonly host?: string };
}

export function createReception(): Reception {
  const waiting = new Set<Conn>();
  return {
    receive: (conn, guest) => void receive(waiting, conn, guest),
    close() {
      for (const conn of waiting) conn.abort();
    },
  };
}

async function receive(waiting: Set<Conn>, conn: Conn, guest: Guest): Promise<void> {
  waiting.add(conn);
  const greeted = await greetWithin(conn, guest.limitMs);
  const client = "host" in conn.remote ? conn.remote.host : "";
  if (typeof greeted === "string") {
    guest.refused({ kind: greeted, reason: reasons[greeted], fields: { client } });
    conn.abort();
  } else {
    const { naming, bytes } = greeted;
    const host = naming.kind === "unreadable" ? undefined : naming.host;
    const lane = naming.kind === "unreadable" ? undefined : guest.laneOf(host);
    if (lane !== undefined) {
      waiting.delete(conn);
      guest.leaves();
      conn.unread(bytes);
      lane.carry(conn, naming.kind === "http" ? "http" : undefined);
      return;
    }
    const fields = host === undefined || host === "" ? { client } : { client, host };
    guest.refused({ kind: "misdirected", reason: reasonOf(naming), fields });
    await refuse(conn, naming);
  }
  await conn.closed;
  waiting.delete(conn);
  guest.leaves();
}

const reasons = {
  timeout: "it sent no host in time",
  reset: "it left before it named a host",
} as const;

async function greetWithin(conn: Conn, limitMs: number): Promise<Greeted | keyof typeof reasons> {
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    conn.abort();
  }, limitMs);
  try {
    return (await greet(conn)) ?? "reset";
  } catch {
    return timedOut ? "timeout" : "reset";
  } finally {
    clearTimeout(timer);
  }
}

function reasonOf(naming: Greeted["naming"]): string {
  if (naming.kind === "unreadable") return naming.reason;
  return naming.host === undefined
    ? "it names no host, and there are several endpoints"
    : "no endpoint at this port has the name";
}
