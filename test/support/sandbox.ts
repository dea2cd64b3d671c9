import type { ServiceFacts } from "../../src/service/service-facts.ts";
import { binary } from "./ngrokd.ts";

/** The facts of the unit of a service, as in most stories. */
export const unitFacts: ServiceFacts = {
  program: "/run/bin/ngrokd",
  serveArgs: [],
  environment: {},
  hostsPath: "/etc/hosts",
  socketPath: "/var/run/ngrokd.sock",
  folders: ["/etc/ngrokd"],
  reads: [],
  drainSeconds: 30,
  makesInterface: false,
};

/**
 * The sandbox of a systemd unit, without systemd. A mount namespace and setpriv
 * provide the file system, the capabilities, no new privileges, and a /proc of
 * processes alone. All mounts are the daemon's own. The filter of system calls
 * is missing.
 */
export function sandboxed(unit: string): string[] {
  const all = (setting: string): string[] =>
    [...unit.matchAll(new RegExp(`^${setting}=(.*)$`, "gm"))].flatMap(([, words = ""]) =>
      words.split(" ").map((word) => word.replace(/^-/, "")),
    );
  const capabilities = all("CapabilityBoundingSet").map(
    (name) => `+${name.replace("CAP_", "").toLowerCase()}`,
  );
  const lists = [all("ReadWritePaths"), all("ReadOnlyPaths"), all("InaccessiblePaths")].map(
    (paths) => paths.join(" "),
  );
  const rights = [
    "env",
    ...all("Environment"),
    "setpriv",
    `--bounding-set=-all,${capabilities.join(",")}`,
    "--inh-caps=-all",
    "--no-new-privs",
  ];
  return ["unshare", "--mount", "sh", "-c", enter, "sh", ...lists, ...rights, binary()];
}

/**
 * The order is systemd's: first writable mounts, then all others read-only,
 * then the exceptions from these.
 */
const enter = `set -e
writable=$1 readonly=$2 inaccessible=$3
shift 3
for path in $writable; do mount --rbind "$path" "$path"; done
while read -r _ at _; do
  case " $writable " in *" $at "*) continue ;; esac
  case $at in /proc | /proc/* | /sys | /sys/* | /dev | /dev/*) continue ;; esac
  # A mount below another is out of reach once that one was covered.
  mount -o remount,bind,ro "$at" 2>/dev/null || ! mountpoint -q "$at"
done </proc/self/mounts
for path in $readonly; do
  [ ! -e "$path" ] || { mount --bind "$path" "$path" && mount -o remount,bind,ro "$path"; }
done
: >/run/nothing
mkdir -p /run/empty
chmod 000 /run/nothing /run/empty
for path in $inaccessible; do
  if [ -d "$path" ]; then mount --bind /run/empty "$path"; elif [ -e "$path" ]; then mount --bind /run/nothing "$path"; fi
done
for home in /home /root; do [ ! -d "$home" ] || mount --bind /run/empty "$home"; done
mount -t proc -o hidepid=invisible,subset=pid proc /proc
umask 0077
cd /
exec "$@"`;
