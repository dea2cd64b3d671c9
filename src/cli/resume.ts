import { summaries } from "../desk/summaries.ts";
import { command } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";

export default command({
  name: "resume",
  description: summaries.resume,
  args: {
    host: { type: "positional", required: true, description: "A host name, or '*.ZONE'" },
  },
  examples: ["ngrokd resume hello.demo"],
  async run({ host, ...args }, io) {
    const report = await daemonAt(args, io)("resume", { host });
    io.say.result(report, () =>
      report.changed ? `${report.host} is no longer paused.` : `${report.host} was not paused.`,
    );
    return 0;
  },
});
