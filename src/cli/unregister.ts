import { createApi } from "../cloud/api.ts";
import {
  identityPaths,
  operatorIdIn,
  readIdentityFiles,
  removeIdentity,
} from "../cloud/identity-files.ts";
import { isUnknownToNgrok } from "../cloud/refusal.ts";
import { type Loaded, loadConfig } from "../config/load.ts";
import { chosenProfile } from "../config/profiles.ts";
import { parseApiKey } from "../model/api-key.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { createFetch } from "../net/fetch.ts";
import { userAgent } from "../version.ts";
import { command, type Io, profileArg } from "./command.ts";
import { confirm } from "./confirm.ts";
import { withoutDaemon } from "./without-daemon.ts";

export default command({
  name: "unregister",
  description: "Delete this machine's operator at ngrok, and its key and certificate here",
  args: {
    ...profileArg,
    yes: { type: "boolean", alias: "y", description: "Do it without asking" },
    "local-only": {
      type: "boolean",
      description: "Leave the operator in the account, for example if its API key is lost",
    },
  },
  examples: ["sudo ngrokd unregister", "sudo ngrokd unregister --yes"],
  async run(args, io) {
    const whole = await loadConfig({
      file: args.config,
      env: io.env,
      flags: { "server.socket_path": args.socket },
    });
    const loaded = chosenProfile(whole, args.profile);
    const { socket_path: socket } = loaded.config.server;
    const hint = "stop it first: it would register this machine again";
    const localOnly = args["local-only"] === true;
    await withoutDaemon(io.net, socket, hint, () =>
      unregister(loaded, { localOnly, yes: args.yes === true }, io),
    );
    return undefined;
  },
});

async function unregister(
  loaded: Loaded,
  { localOnly, yes }: { localOnly: boolean; yes: boolean },
  io: Io,
): Promise<void> {
  const paths = identityPaths(loaded.config.server);
  const files = await readIdentityFiles(paths);
  const operatorId = operatorIdIn(files);
  if (Object.values(files).every((text) => text === undefined)) {
    return io.say.result(
      { unregistered: false, operator_id: null },
      `This machine is not registered: there is no "${paths.key}".`,
    );
  }
  const what =
    operatorId === undefined
      ? "the key and certificate"
      : `the operator ${operatorId} with its key and certificate`;
  const where = localOnly ? " from this machine (the operator itself stays in the account)" : "";
  if (!yes)
    await confirm(
      `Delete ${what}${where}?`,
      `ngrokd unregister${localOnly ? " --local-only" : ""} --yes`,
      io,
    );
  // The operator goes first: without the identity, it would stay at ngrok for
  // ever. If only the operator was deleted, a second try removes the identity.
  const remote =
    operatorId === undefined || localOnly ? "kept" : await deleteOperator(operatorId, loaded, io);
  await removeIdentity(paths);
  const rest =
    operatorId === undefined ? "" : ` The operator ${operatorId} is still in the account.`;
  const told = {
    deleted: `Deleted the operator ${operatorId}, and this machine's key and certificate.`,
    gone:
      `The operator ${operatorId} was gone already; ` +
      "deleted this machine's key and certificate.",
    kept: `Deleted this machine's key and certificate.${rest}`,
  }[remote];
  io.say.result(
    { unregistered: true, operator_id: operatorId ?? null, operator: remote },
    `${told} \`ngrokd serve\` would register this machine again.`,
  );
}

async function deleteOperator(
  operatorId: string,
  { config, path, proxy }: Loaded,
  { net, say }: Io,
): Promise<"deleted" | "gone"> {
  const alone =
    "`ngrokd unregister --local-only` removes the files on this machine, " +
    "and leaves the operator in the account";
  const key = parseApiKey(config.api.key);
  if (!key.ok) {
    throw new NgrokdError(
      "state",
      `Cannot delete the operator ${operatorId}: there is no API key in "${path}", ` +
        "and nothing was changed",
      {
        hint: alone,
      },
    );
  }
  const api = createApi({
    url: config.api.url,
    key: key.value,
    userAgent: userAgent(),
    fetch: createFetch(net, proxy),
  });
  try {
    await say.awaiting("Deleting the operator at ngrok", () => api.deleteOperator(operatorId));
    return "deleted";
  } catch (error) {
    if (isUnknownToNgrok(error)) return "gone";
    const code = error instanceof NgrokdError ? error.code : "api";
    const hint =
      error instanceof NgrokdError && error.hint !== undefined ? `${error.hint}\n${alone}` : alone;
    throw new NgrokdError(code, `${reasonOf(error)}; nothing was changed`, { cause: error, hint });
  }
}
