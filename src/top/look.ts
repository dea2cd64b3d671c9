import type { Exchanges } from "../desk/exchange-schemas.ts";
import type { Connections, Events, Traffic } from "../desk/history-schemas.ts";
import type { ListItem, Status } from "../desk/reply-schemas.ts";
import { urlOf } from "../model/endpoint.ts";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import { type Moment, moment, msBetween } from "../model/moment.ts";
import { readable } from "../model/parsed.ts";
import { type WatchedEndpoint, withRates } from "../terminal/watch-text.ts";

/** What the daemon is asked. */
export interface Source {
  status(): Promise<Status>;
  list(): Promise<ListItem[]>;
  /** The last minute by second, each endpoint by itself. */
  traffic(): Promise<Traffic>;
  connections(host: string): Promise<Connections>;
  events(host: string): Promise<Events>;
  exchanges(host: string): Promise<Exchanges>;
}

/** What one endpoint's page shows in addition. */
export interface Closer {
  readonly name: string;
  readonly connections: Part<Connections["connections"]>;
  readonly events: Part<Events["events"]>;
  readonly exchanges: Part<Exchanges["exchanges"]>;
}

/** A part that this user may not ask for has a reason instead. */
export type Part<T> =
  | { readonly kind: "known"; readonly value: T }
  | { readonly kind: "unknown"; readonly reason: string };

/** One look at the daemon. */
export interface Look {
  readonly at: Moment;
  readonly status: Status;
  readonly items: readonly WatchedEndpoint[];
  readonly traffic: Traffic;
  readonly closer: Closer | undefined;
  /** Why it is not the latest; empty if it is. */
  readonly trouble: string;
  /** What the rates are the growth since. */
  readonly since: Since | undefined;
}

type Since = Pick<Look, "at" | "items">;

/** Rates over a shorter time would jump. Milliseconds. */
const shortest = 500;

/** `closeTo` is the name of the endpoint whose page is open. */
export async function lookAt(
  source: Source,
  closeTo: string | undefined,
  last: Look | undefined,
): Promise<Look> {
  const [status, items, traffic, closer] = await Promise.all([
    source.status(),
    source.list(),
    source.traffic(),
    closeTo === undefined ? undefined : lookCloser(source, closeTo),
  ]);
  const at = moment();
  const since = last !== undefined && msBetween(last.at, at) < shortest ? last.since : last;
  const before = since && { at: since.at, items: since.items };
  const rated = withRates(items, at, before);
  return { at, status, items: rated, traffic, closer, trouble: "", since: before };
}

async function lookCloser(source: Source, name: string): Promise<Closer> {
  const [connections, events, exchanges] = await Promise.all([
    partOf(source.connections(name).then((reply) => reply.connections)),
    partOf(source.events(name).then((reply) => reply.events.toReversed())),
    partOf(source.exchanges(name).then((reply) => reply.exchanges.toReversed())),
  ]);
  return { name, connections, events, exchanges };
}

/** Errors of a daemon that has gone are those of the whole look. */
async function partOf<T>(asked: Promise<T>): Promise<Part<T>> {
  try {
    return { kind: "known", value: await asked };
  } catch (error) {
    if (!isNgrokdError(error) || isPassing(error)) throw error;
    return { kind: "unknown", reason: reasonOf(error) };
  }
}

/** Of a daemon that starts again, or is very busy. */
export const isPassing = (error: unknown): boolean =>
  isNgrokdError(error) && ["not-running", "timeout", "aborted"].includes(error.code);

/** Pure: `host:port`, as in connections; the URL if there is no host. */
export function nameOf(item: ListItem): string {
  const { hostname, port } = item;
  return readable(hostname === "" || port === 0 ? urlOf(item) : `${hostname}:${port}`);
}

/** Pure: what tells a row from all others: an endpoint that moves has two. */
export const rowKey = (item: ListItem): string =>
  [item.profile ?? "", item.url, item.hostname, item.ip, item.port, item.state].join(" ");

/** Pure: bytes of each second of the last minute, both ways. */
export function bytesBySecond(traffic: Traffic, item: ListItem): readonly number[] {
  const columns = traffic.endpoints[`${item.hostname}:${item.port}`];
  return columns === undefined ? [] : columns.up.map((up, i) => up + (columns.down[i] ?? 0));
}
