import { endpointStates } from "../model/state.ts";
import type { WatchedEndpoint } from "../terminal/watch-text.ts";
import { nameOf } from "./look.ts";

export const sorts = [
  "traffic",
  "name",
  "state",
  "open",
  "up",
  "down",
  "p50",
  "p99",
  "errors",
] as const;
export type Sort = (typeof sorts)[number];

/** What decides which endpoints are shown, and in which order. */
export interface Order {
  readonly sort: Sort;
  readonly isReversed: boolean;
  /** Only those that contain this text. */
  readonly search: string;
}

/** Pure: the rows; equal ones stay in the daemon's order. */
export function rowsOf(
  items: readonly WatchedEndpoint[],
  { sort, isReversed, search }: Order,
): readonly WatchedEndpoint[] {
  const wanted = search.toLowerCase();
  const found = wanted === "" ? items : items.filter((item) => textOf(item).includes(wanted));
  const sign = isReversed ? -1 : 1;
  if (sort === "name") {
    const named = found.map((item) => ({ item, value: nameOf(item) }));
    named.sort((a, b) => sign * (a.value < b.value ? -1 : a.value > b.value ? 1 : 0));
    return named.map(({ item }) => item);
  }
  const valued = found.map((item) => ({ item, value: amountOf[sort](item) }));
  valued.sort((a, b) => sign * (b.value - a.value));
  return valued.map(({ item }) => item);
}

/** The highest values come first. */
const amountOf: Readonly<Record<Exclude<Sort, "name">, (item: WatchedEndpoint) => number>> = {
  // Idle connections count less than any byte, and open ones more than none.
  traffic: ({ per_second, connections }) =>
    (per_second?.bytes_up ?? 0) +
    (per_second?.bytes_down ?? 0) +
    (per_second?.connections ?? 0) +
    connections.active / 1e6,
  state: ({ state }) => urgencies.indexOf(state),
  open: ({ connections }) => connections.active,
  up: ({ per_second }) => per_second?.bytes_up ?? 0,
  down: ({ per_second }) => per_second?.bytes_down ?? 0,
  p50: ({ latency_ms }) => latency_ms.first_byte?.p50 ?? -1,
  p99: ({ latency_ms }) => latency_ms.first_byte?.p99 ?? -1,
  errors: errorsOf,
};

/** Those in trouble are the last of this list. */
const urgencies: readonly string[] = [
  "wildcard",
  "listening",
  "draining",
  "paused",
  ...endpointStates.filter((state) => ["unsupported", "refused"].includes(state)),
  "failed",
];

export function errorsOf({ connections }: WatchedEndpoint): number {
  return connections.errors + connections.refused;
}

const textOf = (item: WatchedEndpoint): string =>
  [nameOf(item), item.url, item.ip, item.state, item.reason, ...(item.aliases ?? [])]
    .join(" ")
    .toLowerCase();
