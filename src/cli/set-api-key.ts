import { identityPaths, loadIdentity } from "../cloud/registration.ts";
import { loadConfig } from "../config/load.ts";
import { readApiKey, tryAndSaveApiKey } from "../daemon/api-key.ts";
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import { createFetch } from "../net/fetch.ts";
import { command, type Io } from "./command.ts";
import { ask } from "./daemon-socket.ts";

export default command({
  name: "set-api-key",
  description: "Try an ngrok API key and keep it",
  args: {
    key: { type: "positional", required: false, description: 'The key, or "-" to read it from stdin; without it you are asked' },
  },
  examples: ["ngrokd set-api-key", "ngrokd set-api-key - < key-file"],
  async run(args, io) {
    const key = readApiKey(await keyFrom(args.key, io));
    const said = await giveToDaemon(key, args, io);
    io.say.result({ saved: true, message: said }, said);
    return undefined;
  },
});

type Where = Parameters<typeof ask>[0];

async function giveToDaemon(key: string, args: Where, io: Io): Promise<string> {
  try {
    return String(await ask(args, io, { command: "set-api-key", args: [key] }, 60_000));
  } catch (error) {
    if (!isNgrokdError(error, "not-running")) throw error;
  }
  // Nobody runs yet: try and save it here, so that the order of the first steps does not matter.
  const { config, path, proxy } = await loadConfig({ file: args.config, env: io.env });
  const fetch = createFetch(io.net, proxy);
  const found = await loadIdentity(identityPaths(config.server));
  const operatorId = found.kind === "identity" ? found.identity.operatorId : undefined;
  await tryAndSaveApiKey(key, { apiUrl: config.api.url, operatorId, configPath: path, fetch });
  return `ngrok accepted the key; it is saved in ${path}. No daemon is running: start one with \`ngrokd serve\`.`;
}

async function keyFrom(argument: string | undefined, { say }: Io): Promise<string> {
  if (argument === "-") return await readStdin();
  if (argument !== undefined && argument !== "") {
    say.warn(
      "a key on the command line is seen by other users and kept by the shell's history; better: `ngrokd set-api-key -` or no argument",
    );
    return argument;
  }
  if (!process.stdin.isTTY) {
    throw new NgrokdError("usage", "No API key was given", {
      hint: "run `ngrokd set-api-key` on a terminal to be asked, or `ngrokd set-api-key - < key-file`",
    });
  }
  const { default: password } = await import("@inquirer/password");
  return await password({ message: "ngrok API key (not shown):", mask: false }, { output: process.stderr }).catch((cause: unknown) => {
    throw new NgrokdError("cancelled", "No API key was given", { cause });
  });
}

/** A key fits on a line; more than this is a mistake. */
const stdinLimit = 64 * 1024;

async function readStdin(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.length > stdinLimit) throw new NgrokdError("usage", "Standard input is too long to be an API key");
  }
  return text;
}
