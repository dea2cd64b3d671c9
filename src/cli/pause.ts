import type { PauseReport } from "../desk/reply-schemas.ts";
import { summaries } from "../desk/summaries.ts";
import { command } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";

export default command({
  name: "pause",
  description: summaries.pause,
  args: {
    host: { type: "positional", required: true, description: "A host name, or '*.ZONE'" },
  },
  examples: ["ngrokd pause hello.demo"],
  async run({ host, ...args }, io) {
    const report = await daemonAt(args, io)("pause", { host });
    io.say.result(report, () => pauseText(report));
    return 0;
  },
});

/** Pure: the result in a sentence. */
export function pauseText({ host, changed, draining }: PauseReport): string {
  if (!changed) return `${host} was paused before.`;
  const open =
    draining === 0
      ? ""
      : ` ${draining} open ${draining === 1 ? "connection" : "connections"} may finish.`;
  return `${host} is paused until \`ngrokd resume ${host}\`.${open}`;
}
