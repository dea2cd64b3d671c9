import { carryOut, planVerb, thisManager } from "../../service/manage.ts";
import type { Verb } from "../../service/service-steps.ts";
import { type Command, command } from "../command.ts";
import { dryRunArg, sayPlanned } from "./steps.ts";

/** `service start`, `stop` and `restart` differ only in their words. */
export function verbCommand(verb: Verb, description: string, done: string): Command {
  return command({
    name: `service ${verb}`,
    description,
    args: dryRunArg,
    examples: [`sudo ngrokd service ${verb}`, `ngrokd service ${verb} --dry-run`],
    async run(args, { say }) {
      const steps = await planVerb(thisManager(), verb);
      if (args["dry-run"] === true) {
        sayPlanned(say, steps);
        return 0;
      }
      await say.awaiting("Waiting for the service manager", () => carryOut(steps));
      say.result({ done: verb }, done);
      return 0;
    },
  });
}
