import { existsSync } from "node:fs";
import { NgrokdError } from "../../model/error.ts";
import { notInstalled, thisManager, unitFile } from "../../service/manage.ts";
import { runHere } from "../../service/run-command.ts";
import { command } from "../command.ts";

export default command({
  name: "service logs",
  description: "Show the log of the service; --follow shows new lines, too",
  args: {
    follow: { type: "boolean", alias: "f", description: "Keep printing new lines until Ctrl-C" },
    lines: {
      type: "string",
      alias: "n",
      valueHint: "number",
      default: "100",
      description: "The number of lines from the end",
    },
  },
  examples: ["sudo ngrokd service logs", "sudo ngrokd service logs --follow --lines 20"],
  async run(args, { stop }) {
    const lines = Number(args.lines);
    if (!/^\d{1,7}$/.test(args.lines))
      throw new NgrokdError("usage", `"${args.lines}" is not a number of lines`, {
        hint: "such as --lines 20",
      });
    const manager = thisManager();
    if ((await unitFile(manager)).kind === "none") throw notInstalled("show the logs of");
    const shown = manager.logs({ lines, follow: args.follow === true });
    if (!existsSync(shown[0]))
      throw new NgrokdError("refused", `Cannot show logs: there is no "${shown[0]}" here`);
    return await runHere(shown, stop);
  },
});
