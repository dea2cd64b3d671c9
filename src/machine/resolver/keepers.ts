import { constants, readFileSync, statSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import {
  fileError,
  readBytesIfThere,
  readFileIfThere,
  removeFile,
  writeFileAtomic,
} from "../../files/atomic.ts";
import { realFile } from "../../files/real-file.ts";
import { forgetChange, recordChange, recordFile } from "../../journal/journal.ts";
import { isNgrokdError, NgrokdError } from "../../model/error.ts";
import { carryTail } from "../hosts/tail.ts";
import { hasLink, usualPlaces } from "./facts.ts";
import { withoutServer, withServer } from "./resolv-conf.ts";
import {
  resolvedCommands,
  revertCommand,
  saysWanted,
  type Wanted,
  type Words,
} from "./resolved.ts";
import type { Run } from "./run.ts";
import { dnsmasqFile, dnsmasqFiles, fileMarker, resolverFiles } from "./zone-files.ts";

/** Keeps one kind of setting of this machine's resolver. */
export interface Keeper {
  /**
   * Makes the setting as wanted, and looks at the machine first. Returns
   * whether anything was changed. Rejects with NgrokdError.
   */
  put(wanted: Wanted): Promise<boolean>;
  /** Takes the setting back if it is there. Rejects with NgrokdError. */
  take(): Promise<boolean>;
  /** A cheap look: a text that differs when the setting may be gone. */
  stamp(): string;
}

interface ResolvedOptions {
  readonly run: Run;
  /** The path of resolvectl. */
  readonly program: string;
  readonly stateFolder: string;
  readonly links?: string;
}

/** systemd-resolved, by resolvectl. The settings are those of one link. */
export function resolvedKeeper(
  link: string,
  { run, program, stateFolder, links = usualPlaces.links }: ResolvedOptions,
): Keeper {
  const change = { kind: "resolved", path: join("/sys/class/net", link) } as const;
  let index = "";
  const call = async (words: Words): Promise<string> => {
    const { ok, out, error } = await run(program, words);
    if (ok) return out;
    throw new NgrokdError(
      "state",
      `Cannot set systemd-resolved by "${words.join(" ")}": ${error}`,
      {
        hint: "does systemd-resolved run, and may ngrokd ask it over D-Bus?",
      },
    );
  };
  return {
    async put(wanted) {
      const [dns, domain] = [await call(["dns", link]), await call(["domain", link])];
      index = /^Link (\d+) /m.exec(dns)?.[1] ?? "";
      if (saysWanted(dns, domain, wanted)) return false;
      await recordChange(stateFolder, change);
      // An older systemd lacks some of the settings, and works without them.
      let failure: unknown;
      for (const words of resolvedCommands(link, wanted))
        await call(words).catch((error: unknown) => {
          failure ??= error;
        });
      if (failure !== undefined) throw failure;
      return true;
    },
    async take() {
      // The settings of a link that is gone are gone with it.
      const isThere = hasLink(textNow(links), link);
      if (isThere) await call(revertCommand(link));
      await forgetChange(stateFolder, change);
      return isThere;
    },
    // systemd-resolved keeps the settings of a link in a file of this name.
    stamp: () =>
      [hasLink(textNow(links), link), textNow(`/run/systemd/resolve/netif/${index}`)].join("\n"),
  };
}

export interface FilesKeeperOptions {
  readonly folder: string;
  readonly filesFor: (wanted: Wanted) => ReadonlyMap<string, string>;
  /** Whether a file of this name can be ours. */
  readonly isOurs: (name: string) => boolean;
  readonly stateFolder: string;
  /** Tells the program that reads them. Rejects with NgrokdError. */
  readonly changed: () => Promise<void>;
}

/** Files of our own in a folder of others; the first line marks them. */
export function filesKeeper(options: FilesKeeperOptions): Keeper {
  const { folder, filesFor, stateFolder, changed } = options;
  // Also by an earlier call, or a killed run, that could not tell the program.
  let touched = true;
  const put = async (files: ReadonlyMap<string, string>): Promise<boolean> => {
    for (const path of await oursIn(options)) {
      if (files.has(path)) continue;
      await removeFile(path);
      await forgetChange(stateFolder, { kind: "file", path });
      touched = true;
    }
    for (const [path, text] of files) {
      const before = await readFileIfThere(path);
      if (before === text) continue;
      if (before !== undefined && !before.startsWith(fileMarker))
        throw new NgrokdError("refused", `Cannot write "${path}": another program's file is there`);
      await recordFile(stateFolder, path, text);
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      await writeFileAtomic(path, text, { mode: 0o644 });
      touched = true;
    }
    if (!touched) return false;
    await changed();
    touched = false;
    return true;
  };
  return {
    put: (wanted) => put(filesFor(wanted)),
    take: () => put(new Map()),
    stamp: () => `${mtimeOf(folder)}`,
  };
}

async function oursIn({ folder, isOurs }: FilesKeeperOptions): Promise<string[]> {
  const names = (await readdir(folder).catch((): string[] => [])).filter(isOurs);
  const paths = names.map((name) => join(folder, name));
  const texts = await Promise.all(paths.map((path) => readFile(path, "utf8").catch(() => "")));
  return paths.filter((_, i) => texts[i]?.startsWith(fileMarker));
}

/** /etc/resolver of macOS. */
export const folderKeeper = (folder: string, stateFolder: string): Keeper =>
  filesKeeper({
    folder,
    filesFor: (wanted) => resolverFiles(folder, wanted),
    isOurs: () => true,
    stateFolder,
    changed: async () => undefined,
  });

const nmcli = "/usr/bin/nmcli";

/** The dnsmasq that NetworkManager runs, which reads its files at its start. */
export const dnsmasqKeeper = (folder: string, stateFolder: string, run: Run): Keeper =>
  filesKeeper({
    folder,
    filesFor: (wanted) => dnsmasqFiles(folder, wanted),
    isOurs: (name) => name === dnsmasqFile,
    stateFolder,
    async changed() {
      const { ok, error } = await run(nmcli, ["general", "reload", "dns-full"]);
      if (ok) return;
      throw new NgrokdError("state", `Cannot make NetworkManager read its dnsmasq files: ${error}`);
    },
  });

/** Our section in resolv.conf. */
export function resolvConfKeeper(path: string, stateFolder: string): Keeper {
  const change = { kind: "resolv-conf", path } as const;
  const take = async (): Promise<boolean> => {
    const changed = await editResolvConf(path, withoutServer);
    await forgetChange(stateFolder, change);
    return changed;
  };
  return {
    async put({ server }) {
      if (server.port !== 53) {
        // On port 53, which our section names, nothing listens any more.
        await take();
        throw new NgrokdError("config", `Cannot name port ${server.port} in "${path}"`, {
          hint: "a line of this file has no port: set dns.listen to port 53",
        });
      }
      return await editResolvConf(
        path,
        (text) => withServer(text, server.host),
        () => recordChange(stateFolder, change),
      );
    },
    take,
    stamp: () => textNow(path),
  };
}

/**
 * Replaces resolv.conf by what `edit` makes of it. Another program's change in
 * the meantime wins, and the edit is made again.
 */
export async function editResolvConf(
  link: string,
  edit: (text: string) => ReturnType<typeof withoutServer>,
  before: () => Promise<void> = async () => undefined,
): Promise<boolean> {
  const action = `Cannot edit "${link}"`;
  const path = await realFile(link).catch((error: unknown) => {
    throw fileError(action, error);
  });
  for (let attempt = 0; ; attempt += 1) {
    // A text that cannot be read is not an empty one.
    const bytes = path === undefined ? undefined : await readBytesIfThere(path);
    const text = bytes?.toString("latin1") ?? "";
    const edited = edit(text);
    if (!edited.ok) throw new NgrokdError("refused", `${action}: ${edited.reason}`);
    if (edited.value === text) return false;
    if (path === undefined)
      throw new NgrokdError("refused", `${action}: it is a link to a file that does not exist`);
    await checkOwner(path);
    await before();
    const same = (): boolean => textNow(path, "latin1") === text;
    try {
      const content = Buffer.from(edited.value, "latin1");
      await replace(path, { content, old: bytes ?? Buffer.alloc(0), same });
      return true;
    } catch (error) {
      if (attempt === 2 || same()) throw error;
    }
  }
}

/**
 * `old` is the known content. A program that has opened the file before, and
 * perhaps emptied it, writes to it even later.
 */
async function replace(
  path: string,
  { content, old, same }: { content: Buffer; old: Buffer; same: () => boolean },
): Promise<void> {
  const isReplaced = !isMount(path);
  const rename = isReplaced ? { rename: renameIf(same) } : {};
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const replaced = isReplaced ? await open(path, flags).catch(() => undefined) : undefined;
  try {
    await writeFileAtomic(path, content, { mode: await modeOf(path), ...rename });
    if (replaced !== undefined) await carryTail(replaced, old.length, path);
  } catch (error) {
    // The service may not make files in /etc, and may write those there are.
    if (!isNgrokdError(error, "permission") || !same()) throw error;
    await overwrite(path, content).catch(() => {
      throw error;
    });
  } finally {
    await replaced?.close();
  }
}

/** In one write, so that a reader sees the old text or the new one. */
async function overwrite(path: string, content: Buffer): Promise<void> {
  const file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW);
  try {
    await file.write(content, 0, content.length, 0);
    await file.truncate(content.length);
    await file.sync();
  } finally {
    await file.close();
  }
}

const renameIf =
  (same: () => boolean) =>
  async (from: string, to: string): Promise<void> => {
    if (!same()) throw new NgrokdError("state", `"${to}" was changed by another program`);
    await rename(from, to);
  };

/** A file that is mounted alone, as in a container, cannot be replaced. */
function isMount(path: string): boolean {
  return textNow("/proc/self/mountinfo")
    .split("\n")
    .some((line) => line.split(" ")[4] === path);
}

async function modeOf(path: string): Promise<number> {
  return await stat(path).then(
    ({ mode }) => mode & 0o777,
    () => 0o644,
  );
}

/** A file or folder that another user may change is not ours to follow. */
async function checkOwner(path: string): Promise<void> {
  for (const place of [path, dirname(path)]) {
    const found = await stat(place).catch(() => undefined);
    const isSafe =
      found === undefined ||
      ([0, process.getuid?.() ?? 0].includes(found.uid) && (found.mode & 0o022) === 0);
    if (isSafe) continue;
    throw new NgrokdError("refused", `Cannot edit "${path}": other users may change "${place}"`);
  }
}

function textNow(path: string, encoding: BufferEncoding = "utf8"): string {
  try {
    return readFileSync(path, encoding);
  } catch {
    return "";
  }
}

function mtimeOf(folder: string): string {
  try {
    const { mtimeMs, ino } = statSync(folder);
    return `${mtimeMs} ${ino}`;
  } catch {
    return "";
  }
}
