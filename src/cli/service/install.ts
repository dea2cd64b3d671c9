// cli/service/ has the commands of `ngrokd service`, one a file.
import { carryOut, planInstall, requireManager, thisManager } from "../../service/manage.ts";
import { command } from "../command.ts";
import { serviceFacts } from "./service-facts.ts";
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
  },
  examples: ["sudo ngrokd service install", "ngrokd service install --dry-run"],
  async run(args, { env, say }) {
    const manager = thisManager();
    const { facts, stateFolder, remarks } = await serviceFacts({
      config: args.config,
      socket: args.socket,
      env,
    });
    const { steps, before } = await planInstall(manager, facts, { start: args.start });
    for (const remark of remarks) say.warn(remark);
    if (args["dry-run"] === true) {
      sayPlanned(say, steps);
      return 0;
    }
    requireManager(manager);
    await carryOut(steps, stateFolder);
    const did = { none: "Installed", different: "Updated", same: "Nothing to change in" }[before];
    const next = args.start
      ? "`ngrokd service status` shows its state"
      : "`sudo ngrokd service start` starts it";
    // A running service keeps its old file until it is restarted.
    const again = before === "different" ? "; `sudo ngrokd service restart` applies it" : "";
    say.result(
      { path: manager.path, installed: true, changed: before !== "same", started: args.start },
      `${did} ${manager.path}${again}\n${next}`,
    );
    return 0;
  },
});
