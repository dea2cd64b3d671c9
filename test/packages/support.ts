import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Ran, run } from "../support/ngrokd.ts";
import { atEnd } from "../support/story.ts";

export const root = join(import.meta.dirname, "..", "..");
export const dist = join(root, "dist");

/** A file of the release in dist/, by the end of its name. */
export function released(end: string): string {
  const name = readdirSync(dist).find((name) => name.endsWith(end));
  if (name === undefined) throw new Error(`there is no ${end} in ${dist}: run \`make packages\``);
  return join(dist, name);
}

/** Whether this machine lacks one of these tools. */
export const lacks = (...tools: string[]): boolean =>
  tools.some((tool) => Bun.which(tool) === null);

/** Runs a command, and throws with its output if it fails. */
export async function must(...command: string[]): Promise<Ran> {
  const ran = await run(command);
  if (ran.code !== 0) throw new Error(`${command.join(" ")} failed: ${ran.out}${ran.err}`);
  return ran;
}

/**
 * A script that starts a cloud with hello.demo, and a daemon, which the
 * stand-in for systemctl then names. All their output goes to files.
 */
export const serveName = `exec 2>/tmp/errors
  ngrokd cloud --json --api-port 0 --ingress-port 0 --ca-file /tmp/ca.crt \\
    --endpoint http://hello.demo:8080=127.0.0.1:1 >/tmp/cloud &
  echo $! >/tmp/cloud.pid
  for _ in $(seq 600); do grep -q apiUrl /tmp/cloud && break; sleep 0.1; done
  grep -q apiUrl /tmp/cloud || { echo "the cloud has not started"; exit 1; }
  value() { sed -n 's/.*"'$1'": *"\\([^"]*\\)".*/\\1/p' /tmp/cloud; }
  printf 'api: {url: "%s", key: "%s"}\\nserver: {ingress_ca: /tmp/ca.crt, health_port: any}\\n' \\
    "$(value apiUrl)" "$(value apiKey)" >/etc/ngrokd/config.yml
  ngrokd serve >/tmp/log 2>&1 &
  echo $! >/tmp/main.pid
  ngrokd wait hello.demo --timeout 30 >/tmp/waited || cat /tmp/log /tmp/cloud`;
/** Waits for their ends, since a dying daemon still counts as running. */
export const killBoth = `for pid in $(cat /tmp/main.pid /tmp/cloud.pid); do
    kill -9 $pid
    while kill -0 $pid 2>/dev/null; do sleep 0.05; done
  done`;

/** A folder that the chapter's end removes. */
export function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-packages-"));
  chmodSync(folder, 0o755);
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface Root {
  readonly path: string;
  /** Runs a shell script in it. */
  sh(script: string): Promise<Ran>;
  /** As {@link sh}, and throws if it fails. */
  must(script: string): Promise<string>;
  /**
   * Every path with type, mode, owner and (but for folders) size, apart from
   * the package manager's own records.
   */
  files(): Promise<Set<string>>;
  /**
   * The lines of {@link files} that this root has added or removed. Other
   * programs write below the lowest layer meanwhile: their files do not count.
   */
  changes(before: ReadonlySet<string>): Promise<{ left: string[]; gone: string[] }>;
  /** The commands that systemd has got. */
  told(): Promise<string[]>;
}

/**
 * This machine's own system as another one: its files, below a layer that takes
 * all changes. A stand-in for systemctl writes its commands down.
 */
export async function otherRoot(): Promise<Root> {
  const folder = ownFolder();
  const path = join(folder, "root");
  for (const name of ["upper", "work", "root"]) mkdirSync(join(folder, name));
  chmodSync(join(folder, "upper"), 0o755);
  const layers = `lowerdir=/,upperdir=${folder}/upper,workdir=${folder}/work`;
  await must("mount", "-t", "overlay", "overlay", "-o", layers, path);
  for (const name of ["proc", "dev"]) await must("mount", "--rbind", `/${name}`, join(path, name));
  for (const name of ["run", "tmp"])
    await must("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", join(path, name));
  atEnd(() => must("umount", "-l", path));
  const told = "/tmp/systemctl.log";
  writeFileSync(
    join(path, "usr/bin/systemctl"),
    `#!/bin/sh
echo "$*" >>${told}
case $* in *is-enabled*) echo enabled ;; *MainPID*) cat /tmp/main.pid ;; esac
`,
    {
      mode: 0o755,
    },
  );
  // Containers have one that lets no service start.
  rmSync(join(path, "usr/sbin/policy-rc.d"), { force: true });
  mkdirSync(join(path, "run/systemd/system"), { recursive: true });
  writeFileSync(join(path, "etc/hosts"), "127.0.0.1\tlocalhost\n# the end");
  const sh = async (script: string): Promise<Ran> =>
    await run(["timeout", "-k", "1", "600", "chroot", path, "sh", "-ec", script]);
  const mustIn = async (script: string): Promise<string> => {
    const { code, out, err } = await sh(script);
    if (code !== 0) throw new Error(`${script} failed with ${code}: ${out}${err}`);
    return out;
  };
  const records =
    "/var/lib/dpkg /var/lib/rpm /var/log /var/cache /proc /dev /tmp /run /root /work /home";
  const skipped = records
    .split(" ")
    .map((name) => `-path ${name}`)
    .join(" -o ");
  const files = async (): Promise<Set<string>> => {
    const lines = "-type d -printf '%p %y %m %u -\\n' -o -printf '%p %y %m %u %s\\n'";
    const look = `find / -xdev \\( ${skipped} \\) -prune -o ${lines}`;
    return new Set((await mustIn(look)).trim().split("\n"));
  };
  // The upper layer has a file, or a mark, for each path that was written or
  // removed here.
  const isOurs = (line: string): boolean =>
    lstatSync(join(folder, "upper", line.replace(/(?: \S+){4}$/, "")), {
      throwIfNoEntry: false,
    }) !== undefined;
  return {
    path,
    sh,
    must: mustIn,
    files,
    changes: async (before) => {
      const after = await files();
      return {
        left: [...after.difference(before)].filter(isOurs),
        gone: [...before].filter((line) => !after.has(line) && isOurs(line)),
      };
    },
    told: async () => {
      if (!existsSync(join(path, told))) return [];
      const lines = (await mustIn(`cat ${told}; rm ${told}`)).trim().split("\n");
      return lines
        .filter((line) => !/daemon-reload|is-active|is-enabled|preset|show/.test(line))
        .map((line) => line.replaceAll(/--\S+ /g, ""));
    },
  };
}
