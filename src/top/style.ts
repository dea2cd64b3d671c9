import type { Paint } from "../terminal/say.ts";
import { fitted, padded } from "../terminal/width.ts";

/** How a terminal may be written to. */
export interface Style {
  readonly paint: Paint;
  readonly glyphs: Glyphs;
}

export interface Glyphs {
  /** From nothing to the highest bar. */
  readonly bars: readonly string[];
  readonly ascending: string;
  readonly descending: string;
}

const unicode: Glyphs = {
  bars: [" ", ..."▁▂▃▄▅▆▇█"],
  ascending: "▲",
  descending: "▼",
};
const ascii: Glyphs = {
  bars: [..." .:-=+*#@"],
  ascending: "^",
  descending: "v",
};

/** Pure: the characters for bars and arrows that the locale can show. */
export function glyphsFor(env: Readonly<Record<string, string | undefined>>): Glyphs {
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || "";
  return /utf-?8/i.test(locale) ? unicode : ascii;
}

/** Pure: a bar for each of the last `width` values, the highest is full. */
export function sparkline(values: readonly number[], width: number, { bars }: Glyphs): string {
  const last = values.slice(-width);
  const highest = Math.max(1, ...last);
  const steps = bars.length - 1;
  const text = last.map((value) => bars[value <= 0 ? 0 : Math.ceil((value / highest) * steps)]);
  return text.join("").padStart(width);
}

/** Pure: `0`, `512B`, `1.2K`, `34M`: at most 4 characters up to the PiB. */
export function shortBytes(bytes: number): string {
  if (bytes < 0.5) return "0";
  const units = ["B", "K", "M", "G", "T", "P"];
  let size = bytes;
  let unit = 0;
  for (; size >= 999.5 && unit < units.length - 1; unit += 1) size /= 1024;
  return `${size.toFixed(unit === 0 || size >= 9.95 ? 0 : 1)}${units[unit]}`;
}

/** Pure: `0.4ms`, `12ms`, `1.2s`: at most 5 characters up to 1000 s. */
export function shortMs(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "-";
  if (ms < 9.95) return `${ms.toFixed(1)}ms`;
  if (ms < 999.5) return `${Math.round(ms)}ms`;
  return `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)}s`;
}

/** Pure: `0`, `3.2`, `120`, `12k`. */
export function shortCount(count: number): string {
  if (count === 0) return "0";
  if (count < 9.95 && !Number.isInteger(count)) return count.toFixed(1);
  return count < 9_999.5 ? String(Math.round(count)) : `${Math.round(count / 1000)}k`;
}

/** Pure: exactly `width` columns. */
export const cell = (text: string, width: number): string => padded(fitted(text, width), width);

/** Pure: the same, with the text at the right. */
export function rightCell(text: string, width: number): string {
  const short = fitted(text, width);
  return " ".repeat(width - padded(short, 0).length) + short;
}
