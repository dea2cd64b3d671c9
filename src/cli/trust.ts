import { resolve } from "node:path";
import { loadConfig } from "../config/load.ts";
import { ensureWritableFolder } from "../files/atomic.ts";
import { stateFolderOf } from "../files/state-folder.ts";
import { ngrokCa, trustFolder } from "../ingress/ngrok-ca.ts";
import { type InstalledCa, installTrust } from "../ingress/trust-install.ts";
import { recordFile } from "../journal/journal.ts";
import { reasonOf } from "../model/error.ts";
import { createFetch } from "../net/fetch.ts";
import { command, type Io } from "./command.ts";
import { metText, trustShown } from "./trust-shown.ts";

export default command({
  name: "trust",
  description: "Trust ngrok's ingress CA, after checking its fingerprint",
  args: {
    source: {
      type: "positional",
      required: false,
      description: "A PEM file, or an https URL of one; without it, the CA that the ingress shows",
    },
    folder: {
      type: "string",
      valueHint: "folder",
      default: trustFolder,
      description: "The folder of the trusted CAs",
    },
    force: {
      type: "boolean",
      description: "Trust it even if it is not the CA that ngrok has published",
    },
  },
  examples: [
    "sudo ngrokd trust",
    `sudo ngrokd trust ${ngrokCa.url}`,
    "sudo ngrokd trust ngrok-ca.crt",
  ],
  async run(args, io) {
    if (args.source === undefined) {
      const met = await io.say.awaiting("Looking at the ingress", () =>
        trustShown(args.config, io),
      );
      io.say.result(met, metText(met));
      return undefined;
    }
    const fetched = /^https?:/i.test(args.source);
    const way = fetched
      ? { fetch: createFetch(io.net, (await loadConfig({ file: args.config, env: io.env })).proxy) }
      : {};
    const { source, folder, force = false } = args;
    const before = (path: string, content: string): Promise<void> =>
      note(path, content, args.config, io);
    const installed = await io.say.awaiting(`Reading ${source}`, () =>
      installTrust({ source, folder, force, before, ...way }),
    );
    io.say.result(installed, () => installed.map(installedText).join("\n"));
    return undefined;
  },
});

/**
 * Records the file for `ngrokd undo`. The CA is installed even if that fails,
 * since the user has named the file and can find it again.
 */
async function note(
  path: string,
  content: string,
  file: string | undefined,
  { env, say }: Io,
): Promise<void> {
  try {
    const { config } = await loadConfig({ file, env });
    const stateFolder = stateFolderOf(config.server);
    await ensureWritableFolder(stateFolder);
    await recordFile(stateFolder, resolve(path), content);
  } catch (error) {
    say.warn(`\`ngrokd undo\` cannot remove "${path}": ${reasonOf(error)}`);
  }
}

function installedText({ path, subject, fingerprint256, published, changed }: InstalledCa): string {
  const what = published
    ? `ngrok's ingress CA (${subject}); its SHA-256 is the published one`
    : `${subject}, which is NOT the CA that ngrok has published; SHA-256 ${fingerprint256}`;
  if (!changed) return `Already trusted: ${what}. It is in ${path}.`;
  const use = "a running daemon uses it from its next poll on";
  return `Now trusted: ${what}. It is in ${path}; ${use}.`;
}
