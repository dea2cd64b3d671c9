/** Pure: numbers, sizes and times as a reader wants them. */

const plain = new Intl.NumberFormat("en");
export const count = (n: number): string => plain.format(n);

const units = ["B", "kB", "MB", "GB", "TB"];

export function bytes(n: number): string {
  let [value, unit] = [n, 0];
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit > 0 && value < 99.5 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export const rate = (perSecond: number): string => `${bytes(perSecond)}/s`;

export function milliseconds(ms: number): string {
  if (ms === 0) return "0 ms";
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  return duration(ms / 1000);
}

/** Two units at most: `3 d 4 h`. */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const steps = [
    [86_400, "d", 3600, "h"],
    [3600, "h", 60, "min"],
    [60, "min", 1, "s"],
  ] as const;
  const [big, bigName, small, smallName] = steps.find(([size]) => seconds >= size) ?? steps[2];
  const rest = Math.floor((seconds % big) / small);
  return `${Math.floor(seconds / big)} ${bigName}${rest > 0 ? ` ${rest} ${smallName}` : ""}`;
}

/** Whole seconds, since it counts up before the reader's eyes. */
export const ago = (seconds: number): string =>
  seconds < 1 ? "now" : `${seconds < 60 ? `${Math.floor(seconds)} s` : duration(seconds)} ago`;

const clockFormat = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
export const clock = (time: string): string => clockFormat.format(new Date(time));

const dayFormat = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
export const day = (time: string): string => dayFormat.format(new Date(time));

export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${count(n)} ${n === 1 ? one : many}`;
