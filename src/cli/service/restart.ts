import { carryOut, planVerb, thisManager } from "../../service/manage.ts";
import { restartFacts, restartWay } from "../../service/restart.ts";
import { command } from "../command.ts";
import { daemonAt } from "../daemon-socket.ts";
import { upgradeText } from "../upgrade.ts";
import { dryRunArg, sayPlanned } from "./steps.ts";

export default command({
  name: "service restart",
  description: "Restart the service; no connection is refused or lost if it can hand over",
  args: {
    ...dryRunArg,
    full: {
      type: "boolean",
      description: "Let the service manager stop it first, without a handover",
    },
  },
  examples: ["sudo ngrokd service restart", "ngrokd service restart --dry-run"],
  async run(args, io) {
    const { say } = io;
    const steps = await planVerb(thisManager(), "restart");
    const ask = daemonAt(args, io);
    const answering = await ask("status").then(
      ({ pid }) => pid,
      () => undefined,
    );
    const way =
      args.full === true || answering === undefined
        ? ({ kind: "manager", why: "" } as const)
        : restartWay(await restartFacts(answering));
    if (args["dry-run"] === true) {
      if (way.kind === "manager") sayPlanned(say, steps);
      else
        say.result(
          { dry_run: true, program: way.program },
          `hand over to ${way.program}, as \`ngrokd upgrade\` does`,
        );
      return 0;
    }
    if (way.kind === "handover") {
      const report = await ask("upgrade", { to: way.program });
      say.result({ done: "restart", ...report }, () => upgradeText(report));
      return 0;
    }
    if (way.why !== "") say.note(`the service cannot hand over, since ${way.why}`);
    await say.awaiting("Waiting for the service manager", () => carryOut(steps));
    say.result({ done: "restart" }, "The service is up again");
    return 0;
  },
});
