/**
 * inspect/ reads the HTTP/1 exchanges of connections as they pass, and keeps
 * the last ones. It sees bytes after they were sent on, and changes none.
 */
import { matchesGlob } from "../model/glob.ts";
import { type Moment, moment } from "../model/moment.ts";
import { createBudget } from "./budget.ts";
import type { Exchange } from "./exchange.ts";
import { narrowed } from "./narrow.ts";
import { createReader, type Keeping, type Reader } from "./reader.ts";
import { keepsField } from "./redact.ts";
import { type ExchangeReport, reportOf } from "./report.ts";
import { createStore, type Kept } from "./store.ts";

/** All of it may change at any time. */
export interface InspectSettings {
  /** Patterns of `host` or `host:port`. Without any, nothing is read. */
  readonly endpoints: readonly string[];
  /** Patterns of the fields whose values are kept, in lower case. */
  readonly headers: readonly string[];
  readonly queries: boolean;
  /** The most bytes that are kept of each body. */
  readonly bodyBytes: number;
  /** The most exchanges that are kept, and for how long. */
  readonly count: number;
  readonly ms: number;
}

/** What is looked at. */
export interface Subject {
  /** `host:port`. */
  readonly endpoint: string;
  readonly host: string;
  readonly client: string;
}

export interface Query {
  /** Only this host, or `host:port`. */
  readonly host?: string | undefined;
  /** Only those behind this number; undefined: the latest page. */
  readonly after?: number | undefined;
  readonly bodies: boolean;
}

/** Exchanges, oldest first. */
export interface Page {
  readonly exchanges: readonly ExchangeReport[];
  /** The number to continue from. */
  readonly next: number;
  /** Whether there are more behind it. */
  readonly more: boolean;
}

export interface Inspector {
  /**
   * A reader for a new connection; undefined if its endpoint is not inspected.
   * It is told every byte, and the end.
   */
  reader(subject: Subject): Reader | undefined;
  /** Keeps an exchange that another process has read. */
  take(exchange: Exchange): void;
  page(query: Query): Page;
  get(id: number): Kept | undefined;
  /** The number of the newest exchange; 0 before it. */
  readonly newest: number;
  /** After a change of the settings: forgets what may not be kept any more. */
  settle(): void;
  stop(): void;
}

/** What readers may hold of unfinished exchanges, in all. */
const budgetBytes = 32 * 1024 * 1024;

/** A page ends behind this many exchanges, or bytes of bodies. */
const page = { exchanges: 200, bytes: 4 * 1024 * 1024 } as const;

/** With `elsewhere`, exchanges are not kept here, but told there. */
export function createInspector(
  settings: () => InspectSettings,
  clock: () => Moment = moment,
  elsewhere?: (exchange: Exchange) => void,
): Inspector {
  const budget = createBudget(budgetBytes);
  const store = createStore(settings);
  /** How often the settings may have changed. */
  let changes = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const expire = (): void => {
    clearTimeout(timer);
    const { steady } = clock();
    const next = store.expire(steady);
    timer = next === undefined ? undefined : setTimeout(expire, Math.max(1000, next - steady));
    timer?.unref?.();
  };
  const isInspected = (one: Pick<Subject, "endpoint" | "host">): boolean =>
    settings().endpoints.some(
      (pattern) => matchesGlob(pattern, one.host) || matchesGlob(pattern, one.endpoint),
    );
  const keep =
    elsewhere ??
    ((exchange: Exchange): void => {
      store.add(exchange, clock().steady);
      if (timer === undefined) expire();
    });
  return {
    reader(subject) {
      if (settings().endpoints.length === 0 || !isInspected(subject)) return undefined;
      const begun = changes;
      return createReader({
        ...subject,
        keeping: keepingOf(settings()),
        budget,
        clock,
        done(exchange) {
          // A reload may have switched it off meanwhile, or allow less.
          if (begun === changes) keep(exchange);
          else if (isInspected(exchange)) keep(narrowed(exchange, keepingOf(settings())));
        },
      });
    },
    take(exchange) {
      if (isInspected(exchange)) keep(narrowed(exchange, keepingOf(settings())));
    },
    page(query) {
      expire();
      return pageOf(store.since(query.after ?? 0), query, store.newest);
    },
    get(id) {
      expire();
      return store.get(id);
    },
    get newest() {
      return store.newest;
    },
    settle() {
      changes += 1;
      store.retain(isInspected);
      const keeping = keepingOf(settings());
      store.change((exchange) => narrowed(exchange, keeping));
      expire();
    },
    stop() {
      clearTimeout(timer);
      store.retain(() => false);
    },
  };
}

const keepingOf = ({ headers, queries, bodyBytes }: InspectSettings): Keeping => ({
  keepsField: (name) => keepsField(name, headers),
  queries,
  bodyBytes,
});

/** Pure: the first page behind `after`, or the last page without it. */
export function pageOf(all: Iterable<Kept>, { host, after, bodies }: Query, newest: number): Page {
  const wanted = [...all].filter(
    ({ exchange }) => host === undefined || exchange.host === host || exchange.endpoint === host,
  );
  const from = after === undefined ? wanted.slice(-page.exchanges) : wanted;
  const exchanges: ExchangeReport[] = [];
  let bytes = 0;
  for (const kept of from) {
    if (exchanges.length === page.exchanges || bytes > page.bytes)
      return { exchanges, next: exchanges.at(-1)?.id ?? newest, more: true };
    exchanges.push(reportOf(kept, bodies));
    bytes += bodies ? bodiesOf(kept) : 0;
  }
  return { exchanges, next: newest, more: false };
}

const bodiesOf = ({ exchange: { request, reply } }: Kept): number =>
  (request.body?.bytes.length ?? 0) + (reply?.body?.bytes.length ?? 0);
