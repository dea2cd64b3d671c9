import { rmdir } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { inspectConfig } from "../config/load.ts";
import { hostsPathIn } from "../config/paths.ts";
import { defaultConfig } from "../config/schema.ts";
import { isAlive } from "../control/alive.ts";
import { removeFile } from "../files/atomic.ts";
import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import { trustFolder } from "../ingress/ngrok-ca.ts";
import { planUndo, type Step, undo } from "../machine/undo.ts";
import { reasonOf } from "../model/error.ts";
import type { Paint } from "../terminal/say.ts";
import { command, type Io } from "./command.ts";
import { confirm } from "./confirm.ts";
import { withoutDaemon } from "./without-daemon.ts";

export default command({
  name: "undo",
  description: "Undo ngrokd's changes on this machine",
  args: {
    yes: { type: "boolean", alias: "y", description: "Do it without asking" },
    "dry-run": {
      type: "boolean",
      alias: "n",
      description: "Only show the changes that it would undo",
    },
  },
  examples: ["sudo ngrokd undo --dry-run", "sudo ngrokd undo --yes"],
  async run(args, io) {
    const { say, net } = io;
    const { stateFolder, socket, hostsPath } = await places(args, io);
    const owners = { isAlive: (path: string) => isAlive(net, path) };
    const show = (steps: readonly Step[], done: boolean): void =>
      say.result(
        { done, steps: steps.map(({ change, ...rest }) => ({ ...change, ...rest })) },
        () => undoText(steps, done, stateFiles(stateFolder).hostsOriginal, say.paint),
      );
    if (args["dry-run"] === true) {
      show(await planUndo(stateFolder, hostsPath, owners), false);
      return 0;
    }
    const hint = "stop it first: it then removes its hosts section by itself";
    return await withoutDaemon(net, socket, hint, async () => {
      const steps = await planUndo(stateFolder, hostsPath, owners);
      const count = steps.filter(({ action }) => action === "take back").length;
      if (count > 0 && args.yes !== true) {
        for (const step of steps) say.note(stepText(step, false, say.paint));
        await confirm(
          `Take back ${count === 1 ? "this change" : `these ${count} changes`}?`,
          "ngrokd undo --yes",
          io,
        );
      }
      const remove = (path: string): Promise<void> => removed(path, stateFolder, io);
      await say.awaiting("Taking back", () => undo(stateFolder, steps, { owners, remove }));
      show(steps, true);
      return steps.some(({ action }) => action === "keep") ? 1 : 0;
    });
  },
});

/**
 * The paths of the state, the socket and the hosts file. If the configuration
 * is no longer valid, undo must still work, and uses the default paths.
 */
async function places(
  { config: file, socket: flag }: { config?: string | undefined; socket?: string | undefined },
  { env, say }: Io,
) {
  const { loaded, path } = await inspectConfig({
    file,
    env,
    flags: { "server.socket_path": flag },
  });
  if (loaded === undefined)
    say.warn(`"${path}" has mistakes (\`ngrokd config check\`): using the default paths`);
  const { server } = loaded?.config ?? defaultConfig;
  return {
    stateFolder: stateFolderOf(server),
    socket: loaded === undefined && flag ? resolve(flag) : server.socket_path,
    hostsPath: loaded?.hostsPath ?? hostsPathIn(env),
  };
}

/** Pure: the changes that can be undone, or have been undone. */
export function undoText(
  steps: readonly Step[],
  done: boolean,
  original: string,
  paint: Paint,
): string {
  const lines = steps.map((step) => `  ${stepText(step, done, paint)}`);
  const head =
    lines.length === 0
      ? "No change of ngrokd is left on this machine."
      : done
        ? "Taken back:"
        : "Changes of ngrokd on this machine:";
  const hosts = steps.some(
    ({ change, action }) => change.kind === "hosts" && action !== "nothing to do",
  );
  const copy = hosts ? [`The hosts file from before ngrokd's first change is in ${original}.`] : [];
  return [head, ...lines, ...copy].join("\n");
}

function stepText({ change, action, reason }: Step, done: boolean, paint: Paint): string {
  const what = whatText(change);
  switch (action) {
    case "take back":
      return done
        ? `${paint.good("removed")}  ${what}`
        : `${paint.careful("would be removed")}  ${what}`;
    case "nothing to do":
      return `${paint.dim("gone already")}  ${what}`;
    case "keep":
      return `${paint.bad("kept")}  ${what}: ${reason}`;
  }
}

function whatText(change: Step["change"]): string {
  switch (change.kind) {
    case "hosts":
    case "resolv-conf":
      return `ngrokd's section of ${change.path}`;
    case "resolved":
      return `ngrokd's settings of ${basename(change.path)} in systemd-resolved`;
    case "aliases":
      return `ngrokd's ${change.addresses.length} addresses on lo0`;
    case "file":
      return change.path;
  }
}

/**
 * Removes a file. If it belongs to the service, its manager removes the whole
 * service. If the manager fails, only the file is removed.
 */
async function removed(path: string, stateFolder: string, { say }: Io): Promise<void> {
  const { carryOut, planUninstall, thisManager } = await import("../service/manage.ts");
  const isService = ["darwin", "linux"].includes(process.platform) && thisManager().path === path;
  if (!isService) {
    await removeFile(path);
    // `ngrokd trust` created this folder. It stays if it has another file.
    if (dirname(path) === trustFolder) await rmdir(trustFolder).catch(() => undefined);
    return;
  }
  try {
    await carryOut(await planUninstall(thisManager()), stateFolder);
  } catch (error) {
    say.warn(`only the service's file is removed: ${reasonOf(error)}`);
    await removeFile(path);
  }
}
