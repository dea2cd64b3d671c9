import { existsSync } from "node:fs";
import { readApiKey, tryAndSaveApiKey } from "../account/set-api-key.ts";
import { identityPaths, savedOperatorId } from "../cloud/registration.ts";
import { inspectConfig, type Loaded, loadConfig } from "../config/load.ts";
import { configPath } from "../config/paths.ts";
import { chosenProfile } from "../config/profiles.ts";
import { setConfigValue } from "../config/write.ts";
import { operations } from "../desk/operations.ts";
import { parseApiKey } from "../model/api-key.ts";
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import { silentLog } from "../model/log.ts";
import { createFetch } from "../net/fetch.ts";
import { command, type Io, profileArg } from "./command.ts";
import { daemonAt, type ProfileArgs } from "./daemon-socket.ts";
import { withoutDaemon } from "./without-daemon.ts";

const { summary, help } = operations["set-api-key"];

export default command({
  name: "set-api-key",
  description: summary,
  args: {
    key: {
      type: "positional",
      required: false,
      description: 'The key, or "-" to read it from stdin; without it you are asked',
    },
    ...profileArg,
    "switch-account": {
      type: "boolean",
      description: help["switch-account"],
    },
    offline: {
      type: "boolean",
      description: "Save the key without a check; the daemon tries it with its next poll",
    },
  },
  examples: [
    "ngrokd set-api-key",
    "ngrokd set-api-key - < key-file",
    "ngrokd set-api-key --switch-account",
    "sudo ngrokd set-api-key --offline - < key-file",
  ],
  async run(args, io) {
    const offline = args.offline === true;
    if (offline && args["switch-account"] === true)
      throw new NgrokdError("usage", "--offline cannot be combined with --switch-account", {
        hint: "a move to another account needs ngrok's answers",
      });
    const key = readApiKey(await keyFrom(args.key, io));
    const said = await giveKey(key, args, io);
    io.say.result({ saved: true, checked: !offline, message: said }, said);
    return undefined;
  },
});

interface Where extends ProfileArgs {
  readonly "switch-account"?: boolean | undefined;
  readonly offline?: boolean | undefined;
}

/**
 * Saves a key, through the daemon if one runs, and only if ngrok accepts it
 * unless `offline` is set. Returns a sentence for the user.
 */
export async function giveKey(key: string, args: Where, io: Io): Promise<string> {
  if (args.offline === true) return await keep(key, args, io);
  return await io.say.awaiting("Waiting for ngrok to check the key", () =>
    giveToDaemon(key, args, io),
  );
}

async function giveToDaemon(key: string, args: Where, io: Io): Promise<string> {
  const switching = args["switch-account"] === true;
  try {
    // A switch is several calls of the API, each with its own deadline.
    const options = switching ? { patienceMs: 150_000 } : {};
    const input = { key, "switch-account": switching, profile: args.profile };
    return await daemonAt(args, io)("set-api-key", input, options);
  } catch (error) {
    if (!isNgrokdError(error, "not-running")) throw error;
  }
  // Without a running daemon, the key is tried and saved here. So the order of
  // the first steps does not matter.
  const whole = await loadConfig({
    file: args.config,
    env: io.env,
    flags: { "server.socket_path": args.socket },
  });
  const loaded = chosenProfile(whole, args.profile);
  if (!switching) return await save(key, loaded, false, io);
  const hint = "it has just been started; try again";
  return await withoutDaemon(io.net, loaded.config.server.socket_path, hint, () =>
    save(key, loaded, true, io),
  );
}

/**
 * Saves the key without a question to ngrok. A daemon that runs takes it from
 * its configuration at once.
 */
async function keep(key: string, args: ProfileArgs, io: Io): Promise<string> {
  const callDaemon = daemonAt(args, io);
  const running = await callDaemon("status").catch((error: unknown) => {
    if (isNgrokdError(error, "not-running")) return undefined;
    throw error;
  });
  const path = running?.config_path ?? configPath(args.config, io.env).path;
  await setConfigValue(path, "api.key", key, await profileIn(path, args.profile));
  const saved = `The key is saved in ${path}. It was not checked:`;
  if (running === undefined) return `${saved} the daemon tries it at its start.`;
  const { ok, changes } = await callDaemon("reload");
  if (!ok) return `${saved} the daemon does not take the file; see \`ngrokd config check\`.`;
  if (!changes.some((change) => change.key === "api.key"))
    return `${saved} the daemon has it already, or keeps that of NGROK_API_KEY in its environment.`;
  return `${saved} the daemon tries it now, and with each poll; \`ngrokd status\` shows the result.`;
}

/** The profile that gets the key; undefined for the default one. */
async function profileIn(path: string, name: string | undefined): Promise<string | undefined> {
  if (!existsSync(path)) return name;
  const { loaded } = await inspectConfig({ file: path, env: {} });
  return loaded === undefined ? name : chosenProfile(loaded, name).profile;
}

async function save(
  key: string,
  { config, path, proxy, profile }: Loaded,
  switching: boolean,
  { net, say }: Io,
): Promise<string> {
  const paths = identityPaths(config.server);
  const { selectors } = config.bound_endpoints;
  const log = { ...silentLog, info: say.note, warn: say.warn };
  const oldKey = parseApiKey(config.api.key);
  const { moved } = await tryAndSaveApiKey(key, {
    apiUrl: config.api.url,
    operatorId: await savedOperatorId(paths),
    configPath: path,
    profile,
    oldKey: oldKey.ok ? oldKey.value : undefined,
    switchAccount: switching ? { paths, selectors, log } : undefined,
    fetch: createFetch(net, proxy),
  });
  const now =
    moved === undefined
      ? ""
      : ` This machine is registered in the key's account now. ${moved.farewell}`;
  const next = "`sudo ngrokd service install` or `sudo ngrokd serve` starts one.";
  return `ngrok accepted the key; it is saved in ${path}.${now} No daemon is running yet: ${next}`;
}

async function keyFrom(argument: string | undefined, { say }: Io): Promise<string> {
  if (argument === "-") return await readStdin();
  if (argument !== undefined && argument !== "") {
    say.warn(
      "a key on the command line is seen by other users and kept by the shell's history; " +
        "better: `ngrokd set-api-key -` or no argument",
    );
    return argument;
  }
  if (!process.stdin.isTTY) {
    throw new NgrokdError("usage", "No API key was given", {
      hint:
        "run `ngrokd set-api-key` on a terminal to be asked, " +
        "or `ngrokd set-api-key - < key-file`",
    });
  }
  return await askKey();
}

/** Asks on the terminal, and does not show the answer. */
export async function askKey(): Promise<string> {
  const { default: password } = await import("@inquirer/password");
  return await password(
    { message: "ngrok API key (not shown):", mask: false },
    { output: process.stderr },
  ).catch((cause: unknown) => {
    throw new NgrokdError("cancelled", "No API key was given", { cause });
  });
}

/** Characters. A key is one line, so a longer input is a mistake. */
const stdinLimit = 64 * 1024;

export async function readStdin(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.length > stdinLimit)
      throw new NgrokdError("usage", "Standard input is too long to be an API key", {
        hint: "give the key alone: `ngrokd set-api-key - < key-file`",
      });
  }
  return text;
}
