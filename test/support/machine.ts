import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Loaded before the tests (bunfig.toml). Stories change things that exist once
 * on a machine: /etc/hosts, /etc/ngrokd, /run, port 80. So a run with stories
 * moves to a separate machine before its first test: Linux namespaces for
 * network, mounts and processes, a copy of /etc and an empty /run. The machine
 * ends with the run, and so do all daemons that a failed story has left. The
 * real machine is never touched. Without root or Linux the run stays, and its
 * stories are skipped.
 */
const marker = "NGROKD_STORY_MACHINE";

/**
 * Whether this process may change everything. A variable alone could be set by
 * mistake, so the folder must exist, too.
 */
export const onOwnMachine = process.env[marker] === "yes" && existsSync("/run/etc/hosts");

/** Why this run cannot have a separate machine; empty if it can. */
export function whyNot(): string {
  return hasStories() ? obstacle() : "name them: `bun test test/stories`";
}

/**
 * Bun gives a preloaded file no other arguments. A run without any runs all
 * tests. The chaos run counts as a story.
 */
function hasStories(): boolean {
  if (process.platform !== "linux") return true;
  const args = ownArguments();
  return args.length === 1 || args.some((arg) => /stories|chaos|packages/.test(arg));
}

function obstacle(): string {
  if (process.platform !== "linux")
    return "they need Linux, for a network and a hosts file of their own";
  if (process.getuid?.() !== 0)
    return "they need root, for a network and a hosts file of their own";
  const trial = spawnSync(
    "unshare",
    [...namespaces, "sh", "-c", "ip link set lo up && mount -t tmpfs tmpfs /run"],
    { encoding: "utf8" },
  );
  if (trial.status === 0) return "";
  return `no machine of their own can be made here: ${(trial.error?.message ?? trial.stderr).trim()}`;
}

function move(): never {
  const env: Record<string, string> = { [marker]: "yes" };
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined) env[name] ??= value;
  env.NGROKD_BINARY ??= join(import.meta.dirname, "..", "..", "dist", "ngrokd");
  if (process.execve === undefined) throw new Error("this runtime has no process.execve");
  const command = [
    "unshare",
    ...namespaces,
    "sh",
    "-c",
    setUp,
    "sh",
    process.execPath,
    ...ownArguments(),
  ];
  return process.execve("/bin/sh", ["sh", "-c", supervise, ...command], env);
}

function ownArguments(): string[] {
  return readFileSync("/proc/self/cmdline", "utf8").split("\0").slice(1, -1);
}

const namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

// unshare ignores signals. SIGKILL ends it and all in its namespaces.
const supervise = `"$0" "$@" & trap "kill -KILL $!" INT TERM HUP; wait $!`;

// The binary is mounted where every user may run it. The shell stays as the
// first process and reaps orphaned daemons.
const setUp = `set -e
ip link set lo up
mount -t tmpfs -o mode=0755 tmpfs /run
[ -L /var/run ] || mount --bind /run /var/run
mkdir /run/etc /run/bin
mkdir -m 1777 /run/tmp
cp -a /etc/. /run/etc/
mount --bind /run/etc /etc
rm -f /etc/resolv.conf
echo 'nameserver 127.0.0.1' >/etc/resolv.conf
grep -sv '^hosts:' /etc/nsswitch.conf >/run/nsswitch.conf || true
echo 'hosts: files dns' >>/run/nsswitch.conf
mv /run/nsswitch.conf /etc/nsswitch.conf
if [ -f "$NGROKD_BINARY" ]; then
  : >/run/bin/ngrokd
  mount --bind "$NGROKD_BINARY" /run/bin/ngrokd
fi
PATH="/run/bin:$PATH"
export PATH
"$@"`;

// This must be the last statement, since it runs while the file loads and needs
// all of the above.
if (!onOwnMachine && whyNot() === "") move();
