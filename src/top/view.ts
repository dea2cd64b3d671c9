import type { Key } from "../terminal/keys.ts";
import type { WatchedEndpoint } from "../terminal/watch-text.ts";
import { nameOf, rowKey } from "./look.ts";
import { type Order, type Sort, sorts } from "./rows.ts";

/** What the user has chosen to see. */
export interface View {
  readonly page: Page;
  readonly order: Order;
  /** The text of a search that is being typed. */
  readonly typing: boolean;
  /** No new looks, until it is pressed again. */
  readonly isPaused: boolean;
  readonly place: Place;
}

export type Page =
  | { readonly kind: "table" }
  /** `row` is the key of the endpoint's row. */
  | { readonly kind: "endpoint"; readonly row: string; readonly name: string; readonly top: number }
  | { readonly kind: "help"; readonly from: Page };

/**
 * Where the table is. The cursor follows its row, and without a `row` it is on
 * the first one.
 */
export interface Place {
  readonly row: string | undefined;
  readonly top: number;
}

/** What the keys move in. */
export interface Ground {
  readonly rows: readonly WatchedEndpoint[];
  /** The lines of the table, or of an endpoint's page. */
  readonly height: number;
  /** All lines of the endpoint's page. */
  readonly lines: number;
}

export type Step =
  | { readonly kind: "view"; readonly view: View }
  | { readonly kind: "quit" }
  | { readonly kind: "redraw" }
  | { readonly kind: "suspend" };

export const firstView = (sort: Sort = "traffic", search = ""): View => ({
  page: { kind: "table" },
  order: { sort, isReversed: false, search },
  typing: false,
  isPaused: false,
  place: { row: undefined, top: 0 },
});

/** Pure: the first of `height` lines, so that line `index` is among them. */
export function topFor(top: number, index: number, height: number, count: number): number {
  const lowest = Math.max(0, Math.min(index, count - 1));
  const visible = Math.min(Math.max(top, lowest - height + 1), lowest);
  return Math.max(0, Math.min(visible, count - height));
}

/** Pure: the index of the cursor; 0 if its row is gone. */
export const cursorIn = ({ row }: Place, { rows }: Pick<Ground, "rows">): number =>
  row === undefined
    ? 0
    : Math.max(
        0,
        rows.findIndex((item) => rowKey(item) === row),
      );

/** Pure: what a key does. */
export function pressed(view: View, key: Key, ground: Ground): Step {
  if (key === "ctrl-c") return { kind: "quit" };
  if (key === "ctrl-z") return { kind: "suspend" };
  if (key === "ctrl-l") return { kind: "redraw" };
  if (view.typing) return shown(typed(view, key));
  if (key === "q") return { kind: "quit" };
  if (key === "p" || key === " ") return shown({ ...view, isPaused: !view.isPaused });
  const { page } = view;
  if (key === "?" || key === "f1")
    return shown({
      ...view,
      page: page.kind === "help" ? page.from : { kind: "help", from: page },
    });
  switch (page.kind) {
    case "help":
      return shown(isBack(key) || key === "enter" ? { ...view, page: page.from } : view);
    case "endpoint":
      return shown({ ...view, page: onEndpoint(page, key, ground) });
    case "table":
      return shown(onTable(view, key, ground));
  }
}

const shown = (view: View): Step => ({ kind: "view", view });
const isBack = (key: Key): boolean => ["escape", "backspace", "left"].includes(key);

function typed(view: View, key: Key): View {
  const { search } = view.order;
  const found = (text: string, typing: boolean): View => ({
    ...view,
    typing,
    order: { ...view.order, search: text },
    place: { row: undefined, top: 0 },
  });
  if (key === "enter") return { ...view, typing: false };
  if (key === "escape") return found("", false);
  if (key === "ctrl-u") return found("", true);
  if (key === "backspace") return found([...search].slice(0, -1).join(""), true);
  return [...key].length === 1 ? found(search + key, true) : view;
}

function onEndpoint(
  page: Extract<Page, { kind: "endpoint" }>,
  key: Key,
  { height, lines }: Ground,
): Page {
  if (isBack(key)) return { kind: "table" };
  const to = movedTo(page.top, key, height, lines - height + 1);
  return to === undefined ? page : { ...page, top: to };
}

function onTable(view: View, key: Key, ground: Ground): View {
  const { order, place } = view;
  const { rows, height } = ground;
  const index = cursorIn(place, ground);
  const first = { row: undefined, top: 0 };
  switch (key) {
    case "/":
      return { ...view, typing: true };
    case "escape":
      return { ...view, order: { ...order, search: "" }, place: first };
    case "s":
    case "S":
      return { ...view, order: { ...order, sort: nextSort(order.sort, key === "s" ? 1 : -1) } };
    case "r":
      return { ...view, order: { ...order, isReversed: !order.isReversed } };
    case "enter":
    case "right": {
      const chosen = rows[index];
      if (chosen === undefined) return view;
      const [row, name] = [rowKey(chosen), nameOf(chosen)];
      return { ...view, page: { kind: "endpoint", row, name, top: 0 } };
    }
  }
  const to = movedTo(index, key, height, rows.length);
  if (to === undefined) return view;
  // At the top the first row stays chosen, also if another row takes its place.
  if (to === 0) return { ...view, place: first };
  const chosen = rows[to];
  const row = chosen === undefined ? undefined : rowKey(chosen);
  return { ...view, place: { row, top: topFor(place.top, to, height, rows.length) } };
}

/** The line to which a key moves; undefined if it moves nothing. */
function movedTo(from: number, key: Key, height: number, count: number): number | undefined {
  const to = {
    up: from - 1,
    k: from - 1,
    down: from + 1,
    j: from + 1,
    pageup: from - height,
    pagedown: from + height,
    home: 0,
    g: 0,
    end: count - 1,
    G: count - 1,
  }[key];
  return to === undefined ? undefined : Math.max(0, Math.min(to, count - 1));
}

function nextSort(sort: Sort, by: 1 | -1): Sort {
  const at = (sorts.indexOf(sort) + by + sorts.length) % sorts.length;
  return sorts[at] ?? "traffic";
}
