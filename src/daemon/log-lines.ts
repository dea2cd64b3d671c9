import type { Line } from "../desk/tell.ts";
import type { Log } from "../model/log.ts";

export function writeLines(log: Log, lines: readonly Line[]): void {
  for (const { level, text, hint } of lines) log[level](text, { hint: hint || undefined });
}
