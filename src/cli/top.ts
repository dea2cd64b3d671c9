import { quote } from "../model/parsed.ts";
import { openFullScreen } from "../terminal/full-screen.ts";
import type { Source } from "../top/look.ts";
import { type Sort, sorts } from "../top/rows.ts";
import { lookLines, lookValue } from "../top/screenless.ts";
import { glyphsFor } from "../top/style.ts";
import { followTop, showTop } from "../top/top.ts";
import { aborted, command, type Io, profileArg } from "./command.ts";
import { daemonAt, type ProfileArgs } from "./daemon-socket.ts";
import { usageError } from "./flags.ts";

export default command({
  name: "top",
  description:
    "Watch endpoints, connections and traffic; ? shows the keys. " +
    "Without a terminal it prints lines",
  args: {
    ...profileArg,
    search: {
      type: "positional",
      required: false,
      valueHint: "text",
      description: "Begin with the endpoints that have this text",
    },
    sort: { type: "string", valueHint: "by", default: "traffic", description: sorts.join(", ") },
  },
  examples: ["ngrokd top", "ngrokd top --sort errors", "ngrokd top --json"],
  async run(args, io) {
    const { say, env, stop } = io;
    const options = {
      source: sourceAt(args, io),
      style: { paint: say.paint, glyphs: glyphsFor(env) },
      order: { sort: sortOf(args.sort), search: args.search ?? "" },
      stop,
      stopped: aborted(stop),
    };
    const surface = say.screen();
    if (surface !== undefined) await showTop((given) => openFullScreen(surface, given), options);
    else
      await followTop(
        options,
        (look) => say.item(lookValue(look), () => lookLines(look, options.style)),
        (reason) => say.warn(`${reason}; waiting for it`),
      );
    return 0;
  },
});

function sortOf(text: string): Sort {
  const sort = sorts.find((one) => one === text);
  if (sort !== undefined) return sort;
  throw usageError(`The flag --sort is wrong: ${quote(text)} is none of ${sorts.join(", ")}`, [
    "top",
  ]);
}

function sourceAt(args: ProfileArgs, io: Io): Source {
  const ask = daemonAt(args, io);
  const { profile } = args;
  return {
    status: () => ask("status", { profile }),
    list: () => ask("list", { profile }),
    traffic: () => ask("traffic", { seconds: 60, step: 1, each: true }),
    connections: (host) => ask("connections", { host, limit: 20 }),
    events: (host) => ask("events", { host, kinds: "endpoint", limit: 20 }),
    exchanges: (host) => ask("exchanges", { host }),
  };
}
