import { summaries } from "../desk/summaries.ts";
import { eventLine } from "../terminal/history-text.ts";
import { command } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";
import { wholeFlag } from "./flags.ts";
import { follow } from "./follow.ts";

export default command({
  name: "events",
  description: summaries.events,
  args: {
    host: {
      type: "positional",
      required: false,
      valueHint: "host",
      description: "Only this endpoint: its host name, or host:port",
    },
    follow: { type: "boolean", alias: "f", description: "Keep printing new events until Ctrl-C" },
    kinds: {
      type: "string",
      valueHint: "kinds",
      description: "Only these kinds of events, such as poll,connection.ended",
    },
    after: { type: "string", valueHint: "id", description: "Only those after this event" },
    limit: {
      type: "string",
      valueHint: "n",
      default: "100",
      description: "The most events to show",
    },
  },
  examples: ["ngrokd events", "ngrokd events --kinds endpoint,warning", "ngrokd events --json"],
  async run(args, io) {
    const { host, kinds, after } = args;
    const input = {
      host,
      kinds,
      after,
      limit: wholeFlag(args.limit, "limit", [1, 1000], ["events"]),
    };
    const { events, next } = await daemonAt(args, io)("events", input);
    const { paint } = io.say;
    for (const event of events) io.say.item(event, () => eventLine(event, paint));
    if (args.follow !== true) return 0;
    const asked = { host, kinds, after: next };
    await follow(asked, args, io, (event) => io.say.item(event, () => eventLine(event, paint)));
    return 0;
  },
});
