/**
 * top/ is the live view of `ngrokd top`. A look (what the daemon says), a view
 * (what the user has chosen) and a frame (the lines of the screen) are values,
 * made by pure functions. This file asks, draws, and passes keys on.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { reasonOf } from "../model/error.ts";
import type { FullScreen, FullScreenOptions } from "../terminal/full-screen.ts";
import type { Key } from "../terminal/keys.ts";
import { type Frame, frameOf } from "./frame.ts";
import { isPassing, type Look, lookAt, type Source } from "./look.ts";
import { type Order, rowsOf } from "./rows.ts";
import type { Style } from "./style.ts";
import { firstView, pressed, type Step, type View } from "./view.ts";

export interface TopOptions {
  readonly source: Source;
  readonly style: Style;
  /** Ends it; its promise is `stopped`. */
  readonly stop: AbortSignal;
  readonly stopped: Promise<void>;
  readonly order?: Partial<Pick<Order, "sort" | "search">>;
  readonly everyMs?: number;
}

/**
 * After a slow look the next one waits longer, so that a list of thousands
 * keeps neither side busy.
 */
const shareOfTime = 4;

/**
 * Shows the daemon on the whole terminal until `stop` aborts or a key quits. If
 * the daemon ends, it waits for the next one. Rejects if the first look fails.
 */
export async function showTop(
  open: (options: FullScreenOptions) => FullScreen,
  { source, style, stop, stopped, order = {}, everyMs = 1000 }: TopOptions,
): Promise<void> {
  let view = firstView(order.sort, order.search);
  const first = await Promise.race([lookAt(source, undefined, undefined), stopped]);
  if (first === undefined) return;
  let look: Look = first;
  const rows = rememberedRows();
  const quit = new AbortController();
  const done = new Promise<void>((resolve) => {
    quit.signal.addEventListener("abort", () => resolve());
    void stopped.then(resolve);
  });
  let wake = (): void => undefined;
  let frame: Frame | undefined;
  const draw = (): void => {
    frame = frameOf({ view, look, rows: rows(look, view.order) }, screen.size(), style);
    screen.draw(frame.lines);
  };
  const onKey = (key: Key): void => {
    if (frame === undefined) return;
    const step = pressed(view, key, frame.ground);
    if (step.kind === "quit") quit.abort();
    else if (step.kind === "suspend") screen.suspend();
    else show(step);
  };
  const show = (step: Extract<Step, { kind: "view" | "redraw" }>): void => {
    if (step.kind === "redraw") screen.forget();
    const isNew = step.kind === "view" && closeTo(step.view) !== closeTo(view);
    if (step.kind === "view") view = step.view;
    if (isNew) wake();
    draw();
  };
  const screen = open({ onKey, onChange: () => draw() });
  try {
    draw();
    while (!stop.aborted && !quit.signal.aborted) {
      const started = performance.now();
      const seen = await Promise.race([nextLook(source, view, look), done]);
      if (seen === undefined) return;
      // A pause that began meanwhile keeps the present picture.
      if (!isKept(view, look)) look = seen;
      draw();
      const took = performance.now() - started;
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await Promise.race([sleep(Math.max(everyMs, shareOfTime * took)), woken, done]);
    }
  } finally {
    screen.end();
  }
}

/** The endpoint whose page is open, if one is. */
function closeTo({ page }: View): string | undefined {
  const open = page.kind === "help" ? page.from : page;
  return open.kind === "endpoint" ? open.name : undefined;
}

/** Whether this look stays, since the view is paused and needs no other. */
function isKept(view: View, look: Look): boolean {
  return view.isPaused && look.closer?.name === closeTo(view);
}

/** While it is paused, and if the daemon has gone, the last look stays. */
async function nextLook(source: Source, view: View, last: Look): Promise<Look> {
  if (isKept(view, last)) return last;
  try {
    return await lookAt(source, closeTo(view), last);
  } catch (error) {
    if (!isPassing(error)) throw error;
    return { ...last, trouble: reasonOf(error) };
  }
}

/** The rows are sorted once for each look and each order. */
function rememberedRows() {
  let last: { items: Look["items"]; order: Order; rows: Look["items"] } | undefined;
  return ({ items }: Look, order: Order): Look["items"] => {
    if (last?.items !== items || last.order !== order)
      last = { items, order, rows: rowsOf(items, order) };
    return last.rows;
  };
}

/**
 * The same without a terminal that can be drawn on: calls `show` for each look.
 */
export async function followTop(
  { source, stop, stopped, everyMs = 1000 }: Omit<TopOptions, "style">,
  show: (look: Look) => void,
  lost: (reason: string) => void,
): Promise<void> {
  let last: Look | undefined;
  let isLost = false;
  while (!stop.aborted) {
    try {
      const look = await Promise.race([lookAt(source, undefined, last), stopped]);
      if (look === undefined) return;
      isLost = false;
      last = look;
      show(look);
    } catch (error) {
      if (last === undefined || !isPassing(error)) throw error;
      if (!isLost) lost(reasonOf(error));
      isLost = true;
    }
    await Promise.race([sleep(everyMs), stopped]);
  }
}
