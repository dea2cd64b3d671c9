import { summaries } from "../desk/summaries.ts";
import { facts } from "../terminal/say.ts";
import { command, profileArg } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";

export default command({
  name: "health",
  description: summaries.health,
  args: profileArg,
  examples: ["ngrokd health", "ngrokd health --json"],
  async run(args, io) {
    const { say } = io;
    const health = await daemonAt(args, io)("health", { profile: args.profile });
    const word = (good: boolean): string => (good ? say.paint.good("yes") : say.paint.bad("no"));
    say.result(health, () =>
      facts(
        [
          ["Healthy", word(health.healthy)],
          ["Ready", health.ready ? word(true) : `${word(false)}: ${health.reason}`],
          ["Health server", health.address],
        ],
        say.paint,
      ),
    );
    return health.healthy && health.ready ? 0 : 1;
  },
});
