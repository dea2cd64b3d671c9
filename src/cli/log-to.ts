import type { Log } from "../model/log.ts";
import type { Say } from "../terminal/say.ts";

/** A log on stderr for a command that a person runs. */
export function logTo(say: Say): Log {
  return {
    debug: (message) => (say.debug ? say.note(message) : undefined),
    info: say.note,
    warn: say.warn,
    error: say.warn,
  };
}
