import { expect, test } from "bun:test";
import type { ListItem } from "../../src/desk/reply-schemas.ts";
import type { FullScreen, FullScreenOptions } from "../../src/terminal/full-screen.ts";
import { showTop } from "../../src/top/top.ts";
import { item } from "../cli/support.ts";
import { source, style } from "./support.ts";

test("a pause that begins during a look keeps the picture of its moment", async () => {
  const pictures: string[] = [];
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<ListItem[]>();
  let keys: FullScreenOptions | undefined;
  const open = (options: FullScreenOptions): FullScreen => {
    keys = options;
    return {
      hasKeys: true,
      size: () => ({ columns: 80, rows: 24 }),
      draw: (lines) => void pictures.push(lines.join("\n")),
      forget: () => undefined,
      suspend: () => undefined,
      end: () => undefined,
    };
  };
  let lists = 0;
  const list = (): Promise<ListItem[]> => {
    lists += 1;
    if (lists === 1) return Promise.resolve([item("before.demo")]);
    asked.resolve();
    return answer.promise;
  };
  const stop = new AbortController();
  const stopped = new Promise<void>((resolve) => {
    stop.signal.addEventListener("abort", () => resolve());
  });
  const shown = showTop(open, {
    source: source({ list }),
    style,
    stop: stop.signal,
    stopped,
    everyMs: 1,
  });
  await asked.promise;
  keys?.onKey("p");
  const paused = pictures.at(-1);
  const drawn = pictures.length;
  answer.resolve([item("later.demo")]);
  while (pictures.length === drawn) await Bun.sleep(1);
  stop.abort();
  await shown;
  expect(paused).toContain("before.demo");
  expect(pictures.at(-1)).toBe(paused ?? "");
});
