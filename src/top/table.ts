import { readable } from "../model/parsed.ts";
import { isServed } from "../model/state.ts";
import { tintOf } from "../terminal/list-text.ts";
import type { WatchedEndpoint } from "../terminal/watch-text.ts";
import { fitted, widthOf } from "../terminal/width.ts";
import { bytesBySecond, type Look, nameOf } from "./look.ts";
import { errorsOf, type Order, type Sort } from "./rows.ts";
import {
  cell,
  rightCell,
  type Style,
  shortBytes,
  shortCount,
  shortMs,
  sparkline,
} from "./style.ts";

interface Column {
  readonly sort: Sort;
  readonly title: string;
  readonly width: number;
  readonly text: (item: WatchedEndpoint) => string;
}

const rate = (bytes: number | undefined): string => (bytes === undefined ? "-" : shortBytes(bytes));

/** The numbers, at the right of their columns. */
const numbers: readonly Column[] = [
  { sort: "open", title: "OPEN", width: 5, text: (item) => shortCount(item.connections.active) },
  { sort: "up", title: "UP/S", width: 5, text: (item) => rate(item.per_second?.bytes_up) },
  { sort: "down", title: "DOWN/S", width: 6, text: (item) => rate(item.per_second?.bytes_down) },
  { sort: "p50", title: "P50", width: 5, text: (item) => shortMs(item.latency_ms.first_byte?.p50) },
  { sort: "p99", title: "P99", width: 5, text: (item) => shortMs(item.latency_ms.first_byte?.p99) },
  { sort: "errors", title: "ERR", width: 4, text: (item) => shortCount(errorsOf(item)) },
];
/** The widths of a terminal's columns. */
export interface Layout {
  readonly columns: number;
  readonly name: number;
  readonly state: number;
  readonly numbers: readonly Column[];
  /** 0 if there is no room for a bar. */
  readonly bars: number;
}

/** Pure: `rows` are those that are visible. */
export function layoutOf(rows: readonly WatchedEndpoint[], columns: number): Layout {
  const isNarrow = columns < 80;
  const shown = isNarrow ? numbers.filter(({ sort }) => sort !== "p50") : numbers;
  const state = columns < 100 ? 9 : 11;
  const fewest = isNarrow ? 0 : columns < 100 ? 10 : 20;
  const taken = shown.reduce((sum, { width }) => sum + width + 1, state + 1);
  const room = columns - marker.length - taken - (isNarrow ? 0 : 1);
  const longest = rows.reduce((width, item) => Math.max(width, widthOf(nameOf(item))), 20);
  const name = Math.min(room - fewest, longest);
  const bars = isNarrow ? 0 : Math.min(60, room - name);
  return { columns, name, state, numbers: shown, bars };
}
const marker = "  ";

/** Pure: the headings. The sorted one has a mark. */
export function headingLine(order: Order, layout: Layout, { paint, glyphs }: Style): string {
  const { sort, isReversed } = order;
  const isUp = (sort === "name") !== isReversed;
  const mark = isUp ? glyphs.ascending : glyphs.descending;
  const title = (text: string, of: Sort): string => (of === sort ? `${text}${mark}` : text);
  const names = [
    cell(title("ENDPOINT", "name"), layout.name),
    cell(title("STATE", "state"), layout.state),
  ];
  const heads = layout.numbers.map((column) => {
    // The widest heading has no room for the mark.
    const text = title(column.title, column.sort);
    return rightCell(
      text.length > column.width ? `${mark}${column.title.slice(1)}` : text,
      column.width,
    );
  });
  const bars = layout.bars === 0 ? [] : [rightCell(title("TRAFFIC", "traffic"), layout.bars)];
  return paint.bold(marker + [...names, ...heads, ...bars].join(" "));
}

/** Pure: one row. */
export function rowLine(
  item: WatchedEndpoint,
  { traffic }: Pick<Look, "traffic">,
  isChosen: boolean,
  layout: Layout,
  { paint, glyphs }: Style,
): string {
  const first = isChosen ? "> " : marker;
  const name = cell(nameOf(item), layout.name);
  const state = cell(stateText(item.state, layout.state), layout.state);
  const tint = tintOf(item, paint);
  const start = `${first}${isChosen ? paint.bold(name) : name} ${tint(state)}`;
  if (!isServed(item.state) && item.state !== "draining") {
    const room = layout.columns - marker.length - layout.name - layout.state - 2;
    return `${start} ${tint(fitted(item.reason === "" ? "" : readable(item.reason), room))}`;
  }
  const isFailing = (item.per_second?.failures ?? 0) > 0;
  const cells = layout.numbers.map(({ sort, width, text }) => {
    const value = rightCell(text(item), width);
    return sort === "errors" && isFailing ? paint.bad(value) : value;
  });
  if (layout.bars === 0) return `${start} ${cells.join(" ")}`;
  const bars = sparkline(bytesBySecond(traffic, item), layout.bars, glyphs);
  return `${start} ${cells.join(" ")} ${paint.name(bars)}`;
}

const stateText = (state: string, width: number): string =>
  state.length <= width ? state : `${state.slice(0, width - 1)}.`;
