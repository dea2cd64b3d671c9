import { summaries } from "../desk/summaries.ts";
import { statusText } from "../terminal/status-text.ts";
import { command, profileArg } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";

export default command({
  name: "status",
  description: summaries.status,
  args: profileArg,
  examples: ["ngrokd status", "ngrokd status --json"],
  async run(args, io) {
    const status = await daemonAt(args, io)("status", { profile: args.profile });
    io.say.result(status, () => statusText(status, io.say.paint, new Date(), io.say.width));
    return undefined;
  },
});
