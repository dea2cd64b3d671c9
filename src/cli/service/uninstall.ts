import { existsSync } from "node:fs";
import { carryOut, planUninstall, thisManager } from "../../service/manage.ts";
import { dropInFolder } from "../../service/systemd.ts";
import { stateFolderToUndo } from "../../service/this-service.ts";
import { command } from "../command.ts";
import { dryRunArg, sayPlanned } from "./steps.ts";

export default command({
  name: "service uninstall",
  description: "Stop the service and remove it; configuration, registration and addresses stay",
  args: dryRunArg,
  examples: ["sudo ngrokd service uninstall", "ngrokd service uninstall --dry-run"],
  async run(args, { env, say }) {
    const manager = thisManager();
    const steps = await planUninstall(manager);
    if (args["dry-run"] === true) {
      sayPlanned(say, steps);
      return 0;
    }
    const folder = await stateFolderToUndo(args.config, env);
    await say.awaiting("Waiting for the service manager", () => carryOut(steps, folder));
    const changes = dropInFolder(manager);
    if (manager.kind === "systemd" && existsSync(changes))
      say.warn(`your own changes to the service stay in "${changes}"`);
    say.result(
      { path: manager.path, installed: false },
      `Stopped the service, and removed ${manager.path}`,
    );
    return 0;
  },
});
