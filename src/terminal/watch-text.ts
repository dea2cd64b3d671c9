import type { ListItem, Status } from "../desk/reply-schemas.ts";
import { urlOf } from "../model/endpoint.ts";
import { type Moment, msBetween } from "../model/moment.ts";
import { readable } from "../model/parsed.ts";
import { isServed } from "../model/state.ts";
import { tintOf } from "./list-text.ts";
import { bytesText, type Paint, type Size } from "./say.ts";
import { fitted, padded, widthOf } from "./width.ts";

/**
 * An endpoint and the growth of its counters per second. The rates are unknown
 * at first and after the counters were reset.
 */
export type WatchedEndpoint = ListItem & { readonly per_second: Rates | null };

export interface Rates {
  readonly connections: number;
  /** Connections that failed or were refused. */
  readonly failures: number;
  readonly bytes_up: number;
  readonly bytes_down: number;
}

/**
 * Pure: the items of the list of time `at`, with their rates since the list
 * `before`.
 */
export function withRates(
  items: readonly ListItem[],
  at: Moment,
  before?: { at: Moment; items: readonly ListItem[] },
): WatchedEndpoint[] {
  const seconds = before === undefined ? 0 : msBetween(before.at, at) / 1000;
  const earlier = new Map(before?.items.map((item) => [placeOf(item), item]));
  return items.map((item) => {
    const was = earlier.get(placeOf(item));
    if (was === undefined || seconds <= 0 || was.connections.total > item.connections.total)
      return { ...item, per_second: null };
    const rate = (count: (item: ListItem) => number): number =>
      Math.max(0, count(item) - count(was)) / seconds;
    const per_second: Rates = {
      connections: rate(({ connections }) => connections.total),
      failures: rate(({ connections }) => connections.errors + connections.refused),
      bytes_up: rate(({ bytes }) => bytes.up),
      bytes_down: rate(({ bytes }) => bytes.down),
    };
    return { ...item, per_second };
  });
}

/** An endpoint that moves is listed twice, at its old and its new address. */
const placeOf = ({ url, ip, port, state }: ListItem): string =>
  [url, ip, port, state === "draining"].join(" ");

export interface Picture {
  readonly at: Moment;
  readonly status: Status;
  readonly items: readonly WatchedEndpoint[];
  /** Why the items are not the latest. */
  readonly trouble?: string;
}

/**
 * Pure: one picture of `ngrokd list --watch`. No line is longer than `columns`,
 * and there are at most `rows` lines. If there is not enough room, busy and
 * failing endpoints are shown first.
 */
export function watchText(picture: Picture, paint: Paint, { columns, rows }: Size): string {
  const { status, items } = picture;
  const layout = layoutOf(items, columns);
  const head = [
    headLine(picture, paint, columns),
    ...(status.insecure_skip_verify
      ? [paint.bad("The ingress's certificate is NOT verified.")]
      : []),
    "",
    paint.bold(row(["URL", "ADDRESS"], ["OPEN", "NEW/S", "UP/S", "DOWN/S"], layout)),
    totalLine(items, layout),
  ];
  const entries = items.map((item) => entryLines(item, layout, paint));
  const shown = choose(items, entries, rows - head.length);
  const hidden = items.length - shown.length;
  const rest = hidden === 0 ? [] : [paint.dim(`... and ${hidden} more, with less traffic`)];
  return [...head, ...shown.flatMap((i) => entries[i] ?? []), ...rest].join("\n");
}

function headLine({ at, status, trouble }: Picture, paint: Paint, columns: number): string {
  const time = at.wall.toTimeString().slice(0, 8);
  const { phase, reason, endpoints } = status;
  const counts = Object.entries(endpoints).flatMap(([state, n]) =>
    n > 0 ? [`${n} ${state}`] : [],
  );
  const summary = `${phase}: ${reason === "" ? counts.join(", ") || "no endpoints" : reason}`;
  const width = columns - time.length - 2;
  const tint =
    trouble !== undefined || phase === "degraded"
      ? paint.bad
      : phase === "serving"
        ? paint.good
        : paint.careful;
  return `${tint(cell(trouble ?? summary, width))}  ${paint.dim(time)}`;
}

interface Layout {
  readonly columns: number;
  readonly url: number;
  readonly address: number;
}

const nameOf = (item: ListItem): string => readable(urlOf(item));

const [narrow, wide] = [6, 8];
const numbersWidth = 2 * (2 + narrow) + 2 * (2 + wide);

function layoutOf(items: readonly WatchedEndpoint[], columns: number): Layout {
  const longest = (texts: readonly string[]): number =>
    texts.reduce((length, text) => Math.max(length, widthOf(text)), "ADDRESS".length);
  const address = longest(items.filter(carries).map(addressOf));
  const room = columns - 2 - address - numbersWidth;
  return { columns, address, url: Math.min(room, longest(items.map(nameOf))) };
}

function row(
  [name, address]: readonly [string, string],
  [open, fresh, up, down]: Numbers,
  { url, address: width }: Layout,
): string {
  const numbers = [
    open.padStart(narrow),
    fresh.padStart(narrow),
    up.padStart(wide),
    down.padStart(wide),
  ];
  return [cell(name, url), padded(address, width), ...numbers].join("  ");
}
type Numbers = readonly [open: string, fresh: string, up: string, down: string];

/** An endpoint that is listed twice has one meter, and is counted once. */
function totalLine(items: readonly WatchedEndpoint[], layout: Layout): string {
  const carrying = items.filter(carries);
  const once = [
    ...new Map(carrying.map((item) => [`${item.hostname}:${item.port}`, item])).values(),
  ];
  const known = once.flatMap(({ per_second }) => per_second ?? []);
  const sum = (pick: (rates: Rates) => number): number | undefined =>
    known.length === 0 ? undefined : known.reduce((total, rates) => total + pick(rates), 0);
  const open = once.reduce((total, { connections }) => total + connections.active, 0);
  const numbers = [
    sum((rates) => rates.connections),
    sum((rates) => rates.bytes_up),
    sum((rates) => rates.bytes_down),
  ] as const;
  return row(
    ["all", ""],
    [String(open), rateText(numbers[0]), amountText(numbers[1]), amountText(numbers[2])],
    layout,
  );
}

/** One line, and a second one if connections fail at the moment. */
function entryLines(item: WatchedEndpoint, layout: Layout, paint: Paint): string[] {
  const { state, reason, connections, per_second } = item;
  if (!carries(item)) {
    const name = cell(nameOf(item), layout.url);
    const why = reason === "" ? state : `${state}: ${reason}`;
    return [`${name}  ${tintOf(item, paint)(fitted(why, layout.columns - layout.url - 2))}`];
  }
  const numbers: Numbers = [
    String(connections.active),
    rateText(per_second?.connections),
    amountText(per_second?.bytes_up),
    amountText(per_second?.bytes_down),
  ];
  const line = row([nameOf(item), addressOf(item)], numbers, layout);
  const failures = per_second?.failures ?? 0;
  if (failures === 0)
    return [state === "draining" ? paint.careful(line) : isQuiet(item) ? paint.dim(line) : line];
  const why =
    connections.last_error === "" ? "connections were broken off" : connections.last_error;
  return [line, paint.bad(fitted(`    ${rateText(failures)}/s failed: ${why}`, layout.columns))];
}

/** The indexes of the items that fit into the room, in their order. */
function choose(
  items: readonly WatchedEndpoint[],
  entries: readonly (readonly string[])[],
  room: number,
): number[] {
  const all = [...items.keys()];
  if (entries.reduce((lines, entry) => lines + entry.length, 0) <= room) return all;
  let left = room - 1;
  const urgency = items.map(urgencyOf);
  const byUrgency = all.sort((a, b) => compare(urgency[b], urgency[a]) || a - b);
  const chosen = byUrgency.filter((i) => {
    left -= entries[i]?.length ?? 0;
    return left >= 0;
  });
  return chosen.sort((a, b) => a - b);
}

const urgencyOf = ({ per_second, connections, state }: WatchedEndpoint): number[] => [
  per_second?.failures ?? 0,
  (per_second?.bytes_up ?? 0) + (per_second?.bytes_down ?? 0),
  per_second?.connections ?? 0,
  connections.active,
  Number(!isServed(state)),
];

function compare(a: readonly number[] = [], b: readonly number[] = []): number {
  return a.map((value, i) => value - (b[i] ?? 0)).find((difference) => difference !== 0) ?? 0;
}

const carries = ({ state }: ListItem): boolean => state === "listening" || state === "draining";
const addressOf = ({ ip, port, state }: ListItem): string =>
  state === "draining" ? "draining" : `${ip}:${port}`;
const isQuiet = ({ connections, per_second }: WatchedEndpoint): boolean =>
  connections.active === 0 &&
  (per_second === null ||
    per_second.connections + per_second.bytes_up + per_second.bytes_down === 0);

function rateText(rate: number | undefined): string {
  if (rate === undefined) return "-";
  if (rate === 0) return "0";
  return rate < 10
    ? rate.toFixed(1)
    : rate < 99_999
      ? String(Math.round(rate))
      : `${Math.round(rate / 1000)}k`;
}

/** Exactly `width` columns. */
const cell = (text: string, width: number): string => padded(fitted(text, width), width);

const amountText = (bytes: number | undefined): string =>
  bytes === undefined ? "-" : bytesText(bytes);
