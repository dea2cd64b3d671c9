import type { WatchedEndpoint } from "../terminal/watch-text.ts";
import { fitted } from "../terminal/width.ts";
import { endpointLines } from "./endpoint-page.ts";
import { headLines } from "./head.ts";
import { type Look, rowKey } from "./look.ts";
import type { Style } from "./style.ts";
import { headingLine, layoutOf, rowLine } from "./table.ts";
import { cursorIn, type Ground, topFor, type View } from "./view.ts";

export interface Scene {
  readonly view: View;
  readonly look: Look;
  /** The items of the look, chosen and sorted. */
  readonly rows: readonly WatchedEndpoint[];
}

/** What is drawn, and what the next key moves in. */
export interface Frame {
  readonly lines: readonly string[];
  readonly ground: Ground;
}

/**
 * Pure: the screen, a text for each of its rows. Only rows of the table that
 * are visible are formatted.
 */
export function frameOf(
  scene: Scene,
  size: { readonly columns: number; readonly rows: number },
  style: Style,
): Frame {
  const { view, look } = scene;
  const columns = Math.max(60, size.columns);
  const head = [...headLines(look, view.isPaused, columns, style), ""];
  const height = Math.max(1, size.rows - head.length - 1);
  const { lines, ground } = bodyOf(scene, { columns, height }, style);
  const empty = Array.from({ length: Math.max(0, height - lines.length) }, () => "");
  const all = [...head, ...lines, ...empty];
  return { lines: [...all.slice(0, size.rows - 1), footLine(scene, columns, style)], ground };
}

function bodyOf(
  scene: Scene,
  { columns, height }: { readonly columns: number; readonly height: number },
  style: Style,
): Frame {
  const { view, look, rows } = scene;
  const { page } = view;
  if (page.kind === "help") return { lines: helpLines(style), ground: { rows, height, lines: 0 } };
  if (page.kind === "table") return tableOf(scene, { columns, height }, style);
  const item = look.items.find((one) => rowKey(one) === page.row) ?? stillThere(look, page.name);
  const lines =
    item === undefined
      ? [style.paint.careful(fitted(`${page.name} is gone`, columns))]
      : endpointLines(item, look, columns, style);
  const top = Math.max(0, Math.min(page.top, lines.length - height));
  return { lines: lines.slice(top, top + height), ground: { rows, height, lines: lines.length } };
}

/** The endpoint of the page, found again after its state or address changed. */
const stillThere = (look: Look, name: string): WatchedEndpoint | undefined =>
  look.items.find((item) => `${item.hostname}:${item.port}` === name);

function tableOf(
  { view, look, rows }: Scene,
  { columns, height: room }: { readonly columns: number; readonly height: number },
  style: Style,
): Frame {
  const height = Math.max(1, room - 1);
  const ground = { rows, height, lines: 0 };
  const cursor = cursorIn(view.place, ground);
  const top = topFor(view.place.top, cursor, height, rows.length);
  const visible = rows.slice(top, top + height);
  const layout = layoutOf(visible, columns);
  const lines = visible.map((item, i) => rowLine(item, look, top + i === cursor, layout, style));
  const none = view.order.search === "" ? "No endpoints." : "No endpoint has this text.";
  return {
    lines: [
      headingLine(view.order, layout, style),
      ...(lines.length > 0 ? lines : [style.paint.dim(`  ${none}`)]),
    ],
    ground,
  };
}

function footLine({ view, look, rows }: Scene, columns: number, { paint }: Style): string {
  const { page, order, typing, isPaused } = view;
  const { sort, search } = order;
  if (typing) return fitted(`/${search}_   Enter: keep it   Esc: all endpoints`, columns);
  const pause = `p ${isPaused ? "go on" : "pause"}`;
  const keys = {
    help: ["Esc back", "q quit"],
    endpoint: ["Esc back", "up/down scroll", pause, "? help", "q quit"],
    table: ["Enter details", "/ search", `s sort: ${sort}`, "r reverse", pause, "? help", "q quit"],
  }[page.kind];
  const found =
    search === "" || page.kind !== "table"
      ? ""
      : `${rows.length} of ${look.items.length} have "${search}"  `;
  return paint.dim(fitted(found + keys.join("  "), columns));
}

function helpLines({ paint }: Style): string[] {
  const keys: [string, string][] = [
    ["up, down, k, j", "move by a line"],
    ["PgUp, PgDn", "move by a page; also Ctrl-B and Ctrl-F"],
    ["Home, End, g, G", "the first or the last endpoint; the first row stays first"],
    ["Enter", "the endpoint's addresses, connections, exchanges and events"],
    ["Esc", "back; in the table: all endpoints again"],
    ["/", "only endpoints with a text in name, address, state or reason"],
    ["s, S", "sort by the next or the previous column"],
    ["r", "reverse the order"],
    ["p, Space", "keep this picture, and go on again"],
    ["Ctrl-L", "draw everything again"],
    ["Ctrl-Z", "back to the shell; `fg` goes on"],
    ["q, Ctrl-C", "quit"],
  ];
  return [
    paint.bold("KEYS"),
    ...keys.map(([key, text]) => `  ${paint.name(key.padEnd(17))}${text}`),
  ];
}
