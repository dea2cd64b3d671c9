/**
 * What the page knows of the daemon. It reads everything once, and then follows
 * the event stream: an event is put in where it belongs, or tells which part is
 * to be read again.
 */
import type { Exchanges } from "../desk/exchange-schemas.ts";
import type { Connection, Connections, Event, Traffic } from "../desk/history-schemas.ts";
import type { ListItem, Status } from "../desk/reply-schemas.ts";

export type Poll = Extract<Event, { kind: "poll" }>;

/** `locked`: the session has ended. */
export type Link = "connecting" | "live" | "lost" | "locked";

export interface Daemon {
  readonly link: Link;
  readonly status: Status | undefined;
  readonly list: readonly ListItem[];
  readonly traffic: Traffic | undefined;
  /** The newest first. */
  readonly connections: Connections;
  /** The oldest first. */
  readonly polls: readonly Poll[];
  readonly exchanges: Exchanges | undefined;
  /** When the status came, on the steady clock. */
  readonly statusAt: number;
}

export interface Following {
  readonly now: () => Daemon;
  /** Returns the end of the subscription. */
  subscribe(listener: () => void): () => void;
  start(): void;
}

type Part = "status" | "list" | "traffic" | "connections" | "polls" | "exchanges";
const parts: readonly Part[] = ["status", "list", "traffic", "connections", "polls", "exchanges"];

const mostConnections = 500;
const mostPolls = 40;
/** Traffic of open connections has no events. */
const trafficMs = 5000;
/** Traffic is told of full seconds, so what an event is about comes later. */
const fullSecondMs = 1100;
/**
 * A part rests for so long after a reading: 10 times as long as the reading
 * took, within these bounds. A page that was busy itself must not rest for
 * minutes.
 */
const [leastMs, mostMs] = [1000, 10_000];

/** Rejects with `locked` as the message if there is no session. */
export async function ask<T>(path: string): Promise<T> {
  const response = await fetch(`/api/v1/${path}`, { headers: { accept: "application/json" } });
  if (response.status === 401) throw new Error("locked");
  const body = await response.json();
  if (!response.ok) throw new Error(body.error?.message ?? `The daemon says ${response.status}`);
  return body as T;
}

export function follow(): Following {
  let daemon: Daemon = {
    link: "connecting",
    status: undefined,
    list: [],
    traffic: undefined,
    connections: { open: 0, ended: 0, connections: [] },
    polls: [],
    exchanges: undefined,
    statusAt: 0,
  };
  const listeners = new Set<() => void>();
  const set = (change: Partial<Daemon>): void => {
    daemon = { ...daemon, ...change };
    for (const listener of listeners) listener();
  };
  const readers = readersInto(set);
  const read = (wanted: readonly Part[]): void => {
    for (const part of wanted) readers[part]();
  };
  return {
    now: () => daemon,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    start() {
      // This page has come with a session.
      opened.postMessage("");
      listen(
        (event) => {
          set(withEvent(daemon, event));
          read(staleAfter(event));
        },
        (link) => {
          if (link === "live") read(parts);
          set({ link });
        },
      );
      setInterval(() => {
        const isSeen = document.visibilityState === "visible";
        if (isSeen && daemon.link === "live" && isMoving(daemon)) read(["traffic", "list"]);
      }, trafficMs);
    },
  };
}

/** Pure: whether bytes flow, or have flowed a moment ago. */
function isMoving({ connections, traffic }: Daemon): boolean {
  const { up = [], down = [] } = traffic?.total ?? {};
  return connections.open > 0 || [...up.slice(-2), ...down.slice(-2)].some((n) => n > 0);
}

/** Tells the other tabs of this browser that there is a session. */
const opened = new BroadcastChannel("opened");

/** A browser begins again by itself after a loss, but not after a refusal. */
function listen(onEvent: (event: Event) => void, onLink: (link: Link) => void): void {
  const again = (): void => listen(onEvent, onLink);
  const source = new EventSource("/api/v1/events");
  source.onopen = () => onLink("live");
  source.onmessage = ({ data }) => onEvent(JSON.parse(data) as Event);
  source.onerror = () => {
    onLink("lost");
    if (source.readyState !== EventSource.CLOSED) return;
    ask("health").then(
      () => setTimeout(again, leastMs),
      (error: Error) => {
        if (error.message !== "locked") return setTimeout(again, 3 * leastMs);
        onLink("locked");
        opened.addEventListener("message", again, { once: true });
      },
    );
  };
}

/** Each reads its part, or remembers to do so soon. */
function readersInto(set: (change: Partial<Daemon>) => void): Readonly<Record<Part, () => void>> {
  const reader = (load: () => Promise<Partial<Daemon>>, delayMs = 0): (() => void) => {
    let state: "idle" | "busy" | "again" = "idle";
    let wait = 0;
    const run = async (): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = delayMs;
      const before = performance.now();
      await load().then(set, () => undefined);
      const tookMs = performance.now() - before;
      const rest = Math.min(mostMs, Math.max(leastMs, 10 * tookMs));
      setTimeout(() => {
        const isWanted = state === "again";
        state = isWanted ? "busy" : "idle";
        if (isWanted) void run();
      }, rest);
    };
    return () => {
      if (state === "idle") void run();
      state = state === "idle" ? "busy" : "again";
    };
  };
  return {
    status: reader(async () => ({ status: await ask("status"), statusAt: performance.now() })),
    list: reader(async () => ({ list: await ask("list") })),
    traffic: reader(
      async () => ({ traffic: await ask("traffic?each=true&step=15") }),
      fullSecondMs,
    ),
    connections: reader(async () => ({
      connections: await ask(`connections?limit=${mostConnections}`),
    })),
    polls: reader(async () => {
      const { events } = await ask<{ events: Poll[] }>(`events?kinds=poll&limit=${mostPolls}`);
      return { polls: events };
    }),
    exchanges: reader(async () => ({ exchanges: await ask("exchanges") })),
  };
}

/** Pure: the parts that an event has made stale. */
function staleAfter({ kind }: Event): readonly Part[] {
  if (kind === "gap") return parts;
  if (kind.startsWith("endpoint.") || kind === "notice") return ["list", "status"];
  if (kind === "connection.ended") return ["list", "status", "traffic", "exchanges"];
  if (kind.startsWith("connection.")) return ["list", "status", "traffic"];
  return kind === "poll" ? ["status", "traffic"] : ["status"];
}

/** Pure: what an event says by itself. */
function withEvent(daemon: Daemon, event: Event): Partial<Daemon> {
  if (event.kind === "poll") return { polls: [...daemon.polls, event].slice(-mostPolls) };
  if (event.kind === "connection.opened" || event.kind === "connection.ended")
    return { connections: withConnection(daemon.connections, event.connection) };
  return {};
}

function withConnection(known: Connections, one: Connection): Connections {
  const before = known.connections.find(({ id }) => id === one.id);
  const others = known.connections.filter(({ id }) => id !== one.id);
  const connections = [one, ...others].sort((a, b) => b.id - a.id).slice(0, mostConnections);
  const wasOpen = before !== undefined && before.state !== "ended";
  const isOpen = one.state !== "ended";
  const wasEnded = before?.state === "ended";
  return {
    open: Math.max(0, known.open + Number(isOpen) - Number(wasOpen)),
    ended: known.ended + Number(!isOpen && !wasEnded),
    connections,
  };
}
