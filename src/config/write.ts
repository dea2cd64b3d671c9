import { lstat, open, readlink, realpath } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { nameAside } from "../files/aside.ts";
import { ensureWritableFolder, fileError, writeFileAtomic } from "../files/atomic.ts";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError } from "../model/error.ts";
import { defaultProfile } from "../model/profile.ts";
import { readConfigFile } from "./load.ts";
import { wrongValues } from "./parse.ts";
import { needsRoot } from "./problem.ts";
import { configSchema, interpreted, type SettingKey } from "./schema.ts";
import { setValueInText, type Value } from "./set-in-text.ts";
import { configTemplate } from "./template.ts";
import { valueAt, withValueAt } from "./value-at.ts";

/** A setting, and the value that it shall have. */
export interface Wish {
  readonly key: SettingKey;
  readonly value: Value;
}

/**
 * Changes one setting of a profile in the configuration file, and keeps every
 * other character of it. The file is replaced atomically, through symbolic
 * links, and gets mode 0600. If there is no file, it is created from the
 * template (its folder with mode 0700). Rejects with NgrokdError `config` (the
 * value is not allowed, or the file has no safe place for it), `permission` or
 * `state`.
 */
export const setConfigValue = (
  path: string,
  key: SettingKey,
  value: Value,
  profile = defaultProfile,
): Promise<void> => setConfigValues(path, [{ key, value }], profile);

/** The same for several settings, all of them or none. */
export async function setConfigValues(
  path: string,
  wishes: readonly Wish[],
  profile = defaultProfile,
): Promise<void> {
  const target = await targetOf(path);
  const old = await readConfigFile(target);
  const text = withWishes(old?.text, wishes, path, profile);
  await writeConfig(target, text, old !== undefined);
}

/** Writes the text of a configuration, whose links have been followed. */
async function writeConfig(target: string, text: string, exists: boolean): Promise<void> {
  // The file may be a mount of its own in a read-only folder.
  if (!exists) await ensureWritableFolder(dirname(target), 0o700).catch(needsRoot);
  await writeFileAtomic(target, text, { mode: 0o600 }).catch(needsRoot);
}

/**
 * Pure: the text of a configuration with the settings as wished; without a
 * text, the template's. Throws NgrokdError `config`.
 */
export function withWishes(
  text: string | undefined,
  wishes: readonly Wish[],
  path: string,
  profile = defaultProfile,
): string {
  const below = profile === defaultProfile ? [] : ["profiles", profile];
  return wishes.reduce((text, { key, value }) => {
    const keyPath = [...below, ...key.split(".")];
    const wanted = withValueAt({}, keyPath, value);
    const [wrong] = wrongValues(wanted, () => ({ source: path }));
    if (wrong !== undefined) throw new NgrokdError("config", `Cannot set ${key}: ${wrong.message}`);
    const canonical = valueAt(configSchema.parse(wanted, interpreted), keyPath) as Value;
    const newText = setValueInText(text, keyPath, canonical);
    if (newText.ok) return newText.value;
    const hint = "set it by hand, with `ngrokd config edit`";
    throw new NgrokdError("config", `Cannot set ${key} in "${path}": ${newText.reason}`, { hint });
  }, text ?? configTemplate());
}

/**
 * Copies a configuration that cannot be used to a file beside it, and puts the
 * template in its place. Returns the path of the copy. Rejects with NgrokdError
 * `permission` or `state`.
 */
export async function setConfigAside(path: string, now: Date): Promise<string> {
  const target = await targetOf(path);
  const old = await readConfigFile(target);
  const aside = await nameAside(target, now);
  await writeFileAtomic(aside, old?.text ?? "", { mode: 0o600 }).catch(needsRoot);
  await writeConfig(target, configTemplate(), old !== undefined);
  return aside;
}

/**
 * Writes the template with mode 0600 (its folder 0700). Returns false and
 * writes nothing if `path` exists. Rejects with NgrokdError `permission` or
 * `state`.
 */
export async function createConfig(path: string): Promise<boolean> {
  await ensureWritableFolder(dirname(path), 0o700).catch(needsRoot);
  const file = await open(path, "wx", 0o600).catch((error: unknown) => {
    if (errnoOf(error) === "EEXIST") return undefined;
    throw fileError(`Cannot write "${path}"`, error);
  });
  if (file === undefined) return false;
  await file.close();
  // The empty file reserves the path. If a crash leaves it empty, it is a valid
  // configuration.
  await writeFileAtomic(path, configTemplate(), { mode: 0o600 });
  return true;
}

/**
 * The target of a chain of symbolic links, also if no file exists there.
 * Rejects with NgrokdError `state` or `permission`.
 */
export async function targetOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT")
      return needsRoot(fileError(`Cannot find the configuration "${path}"`, error));
    const link = await lstat(path).catch(() => undefined);
    return link?.isSymbolicLink()
      ? await targetOf(resolve(dirname(path), await readlink(path)))
      : path;
  }
}
