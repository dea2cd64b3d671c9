// cli/service/ has the commands of `ngrokd service`, one a file.
import {
  carryOut,
  planInstall,
  requireManager,
  thisManager,
  unitFile,
} from "../../service/manage.ts";
import type { Manager } from "../../service/service-steps.ts";
import { serviceFacts } from "../../service/this-service.ts";
import { command, type Io } from "../command.ts";
import { confirm } from "../confirm.ts";
import { dryRunArg, sayPlanned } from "./steps.ts";

export default command({
  name: "service install",
  description:
    "Install ngrokd as a service with as few rights as possible; it starts now and at every boot",
  args: {
    ...dryRunArg,
    start: {
      type: "boolean",
      default: true,
      description: "Start it now; --no-start waits for the next boot",
    },
    "take-over": {
      type: "boolean",
      description: "Replace the service of the Go program named ngrokd; its unit is kept beside",
    },
  },
  examples: ["sudo ngrokd service install", "ngrokd service install --dry-run"],
  async run(args, io) {
    const { env, say } = io;
    const manager = thisManager();
    const { facts, stateFolder, remarks } = await serviceFacts({
      config: args.config,
      socket: args.socket,
      env,
    });
    const takeOver = args["take-over"] === true || (await offersTakeOver(manager, args, io));
    const { steps, before } = await planInstall(manager, facts, { start: args.start, takeOver });
    for (const remark of remarks) say.warn(remark);
    if (args["dry-run"] === true) {
      sayPlanned(say, steps);
      return 0;
    }
    requireManager(manager);
    await carryOut(steps, stateFolder);
    const did = {
      none: "Installed",
      different: "Updated",
      same: "Nothing to change in",
      predecessor: `Kept the Go program's unit as ${manager.path}.go-program, and installed`,
    }[before];
    const next = args.start
      ? "`ngrokd service status` shows its state"
      : "`sudo ngrokd service start` starts it";
    // A running service uses its old file until it is restarted.
    const again = before === "different" ? "; `sudo ngrokd service restart` applies it" : "";
    say.result(
      { path: manager.path, installed: true, changed: before !== "same", started: args.start },
      `${did} ${manager.path}${again}\n${next}`,
    );
    return 0;
  },
});

/** On a terminal, it offers to take over the Go program's service. */
async function offersTakeOver(
  manager: Manager,
  args: { readonly "dry-run"?: boolean | undefined },
  io: Io,
): Promise<boolean> {
  if (args["dry-run"] === true || process.stdin.isTTY !== true) return false;
  const there = await unitFile(manager);
  if (there.kind !== "predecessor") return false;
  const question = `"${there.path}" is the service of the Go program named ngrokd. Stop it, and take over?`;
  await confirm(question, "sudo ngrokd service install --take-over", io);
  return true;
}
