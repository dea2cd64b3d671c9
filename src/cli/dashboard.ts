import { summaries } from "../desk/summaries.ts";
import { command } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";

export default command({
  name: "dashboard",
  description: summaries.dashboard,
  args: {
    write: { type: "boolean", description: "The page may change something: pause, refresh…" },
  },
  examples: ["ngrokd dashboard", "ngrokd dashboard --write"],
  async run({ write, ...args }, io) {
    const link = await daemonAt(args, io)("dashboard", { write });
    io.say.result(link, link.url);
    io.say.note(`Open it within ${link.expires_seconds} s. It works once.`);
    return 0;
  },
});
