import type { Rule, WrittenRule } from "./access.ts";

/** The users and groups of this machine. */
export interface Accounts {
  /** The number of a user; a number counts as itself. */
  readonly user: (name: string) => number | undefined;
  readonly nameOf: (uid: number) => string | undefined;
  /** The numbers of the members; undefined if there is no such group. */
  readonly members: (group: string) => readonly number[] | undefined;
}

/**
 * Pure: reads the texts of /etc/passwd and /etc/group. A group also has the
 * users whose first group it is.
 */
export function accountsIn(passwd: string, group: string): Accounts {
  const users = new Map<string, number>();
  const names = new Map<number, string>();
  const byGroup = new Map<number, number[]>();
  for (const [name = "", , uidText = "", gidText = ""] of rowsIn(passwd)) {
    const [uid, gid] = [numberIn(uidText), numberIn(gidText)];
    if (name === "" || uid === undefined || gid === undefined) continue;
    if (!users.has(name)) users.set(name, uid);
    if (!names.has(uid)) names.set(uid, name);
    const others = byGroup.get(gid);
    if (others === undefined) byGroup.set(gid, [uid]);
    else others.push(uid);
  }
  const groups = new Map<string, readonly number[]>();
  for (const [name = "", , gidText = "", list = ""] of rowsIn(group)) {
    const gid = numberIn(gidText);
    if (name === "" || gid === undefined) continue;
    const listed = list.split(",").flatMap((member) => users.get(member.trim()) ?? []);
    const members = [...new Set([...(byGroup.get(gid) ?? []), ...listed])];
    for (const key of [name, gidText]) if (!groups.has(key)) groups.set(key, members);
  }
  return {
    user: (name) => users.get(name) ?? numberIn(name),
    nameOf: (uid) => names.get(uid),
    members: (name) => groups.get(name),
  };
}

const rowsIn = (text: string): string[][] => text.split("\n").map((line) => line.split(":"));

/** The number of a user or of a group. The highest one means none. */
const numberIn = (text: string): number | undefined =>
  /^\d{1,10}$/.test(text) && Number(text) < 0xffffffff ? Number(text) : undefined;

/**
 * Pure: the rules with the numbers of their users. `unknown` has a sentence for
 * each user or group that this machine does not have. A rule admits no client
 * for such a name.
 */
export function rulesOf(
  written: readonly WrittenRule[],
  { user, members }: Accounts,
): { readonly rules: readonly Rule[]; readonly unknown: readonly string[] } {
  const unknown: string[] = [];
  const rules = written.map(({ endpoint, users, groups, from = [] }, i): Rule => {
    const missing = (what: string, name: string, file: string): readonly number[] => {
      unknown.push(
        `access.rules[${i + 1}] names the ${what} "${name}", which is not in ${file}; use its number if another program knows it`,
      );
      return [];
    };
    const byName = users?.flatMap((name) => user(name) ?? missing("user", name, "/etc/passwd"));
    const byGroup = groups?.flatMap(
      (name) => members(name) ?? missing("group", name, "/etc/group"),
    );
    const anybody = byName === undefined && byGroup === undefined;
    const uids = anybody ? undefined : new Set([...(byName ?? []), ...(byGroup ?? [])]);
    const [host = "", port] = endpoint.split(":");
    return {
      number: i + 1,
      host,
      port: port === undefined ? undefined : Number(port),
      uids,
      from,
    };
  });
  return { rules, unknown };
}
