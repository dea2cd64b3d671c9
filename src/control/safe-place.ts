import { readlink, realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { mostLinks, type Self, self, type Waypoint, wayTo } from "../files/writers.ts";
import { NgrokdError } from "../model/error.ts";

/** root and daemon: macOS gives /var/run to the second. */
const systemGroups: readonly number[] = [0, 1];

/**
 * Pure: other users who can put another file in the socket's place, and how.
 * Undefined if there are none. In a sticky folder only an owner can rename a
 * file, so folders above may be like /tmp. The last folder may not: there other
 * users could create files under the names that the daemon uses.
 */
export function strangersIn(waypoints: readonly Waypoint[], self: Self): string | undefined {
  for (const { path, kind, uid, gid, mode, isLast } of waypoints) {
    const what = `the ${kind} "${path}"`;
    if (uid !== 0 && uid !== self.uid) return `${what} belongs to another user (uid ${uid})`;
    if (kind === "link" || ((mode & 0o1000) !== 0 && !isLast)) continue;
    const bits = (mode & 0o7777).toString(8);
    if ((mode & 0o002) !== 0) return `every user may write in ${what} (mode ${bits})`;
    const groupIsOurs = gid === self.gid || systemGroups.includes(gid);
    if ((mode & 0o020) !== 0 && !groupIsOurs)
      return `the group ${gid} may write in ${what} (mode ${bits})`;
  }
  return undefined;
}

/**
 * Rejects with `permission` if another user can put a file in the place of the
 * control socket, or make root follow a link there. Missing folders are no
 * concern of this check.
 */
export async function checkPlace(socket: string): Promise<void> {
  const strangers = strangersIn(await wayToSocket(socket), self());
  if (strangers === undefined) return;
  throw new NgrokdError("permission", `Cannot use the control socket "${socket}": ${strangers}`, {
    hint:
      "choose a folder that root alone may write, such as /run/ngrokd, " +
      "with `server.socket_path` or --socket",
  });
}

/**
 * Rejects with `permission` if the socket or its place belongs to another user
 * than root and this one: a request may carry the API key.
 */
export async function checkSocket(socket: string): Promise<void> {
  await checkPlace(socket);
  const owner = (await stat(socket).catch(() => undefined))?.uid;
  if (owner === undefined || owner === 0 || owner === self().uid) return;
  throw new NgrokdError(
    "permission",
    `Cannot use the control socket "${socket}": it belongs to another user (uid ${owner})`,
    { hint: `if that daemon is yours, run this command as its user: sudo -u '#${owner}' ngrokd …` },
  );
}

/** All folders and links on the way; the socket may be a link, too. */
async function wayToSocket(socket: string): Promise<Waypoint[]> {
  const found: Waypoint[] = [];
  let at = resolve(socket);
  for (let links = 0; links <= mostLinks; links += 1) {
    const folder = dirname(at);
    const real = await realpath(folder).catch(() => folder);
    for (const point of await wayTo(folder)) found.push({ ...point, isLast: point.path === real });
    const target = await readlink(at).catch(() => undefined);
    if (target === undefined) break;
    at = resolve(real, target);
  }
  return found;
}
