// cli/service/ has the commands of `ngrokd service`, one a file.

import { exposedText } from "../../files/writers.ts";
import { trustFolder } from "../../ingress/ngrok-ca.ts";
import { resolverNeeds } from "../../machine/resolver/facts.ts";
import { isUserName, socketGroup } from "../../model/access.ts";
import { NgrokdError } from "../../model/error.ts";
import { quote } from "../../model/parsed.ts";
import {
  carryOut,
  planInstall,
  requireManager,
  thisManager,
  unitFile,
} from "../../service/manage.ts";
import type { Manager } from "../../service/service-steps.ts";
import { refuseExposed, serviceFacts } from "../../service/this-service.ts";
import { command, type Io } from "../command.ts";
import { confirm } from "../confirm.ts";
import { serviceArgs } from "./args.ts";
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
    ...serviceArgs,
  },
  examples: [
    "sudo ngrokd service install",
    "sudo ngrokd service install --group-add alice",
    "ngrokd service install --dry-run",
  ],
  async run(args, io) {
    const { env, say } = io;
    const manager = thisManager();
    const { facts, stateFolder, remarks, exposed } = await serviceFacts({
      config: args.config,
      socket: args.socket,
      env,
      trustFolder,
      resolver: resolverNeeds(),
    });
    const member = memberIn(args["group-add"], manager);
    const takeOver = args["take-over"] === true || (await offersTakeOver(manager, args, io));
    const choices = { start: args.start, takeOver, member };
    const { steps, before, path } = await planInstall(manager, facts, choices);
    for (const remark of remarks) say.warn(remark);
    if (args["dry-run"] === true) {
      for (const one of exposed) say.warn(exposedText(one));
      sayPlanned(say, steps);
      return 0;
    }
    requireManager(manager);
    refuseExposed(exposed);
    await say.awaiting("Waiting for the service manager", () => carryOut(steps, stateFolder));
    const did = {
      none: "Installed",
      different: "Updated",
      same: "Nothing to change in",
      predecessor: `Kept the Go program's unit as ${manager.path}.go-program, and installed`,
    }[before];
    const next = args.start
      ? "`ngrokd service status` shows its state"
      : "`sudo ngrokd service start` starts it";
    // Under systemd, a running service uses its old file until a restart.
    const isOld = before === "different" && manager.kind === "systemd";
    const again = isOld ? "; `sudo ngrokd service restart` applies it" : "";
    const lines = [`${did} ${path}${again}`, next, ...accessLines(member, env.SUDO_USER, manager)];
    say.result(
      { path, installed: true, changed: before !== "same", started: args.start },
      lines.join("\n"),
    );
    return 0;
  },
});

/**
 * Throws `usage` for a text that is no user's name, and on a system on which
 * ngrokd makes no group.
 */
function memberIn(name: string | undefined, { addMember }: Manager): string | undefined {
  if (name === undefined) return undefined;
  if (!isUserName(name))
    throw new NgrokdError("usage", `--group-add needs a user's name, and ${quote(name)} is none`);
  if (addMember === undefined)
    throw new NgrokdError("usage", "--group-add has no effect on this system", {
      hint: "use sudo for the commands that ask the daemon",
    });
  return name;
}

/** Who may use the daemon now, or how the user behind sudo gets there. */
function accessLines(
  member: string | undefined,
  sudoUser: string | undefined,
  { addMember }: Manager,
): string[] {
  if (member !== undefined)
    return [
      `${member} is a member of the group "${socketGroup}", from the next login on; ` +
        "a daemon that runs needs `sudo ngrokd service restart` if the group is new",
    ];
  if (addMember === undefined || !isUserName(sudoUser ?? "") || sudoUser === "root") return [];
  return [`\`sudo ngrokd service install --group-add ${sudoUser}\` lets you use it without sudo`];
}

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
