import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import process from "node:process";
import { type LoadOptions, loadConfig } from "../config/load.ts";
import type { Loaded } from "../config/loaded.ts";
import { chosenProfile } from "../config/profiles.ts";
import { readFileIfThere } from "../files/atomic.ts";
import { profileFolder, stateFolderOf } from "../files/state-folder.ts";
import { self, wayTo, writerOf } from "../files/writers.ts";
import { isNgrokdError, NgrokdError } from "../model/error.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** The folder of a user's own identity; see the XDG base directories. */
export const userStateFolder = (env: Env): string =>
  join(baseFolder(env.XDG_STATE_HOME, env, ".local/state"), "ngrokd");

/** The configuration of a user, beside the machine's. */
export const userConfigPath = (env: Env): string =>
  join(baseFolder(env.XDG_CONFIG_HOME, env, ".config"), "ngrokd", "config.yml");

/** A relative path does not count, as the specification says. */
const baseFolder = (named: string | undefined, env: Env, usual: string): string =>
  named !== undefined && isAbsolute(named) ? named : join(env.HOME || homedir(), usual);

/** The files of an identity in a folder, as settings name them. */
export const identitySettings = (folder: string): { client_cert: string; client_key: string } => ({
  client_cert: join(folder, "tls.crt"),
  client_key: join(folder, "tls.key"),
});

export interface UserSettings {
  readonly env: Env;
  /** The value of `--config`. */
  readonly file: string | undefined;
  /** The value of `--ca`. */
  readonly ca: string | undefined;
  /** Where the identity is kept. */
  readonly stateFolder: string;
}

/**
 * The settings of a user without root: those of the named file, of the user's
 * own file, or of the machine's as far as this user may read it. The identity
 * is never the machine's. Rejects as {@link loadConfig} does.
 */
export async function userSettings(options: UserSettings): Promise<Loaded> {
  const { env, ca, stateFolder } = options;
  const { client_cert, client_key } = identitySettings(stateFolder);
  const flags: LoadOptions["flags"] = {
    "server.client_cert": client_cert,
    "server.client_key": client_key,
    "server.ingress_ca": ca,
  };
  return await loadConfig({ file: await fileOf(options), env, flags }).catch(
    async (error: unknown) => {
      // The machine's file has root's key, so others may not read it.
      const isNamed = Boolean(options.file || env.NGROKD_CONFIG);
      if (isNamed || !isNgrokdError(error, "permission")) throw error;
      return await loadConfig({ file: "/dev/null", env, flags });
    },
  );
}

/**
 * The settings of one profile, whose identity is in a folder of this user's
 * too. Throws NgrokdError `usage` as `chosenProfile` does.
 */
export function loadedProfile(whole: Loaded, profile: string | undefined): Loaded {
  const loaded = chosenProfile(whole, profile);
  if (loaded.profile === undefined) return loaded;
  const folder = profileFolder(stateFolderOf(whole.config.server), loaded.profile);
  const server = { ...loaded.config.server, ...identitySettings(folder) };
  return { ...loaded, config: { ...loaded.config, server } };
}

async function fileOf({ file, env }: UserSettings): Promise<string | undefined> {
  if (file || env.NGROKD_CONFIG) return file;
  const own = userConfigPath(env);
  const isUsable = (await readFileIfThere(own)) !== undefined && !(await strangerAt(own));
  return isUsable ? own : undefined;
}

/**
 * Rejects with NgrokdError `permission` if this is root, and the folder is in
 * the hands of another user, as with sudo that keeps HOME.
 */
export async function checkStateFolder(folder: string): Promise<void> {
  const stranger = await strangerAt(folder);
  if (stranger === undefined) return;
  throw new NgrokdError("permission", `Cannot keep an identity in "${folder}": ${stranger}`, {
    hint: "run this without sudo, or set XDG_STATE_HOME to a folder of root's",
  });
}

/** Why root must not use a path; undefined for all other users. */
async function strangerAt(path: string): Promise<string | undefined> {
  return process.getuid?.() === 0 ? writerOf(await wayTo(path), self())?.why : undefined;
}
