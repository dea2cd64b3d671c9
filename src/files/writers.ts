import type { Stats } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import process from "node:process";

/** A file, a folder or a link on the way to a file. */
export interface Waypoint {
  readonly path: string;
  readonly kind: "file" | "folder" | "link";
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  /** The file itself, or the folder in which it is missing. */
  readonly isLast: boolean;
}

/** The user and the group that the file serves. */
export interface Self {
  readonly uid: number;
  readonly gid: number;
}

export interface Writer {
  /** The place where the right is. */
  readonly path: string;
  /** The user or group with the right, and the place. */
  readonly why: string;
  /** The command that ends it, for root. */
  readonly fix: string;
}

/**
 * Pure: the first user or group on the way, beside root and `self`, who can
 * change a file; undefined if there is none. In a sticky folder a user can
 * replace only own files, but create missing ones. A right of the group counts
 * also for root's group: with an access control list, it stands for all that
 * the list allows.
 */
export function writerOf(way: readonly Waypoint[], self: Self): Writer | undefined {
  for (const { path, kind, uid, gid, mode, isLast } of way) {
    const what = `the ${kind} "${path}"`;
    if (uid !== 0 && uid !== self.uid) {
      const why = `${what} belongs to another user (uid ${uid})`;
      return { path, why, fix: `chown ${kind === "link" ? "-h " : ""}root ${shellWord(path)}` };
    }
    const sticky = kind === "folder" && (mode & 0o1000) !== 0 && !isLast;
    if (kind === "link" || sticky) continue;
    const ownGroup = self.uid !== 0 && gid === self.gid;
    const who =
      (mode & 0o002) !== 0
        ? "every user"
        : (mode & 0o020) !== 0 && !ownGroup
          ? `the group ${gid}`
          : undefined;
    if (who === undefined) continue;
    const write = kind === "folder" ? "write in" : "write";
    const why = `${who} may ${write} ${what} (mode ${(mode & 0o7777).toString(8)})`;
    return { path, why, fix: `chmod go-w ${shellWord(path)}` };
  }
  return undefined;
}

const shellWord = (path: string): string =>
  /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;

/** The user and the group of this process. */
export const self = (): Self => ({ uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 });

/** A file or folder whose content the daemon trusts. */
export interface Trusted {
  readonly kind: "configuration" | "state" | "CA" | "hosts file";
  readonly path: string;
}

/** A trusted file that others can change. */
export interface Exposed extends Omit<Writer, "path"> {
  readonly kind: Trusted["kind"];
  /** The trusted file, and the place where the right is. */
  readonly path: string;
  readonly at: string;
}

/**
 * The trusted files that others can change; each cause once. Of a folder its
 * files count too. What is missing or cannot be seen is passed over. Never
 * rejects.
 */
export async function exposed(trusted: readonly Trusted[], self: Self): Promise<Exposed[]> {
  const found = new Map<string, Exposed>();
  for (const { kind, path } of trusted)
    for (const file of [path, ...(await filesIn(path))]) {
      const writer = writerOf(await wayTo(file), self);
      if (writer === undefined || found.has(writer.path)) continue;
      const { path: at, why, fix } = writer;
      found.set(at, { kind, path: file, at, why, fix });
    }
  return [...found.values()];
}

/** Pure: for the log and for errors. */
export const exposedText = ({ kind, path, why }: Exposed): string =>
  `Other users can change the ${kind} "${path}": ${why}`;

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map(({ name }) => join(folder, name));
}

/** Everything that the system passes on its way to a file, the file first. */
export async function wayTo(path: string): Promise<Waypoint[]> {
  const way = new Map<string, Waypoint>();
  const names = ["/", ...namesOf(resolve(path))];
  let here = "/";
  for (let links = 0; links <= mostLinks; ) {
    const name = names.shift();
    const point = name === undefined ? undefined : await waypoint(join(here, name));
    if (point === undefined) break;
    way.set(point.path, point);
    if (point.kind !== "link") here = point.path;
    else {
      links += 1;
      const target = await readlink(point.path).catch(() => ".");
      if (isAbsolute(target)) here = "/";
      names.unshift(...namesOf(target));
    }
  }
  return [...way.values()].reverse().map((point) => ({ ...point, isLast: point.path === here }));
}

/** As many as Linux follows. */
export const mostLinks = 40;

const namesOf = (path: string): string[] =>
  path.split("/").filter((name) => name !== "" && name !== ".");

async function waypoint(path: string): Promise<Waypoint | undefined> {
  const info: Stats | undefined = await lstat(path).catch(() => undefined);
  if (info === undefined) return undefined;
  const { uid, gid, mode } = info;
  const kind = info.isSymbolicLink() ? "link" : info.isDirectory() ? "folder" : "file";
  return { path, kind, uid, gid, mode, isLast: false };
}
