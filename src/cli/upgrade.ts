import { realpath } from "node:fs/promises";
import { resolve } from "node:path";
import process from "node:process";
import type { UpgradeReport } from "../desk/reply-schemas.ts";
import { summaries } from "../desk/summaries.ts";
import { command } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";

export default command({
  name: "upgrade",
  description: summaries.upgrade,
  args: {
    to: {
      type: "string",
      valueHint: "file",
      description: "The new program, which only root may change; default: the one of this command",
    },
  },
  examples: ["sudo ngrokd upgrade", "sudo ngrokd upgrade --to /usr/local/bin/ngrokd-new"],
  async run({ to, ...args }, io) {
    const program = to === undefined ? await thisProgram() : resolve(to);
    const report = await daemonAt(args, io)("upgrade", { ...(program && { to: program }) });
    io.say.result(report, () => upgradeText(report));
    return 0;
  },
});

/** The compiled program of this command; undefined if it runs from sources. */
export async function thisProgram(): Promise<string | undefined> {
  if (process.argv[1]?.startsWith("/$bunfs/") !== true) return undefined;
  return await realpath(process.execPath).catch(() => process.execPath);
}

/** Pure: the result in a sentence or two. */
export function upgradeText({ version, pid, took_ms, draining, way }: UpgradeReport): string {
  const open = `${draining} open ${draining === 1 ? "connection" : "connections"}`;
  if (way === "in place")
    return `ngrokd ${version} takes over in the same process (pid ${pid}), after its ${open}.`;
  const rest = draining === 0 ? "" : ` ${open} may finish in the old process.`;
  return `ngrokd ${version} has taken over as pid ${pid}, after ${took_ms} ms.${rest}`;
}
