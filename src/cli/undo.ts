import { dirname, join, resolve } from "node:path";
import { inspectConfig } from "../config/load.ts";
import { defaultHostsPath } from "../config/paths.ts";
import { defaultConfig } from "../config/schema.ts";
import { startControlServer } from "../control/server.ts";
import { planUndo, type Step, undo } from "../journal/undo.ts";
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import { silentLog } from "../model/log.ts";
import { command, type Io } from "./command.ts";
import type { Paint } from "./say.ts";

export default command({
  name: "undo",
  description: "Take back what ngrokd has changed on this machine",
  args: {
    yes: { type: "boolean", alias: "y", description: "Do it without asking" },
    "dry-run": { type: "boolean", alias: "n", description: "Only show what would be taken back" },
  },
  examples: ["sudo ngrokd undo --dry-run", "sudo ngrokd undo --yes"],
  async run(args, io) {
    const { say, net } = io;
    const { stateFolder, socket, hostsPath } = await places(args, io);
    const show = (steps: readonly Step[], done: boolean): void =>
      say.result({ done, steps: steps.map(({ change, ...rest }) => ({ ...change, ...rest })) }, () =>
        undoText(steps, done, join(stateFolder, "hosts.original"), say.paint),
      );
    if (args["dry-run"] === true) {
      show(await planUndo(stateFolder, hostsPath), false);
      return 0;
    }
    // Held until the end: a daemon that runs would put back what is taken out.
    const lock = await startControlServer({ net, path: socket, group: "", log: silentLog, handle: busy }).catch(notNow);
    try {
      const steps = await planUndo(stateFolder, hostsPath);
      const work = steps.some(({ action }) => action === "take back");
      if (work && args.yes !== true && !(await confirmed(steps, io))) {
        throw new NgrokdError("cancelled", "Nothing was taken back");
      }
      await undo(stateFolder, steps);
      show(steps, true);
      return steps.some(({ action }) => action === "keep") ? 1 : 0;
    } finally {
      await lock.close();
    }
  },
});

/** What was changed has to be taken back also where the configuration is wrong by now: then from where it is by default. */
async function places({ config: file, socket: flag }: { config?: string | undefined; socket?: string | undefined }, { env, say }: Io) {
  const { loaded, path } = await inspectConfig({ file, env, flags: { "server.socket_path": flag } });
  if (loaded === undefined) say.warn(`"${path}" has mistakes (\`ngrokd config check\`): looking at the default places`);
  const { server } = loaded?.config ?? defaultConfig;
  return {
    stateFolder: dirname(server.client_cert),
    socket: loaded === undefined && flag ? resolve(flag) : server.socket_path,
    hostsPath: loaded?.hostsPath ?? resolve(env.NGROKD_HOSTS_PATH || defaultHostsPath),
  };
}

/** Pure: what there is to take back, or what was. */
export function undoText(steps: readonly Step[], done: boolean, original: string, paint: Paint): string {
  const lines = steps.map((step) => `  ${stepText(step, done, paint)}`);
  const head =
    lines.length === 0
      ? "ngrokd has changed nothing on this machine that is still there."
      : done
        ? "Taken back:"
        : "ngrokd has changed this on this machine:";
  const hosts = steps.some(({ change, action }) => change.kind === "hosts" && action !== "nothing to do");
  const copy = hosts ? [`The hosts file as it was before ngrokd first changed it is in ${original}.`] : [];
  return [head, ...lines, ...copy].join("\n");
}

function stepText({ change, action, reason }: Step, done: boolean, paint: Paint): string {
  const what = change.kind === "hosts" ? `ngrokd's section of ${change.path}` : change.path;
  switch (action) {
    case "take back":
      return done ? `${paint.good("removed")}  ${what}` : `${paint.careful("would be removed")}  ${what}`;
    case "nothing to do":
      return `${paint.dim("gone already")}  ${what}`;
    case "keep":
      return `${paint.bad("kept")}  ${what}: ${reason}`;
  }
}

async function confirmed(steps: readonly Step[], { say }: Io): Promise<boolean> {
  if (say.json || process.stdin.isTTY !== true || process.stderr.isTTY !== true) {
    throw new NgrokdError("usage", "Nothing was taken back: this asks first, and there is no terminal to ask on", {
      hint: "`ngrokd undo --dry-run` shows what it would do, and `ngrokd undo --yes` does it",
    });
  }
  const { consola } = await import("consola");
  const count = steps.filter(({ action }) => action === "take back").length;
  for (const step of steps) say.note(stepText(step, false, say.paint));
  return (
    (await consola.prompt(`Take back ${count === 1 ? "this change" : `these ${count} changes`}?`, { type: "confirm", initial: false })) ===
    true
  );
}

function notNow(error: unknown): never {
  const hint = isNgrokdError(error, "already-running")
    ? "stop it first: it takes its hosts section out itself when it ends"
    : "run this as root (sudo); `ngrokd undo --dry-run` shows what it would do";
  const running = isNgrokdError(error, "already-running") || isNgrokdError(error, "permission");
  throw running ? new NgrokdError(error.code, `Nothing was taken back: ${error.message}`, { cause: error, hint }) : error;
}

const busy = (): Promise<never> =>
  Promise.reject(new NgrokdError("refused", "`ngrokd undo` is at work here", { hint: "try again in a moment" }));
