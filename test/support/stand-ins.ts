import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { atEnd } from "./story.ts";

/** A folder for the stand-ins' files; removed at the chapter's end. */
export const standInFolder = "/run/stand-in";

/**
 * Lays programs (shell scripts, by name) over /usr/bin in this machine's own
 * mounts until the chapter ends. For tools that the stories' machine lacks or
 * must not use.
 */
export function layOverUsrBin(programs: Readonly<Record<string, string>>): void {
  mkdirSync(standInFolder, { recursive: true });
  // New folders each time: a detached mount may still use the previous ones.
  const upper = mkdtempSync(join(standInFolder, "upper-"));
  const work = mkdtempSync(join(standInFolder, "work-"));
  chmodSync(upper, 0o755);
  for (const [name, script] of Object.entries(programs))
    writeFileSync(join(upper, name), `#!/bin/sh\n${script}`, { mode: 0o755 });
  const layers = `lowerdir=/usr/bin,upperdir=${upper},workdir=${work}`;
  const mounted = Bun.spawnSync(["mount", "-t", "overlay", "overlay", "-o", layers, "/usr/bin"]);
  if (mounted.exitCode !== 0)
    throw new Error(`cannot lay stand-ins over /usr/bin: ${mounted.stderr}`);
  atEnd(() => {
    // Detached, since a program of /usr/bin may still run.
    const unmounted = Bun.spawnSync(["umount", "-l", "/usr/bin"]);
    rmSync(standInFolder, { recursive: true, force: true });
    if (unmounted.exitCode !== 0)
      throw new Error(`cannot take the stand-ins off /usr/bin: ${unmounted.stderr}`);
  });
}

/**
 * A systemctl for our service alone, which ignores the unit's settings. It
 * starts and stops the daemon, and waits until that is done.
 */
export const plainSystemctl = `pid=${standInFolder}/pid
PATH=/run/bin:$PATH
case $1 in
  start)
    if [ ! -e $pid ]; then
      ngrokd serve >>${standInFolder}/log 2>&1 </dev/null &
      echo $! >$pid
    fi
    until ngrokd status >/dev/null 2>&1; do sleep 0.05; done
    ;;
  stop | disable)
    [ "$1" = stop ] || rm -f ${standInFolder}/at-boot
    [ -e $pid ] || exit 0
    kill "$(cat $pid)"
    while kill -0 "$(cat $pid)" 2>/dev/null; do sleep 0.05; done
    rm $pid
    ;;
  restart) "$0" stop && "$0" start ;;
  enable) touch ${standInFolder}/at-boot ;;
  show)
    if [ -e $pid ]; then echo ActiveState=active; else echo ActiveState=inactive; fi
    if [ -e ${standInFolder}/at-boot ]; then echo UnitFileState=enabled; fi
    ;;
esac
`;

/** A netcat for `nc -U PATH` alone. It ends with the other side. */
export const netcat = `exec ${process.execPath} -e '
const socket = require("node:net").connect(process.argv.at(-1));
process.stdin.pipe(socket, { end: false });
socket.pipe(process.stdout);
socket.on("close", () => process.exit());
' -- "$@"
`;
