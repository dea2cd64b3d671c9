import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { scripts } from "../../src/cli/completion-scripts.ts";
import { configTemplate } from "../../src/config/template.ts";
import { packagedUnitText } from "../../src/service/packaged.ts";

/** What a release is made of. */
export interface Release {
  readonly version: string;
  /** Seconds since 1970: the time of the commit, and so of every file. */
  readonly time: number;
  /** Absolute; the archives are there, and all results. */
  readonly dist: string;
}

/** The processors, by the names that each kind of package has for them. */
export const processors = {
  x64: { deb: "amd64", rpm: "x86_64", oci: "amd64", triplet: "x86_64-linux-gnu" },
  arm64: { deb: "arm64", rpm: "aarch64", oci: "arm64", triplet: "aarch64-linux-gnu" },
} as const;
export type Cpu = keyof typeof processors;

export const root = join(import.meta.dirname, "..", "..");
export const summary = "ngrok's Kubernetes-bound endpoints on this machine";
export const unitPath = "usr/lib/systemd/system/ngrokd.service";
const afterUpgradePath = "usr/lib/ngrokd/after-upgrade";
export const homepage = "https://github.com/ngrokd/ngrokd";

/** A version such as 0.2.0-rc.1 is older than 0.2.0 in dpkg and rpm, too. */
export const packageVersion = ({ version }: Release): string => version.replaceAll("-", "~");

/** Unpacks the program of an archive of `make dist`. */
export function unpackProgram({ dist, version }: Release, cpu: Cpu, folder: string): string {
  mkdirSync(folder, { recursive: true });
  run("tar", ["-xzf", join(dist, `ngrokd-${version}-linux-${cpu}.tar.gz`), "-C", folder, "ngrokd"]);
  return join(folder, "ngrokd");
}

/**
 * Lays out the files of a package below `folder`, apart from what dpkg and rpm
 * add themselves. `zsh` is this distribution's folder for completions of zsh.
 */
export function layOut(release: Release, cpu: Cpu, folder: string, zsh: string): void {
  const at = (path: string): string => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    return join(folder, path);
  };
  chmodSync(unpackProgram(release, cpu, join(folder, "usr/bin")), 0o755);
  writeFileSync(at(unitPath), packagedUnitText());
  copyFileSync(join(import.meta.dirname, "after-upgrade.sh"), at(afterUpgradePath));
  chmodSync(at(afterUpgradePath), 0o755);
  writeFileSync(at("etc/ngrokd/config.yml"), configTemplate(), { mode: 0o600 });
  chmodSync(join(folder, "etc/ngrokd"), 0o700);
  const pages = dirname(at("usr/share/man/man1/ngrokd.1"));
  run(process.execPath, [join(import.meta.dirname, "man.ts"), pages, `${release.time}`]);
  writeFileSync(at("usr/share/bash-completion/completions/ngrokd"), scripts.bash);
  writeFileSync(at(`usr/share/zsh/${zsh}/_ngrokd`), scripts.zsh);
  writeFileSync(at("usr/share/fish/vendor_completions.d/ngrokd.fish"), scripts.fish);
}

/** Runs a tool to its end. Throws with its output if it fails. */
export function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    ...options,
    env: { ...process.env, ...options.env },
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  if (status === 0) return stdout;
  throw new Error(`${program} ${args.join(" ")} failed: ${error?.message ?? `${stdout}${stderr}`}`);
}
