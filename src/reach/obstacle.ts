/** Why a program cannot have namespaces of its own. */
export interface Obstacle {
  /** What unshare(1) has said. */
  readonly said: string;
  /** The settings of Linux that forbid it, by their names in sysctl(8). */
  readonly settings: Readonly<Record<string, string>>;
}

/** Each setting with the value that forbids, and the one that allows. */
const forbidding: readonly (readonly [name: string, forbids: string, allows: string])[] = [
  ["kernel.unprivileged_userns_clone", "0", "1"],
  ["user.max_user_namespaces", "0", "15000"],
  ["kernel.apparmor_restrict_unprivileged_userns", "1", "0"],
];

/** Pure: the reason, with the setting that an administrator can change. */
export function obstacleText({ said, settings }: Obstacle): string {
  const found = forbidding.find(([name, forbids]) => settings[name] === forbids);
  if (found !== undefined) {
    const [name, value, allows] = found;
    return `This machine lets users make no namespaces: ${name} is ${value} (\`sysctl -w ${name}=${allows}\` allows it)`;
  }
  const why = said === "" ? "" : ` (${said.replaceAll(/\s+/g, " ")})`;
  return `This machine lets users make no namespaces${why}; in a container, its seccomp profile may forbid unshare(2)`;
}
