import type { Log, LogFields } from "../../src/model/log.ts";

/** A Log that stores its lines: `warn something happened`, then the hint. */
export function memoryLog(): Log & { readonly lines: string[] } {
  const lines: string[] = [];
  const say =
    (level: string) =>
    (message: string, { hint }: LogFields = {}) =>
      void lines.push(`${level} ${message}${hint === undefined ? "" : ` (hint: ${hint})`}`);
  return { lines, debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
}
