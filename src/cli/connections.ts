import type { Connections } from "../desk/history-schemas.ts";
import { summaries } from "../desk/summaries.ts";
import { quote } from "../model/parsed.ts";
import { connectionsTable } from "../terminal/history-text.ts";
import { command } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";
import { usageError, wholeFlag } from "./flags.ts";

export default command({
  name: "connections",
  description: summaries.connections,
  args: {
    host: {
      type: "positional",
      required: false,
      valueHint: "host",
      description: "Only this endpoint: its host name, or host:port",
    },
    state: {
      type: "string",
      valueHint: "state",
      description: "Only connections in this state: open, or ended",
    },
    limit: {
      type: "string",
      valueHint: "n",
      default: "100",
      description: "The most connections to show",
    },
    before: {
      type: "string",
      valueHint: "id",
      description: "Only connections older than this one",
    },
  },
  examples: ["ngrokd connections", "ngrokd connections --state open", "ngrokd connections --json"],
  async run({ host, state, limit, before, ...args }, io) {
    const most = wholeFlag(limit, "limit", [1, 1000], ["connections"]);
    const from =
      before === undefined
        ? undefined
        : wholeFlag(before, "before", [1, 999_999_999], ["connections"]);
    const input = { host, state: stateOf(state), limit: most, before: from };
    const reply = await daemonAt(args, io)("connections", input);
    io.say.result(reply, () =>
      reply.connections.length === 0
        ? noneText(reply)
        : connectionsTable(reply.connections, io.say.paint),
    );
    return 0;
  },
});

function stateOf(text: string | undefined): "open" | "ended" | undefined {
  if (text === undefined || text === "open" || text === "ended") return text;
  throw usageError(`The flag --state is wrong: ${quote(text)} is not open or ended`, [
    "connections",
  ]);
}

const noneText = ({ open, ended }: Connections): string =>
  open + ended === 0
    ? "There was no connection since the daemon started."
    : "There is no such connection among those that are remembered.";
