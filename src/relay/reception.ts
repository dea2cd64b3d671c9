import type { Log } from "../model/log.ts";
import type { ErrorKind } from "../model/meter.ts";
import type { Conn } from "../net/types.ts";
import { type Greeted, type GreetingUser, greet } from "./greet/greet.ts";
import type { Named } from "./greet/naming.ts";
import { refuse } from "./greet/refusal.ts";
import type { FirstRequest } from "./greet/request-stream.ts";

/** The clients of a shared door that have no endpoint, or none yet. */
export interface Reception {
  /** Reads the first bytes of a client, and hands it on or refuses it. */
  receive(conn: Conn, terms: Terms): void;
  /** Resets all of them. */
  close(): void;
}

/** The settings at the time when a client arrives. */
export interface Terms {
  /** The time for the first bytes, in milliseconds. */
  readonly openTimeoutMs: number;
  readonly log: Log;
}

/** What a door does with its clients. */
export interface Host {
  /** Asked when the client has named its host. */
  readonly laneOf: (
    conn: Conn,
    host: Named,
  ) => { readonly carry: (conn: Conn, first?: FirstRequest) => void } | undefined;
  /** Called once a client: before it is handed on, or when it has gone. */
  readonly leaves: () => void;
  readonly refused: (refusal: Refusal, log: Log) => void;
}

export interface Refusal {
  readonly kind: ErrorKind;
  /** It fits after "a client was refused, since", and repeats itself. */
  readonly reason: string;
  readonly fields: { readonly client: string; readonly host?: string };
}

export function createReception(host: Host): Reception {
  const waiting = new Set<Visit>();
  const deadlines = new Deadlines(waiting);
  return {
    receive(conn, terms) {
      const visit = new Visit(conn, host, waiting, terms);
      deadlines.count(visit);
      greet(conn, visit);
    },
    close() {
      for (const { conn } of waiting) conn.abort();
    },
  };
}

/** A class for the same reason as Forwarding: each client of a door has one. */
class Visit implements GreetingUser {
  readonly conn: Conn;
  /** By performance.now(). */
  readonly endsAt: number;
  /** `late`: reset at the deadline. `refused`: it may read its reply. */
  state: "greets" | "late" | "refused" = "greets";
  private readonly host: Host;
  private readonly log: Log;
  private readonly waiting: Set<Visit>;

  constructor(conn: Conn, host: Host, waiting: Set<Visit>, { openTimeoutMs, log }: Terms) {
    this.conn = conn;
    this.host = host;
    this.waiting = waiting;
    this.log = log;
    this.endsAt = performance.now() + openTimeoutMs;
    waiting.add(this);
  }

  greeted({ naming, bytes, head }: Greeted): void {
    const { conn } = this;
    const named = naming.kind === "unreadable" ? undefined : naming.host;
    const lane = naming.kind === "unreadable" ? undefined : this.host.laneOf(conn, named);
    if (lane === undefined) {
      const { client } = this;
      const fields = named === undefined || named === "" ? { client } : { client, host: named };
      this.host.refused({ kind: "misdirected", reason: reasonOf(naming), fields }, this.log);
      this.state = "refused";
      void refuse(conn, naming).then(() => this.untilClosed());
      return;
    }
    this.leave();
    conn.unread(bytes);
    lane.carry(conn, head && { head, bytes });
  }

  left(): void {
    const kind = this.state === "late" ? "timeout" : "reset";
    const fields = { client: this.client };
    this.host.refused({ kind, reason: reasons[kind], fields }, this.log);
    this.conn.abort();
    void this.untilClosed();
  }

  private async untilClosed(): Promise<void> {
    await this.conn.closed;
    this.leave();
  }

  private leave(): void {
    this.waiting.delete(this);
    this.host.leaves();
  }

  private get client(): string {
    const { remote } = this.conn;
    return "host" in remote ? remote.host : "";
  }
}

/** One timer for all clients of a door: nearly all of them are gone before. */
class Deadlines {
  private readonly waiting: ReadonlySet<Visit>;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private ringsAt = Number.POSITIVE_INFINITY;

  constructor(waiting: ReadonlySet<Visit>) {
    this.waiting = waiting;
  }

  count({ endsAt }: Visit): void {
    if (endsAt >= this.ringsAt) return;
    clearTimeout(this.timer);
    this.ringsAt = endsAt;
    this.timer = setTimeout(() => this.ring(), endsAt - performance.now());
    this.timer.unref?.();
  }

  private ring(): void {
    this.ringsAt = Number.POSITIVE_INFINITY;
    for (const visit of [...this.waiting]) {
      if (visit.state !== "greets") continue;
      if (visit.endsAt > performance.now()) this.count(visit);
      else {
        visit.state = "late";
        visit.conn.abort();
      }
    }
  }
}

const reasons = {
  timeout: "it sent no host in time",
  reset: "it left before it named a host",
} as const;

function reasonOf(naming: Greeted["naming"]): string {
  if (naming.kind === "unreadable") return naming.reason;
  return naming.host === undefined
    ? "it names no host, and there are several endpoints"
    : "no endpoint at this port has the name";
}
