/** The group whose members may use the control socket, as root may. */
export const socketGroup = "ngrokd";

/** Pure: a name that is safe as an argument of a command. */
export const isUserName = (text: string): boolean => /^[a-z_][a-z0-9_.-]{0,31}\$?$/i.test(text);

/**
 * Pure: what a user can do who may not use the control socket. `name` is the
 * user; `isMember` if the group has the user, and this session is older.
 */
export function accessHint(name: string | undefined, isMember: boolean): string {
  if (isMember)
    return `log in again: this session is older than your membership in the group "${socketGroup}"`;
  const who = name !== undefined && isUserName(name) ? name : "NAME";
  return (
    `use sudo, or join the group "${socketGroup}": ` +
    `\`sudo ngrokd service install --group-add ${who}\`, and log in again`
  );
}

/** Pure: the name of a user in the text of /etc/passwd. */
export const userIn = (text: string, uid: number): string | undefined =>
  text
    .split("\n")
    .map((line) => line.split(":"))
    .find(([, , number]) => number === String(uid))?.[0];

/** Pure: a group in the text of /etc/group. */
export function groupIn(
  text: string,
  name: string,
): { readonly gid: number; readonly members: readonly string[] } | undefined {
  const line = text.split("\n").find((entry) => entry.startsWith(`${name}:`));
  const [, , number = "", members = ""] = line?.split(":") ?? [];
  if (!/^\d+$/.test(number)) return undefined;
  return { gid: Number(number), members: members.split(",").filter((one) => one !== "") };
}
