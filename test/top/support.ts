import type { Traffic } from "../../src/desk/history-schemas.ts";
import type { ListItem } from "../../src/desk/reply-schemas.ts";
import type { WatchedEndpoint } from "../../src/terminal/watch-text.ts";
import { frameOf, type Scene } from "../../src/top/frame.ts";
import type { Look, Source } from "../../src/top/look.ts";
import { rowsOf } from "../../src/top/rows.ts";
import { glyphsFor, type Style } from "../../src/top/style.ts";
import { firstView, pressed, type View } from "../../src/top/view.ts";
import { item, plain, status } from "../cli/support.ts";

export const style: Style = { paint: plain, glyphs: glyphsFor({ LANG: "C.UTF-8" }) };

export const endpoint = (
  name: string,
  more: Partial<ListItem> = {},
  rates: Partial<NonNullable<WatchedEndpoint["per_second"]>> = {},
): WatchedEndpoint => ({
  ...item(name, more),
  per_second: { connections: 0, failures: 0, bytes_up: 0, bytes_down: 0, ...rates },
});

export const open = (active: number, more: Partial<ListItem["connections"]> = {}) => ({
  connections: {
    active,
    total: active,
    errors: 0,
    refused: 0,
    last_error: "",
    last_notice: "",
    ...more,
  },
});

const none = { p50: [], p90: [], p99: [] };
const columns = (up: number[], down: number[]) => ({
  up,
  down,
  opened: [],
  ended: [],
  failed: [],
  active: [],
});

export function traffic(each: Readonly<Record<string, number[]>> = {}): Traffic {
  const endpoints = Object.fromEntries(
    Object.entries(each).map(([name, down]) => [
      name,
      columns(
        down.map(() => 0),
        down,
      ),
    ]),
  );
  return {
    to: "2026-01-02T03:04:05.000Z",
    step: 1,
    slots: 60,
    complete_from: 0,
    total: columns([0, 1024, 512], [0, 4096, 2048]),
    latency_ms: { upgrade: none, first_byte: none },
    endpoints,
  };
}

export const look = (items: readonly WatchedEndpoint[], more: Partial<Look> = {}): Look => ({
  at: { wall: new Date(2026, 0, 2, 3, 4, 5), steady: 0 },
  status: status(),
  items,
  traffic: traffic(),
  closer: undefined,
  trouble: "",
  since: undefined,
  ...more,
});

export const sceneOf = (seen: Look, view: View = firstView()): Scene => ({
  view,
  look: seen,
  rows: rowsOf(seen.items, view.order),
});

/** The view after the keys, on a screen of this size. */
export function after(
  seen: Look,
  keys: readonly string[],
  size = { columns: 80, rows: 24 },
  start: View = firstView(),
): View {
  let view = start;
  for (const key of keys) {
    const step = pressed(view, key, frameOf(sceneOf(seen, view), size, style).ground);
    if (step.kind === "view") view = step.view;
  }
  return view;
}

export const drawn = (
  seen: Look,
  view: View = firstView(),
  size = { columns: 80, rows: 24 },
): readonly string[] => frameOf(sceneOf(seen, view), size, style).lines;

/** A daemon with one endpoint and no connections. */
export const source = (more: Partial<Source> = {}): Source => ({
  status: async () => status(),
  list: async () => [item("a")],
  traffic: async () => traffic(),
  connections: async () => ({ open: 0, ended: 0, connections: [] }),
  events: async () => ({ events: [], next: "" }),
  exchanges: async () => ({ inspected: [], exchanges: [], next: 0, more: false }),
  ...more,
});
