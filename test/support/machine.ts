import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Loaded before the tests (bunfig.toml). Stories change what a user's machine
 * has one of: /etc/hosts, /etc/ngrokd, /run, port 80. So a run that has stories
 * among its tests is moved, before its first test, to a machine of its own:
 * Linux namespaces for network, mounts and processes, with a copy of /etc and
 * an empty /run. It ends with the run, daemons that a failed story left behind
 * included, and the real machine is never touched. Where that cannot be (no
 * root, no Linux), the run stays and its stories are skipped.
 */
const marker = "NGROKD_STORY_MACHINE";

/**
 * Whether this process may change everything. The folder is of our making: a
 * variable alone, set by mistake, must not cost a machine.
 */
export const onOwnMachine = process.env[marker] === "yes" && existsSync("/run/etc/hosts");

/** Why this run cannot be on a machine of its own; empty where it can. */
export function whyNot(): string {
  return hasStories() ? obstacle() : "name them: `bun test test/stories`";
}

/**
 * Bun tells a preloaded file nothing of the other arguments; a run without any
 * runs all tests. The chaos run counts as a story.
 */
function hasStories(): boolean {
  if (process.platform !== "linux") return true;
  const args = ownArguments();
  return args.length === 1 || args.some((arg) => /stories|chaos/.test(arg));
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

// unshare itself does not end at a signal; ended by force, it takes everything
// in the namespaces with it.
const supervise = `"$0" "$@" & trap "kill -KILL $!" INT TERM HUP; wait $!`;

// The binary is mounted where every user may run it. The shell stays as the
// first process, to reap what daemons leave to it.
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

// At the end, since it is run while the file loads and all of the above has to
// be there.
if (!onOwnMachine && whyNot() === "") move();
