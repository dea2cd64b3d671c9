import { accessSync, constants, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { imageFor, must } from "./image.ts";
import { type Kind, kinds } from "./kinds.ts";
import { type Machine, startMachine } from "./machine.ts";
import { makeShare } from "./share.ts";

/**
 * The virtual machine of the stories that need a whole system: its own kernel,
 * systemd as the first process, a disk, a clock. SKIP_VM=1 leaves them out;
 * VM_KIND and VM_SUITE choose another machine.
 */
export type WholeSystem =
  | { readonly kind: Kind; readonly machine: Machine }
  /** It cannot run here, and why. */
  | { readonly kind: "none"; readonly reason: string };

const dist = join(import.meta.dirname, "..", "..", "dist");
export const binary = process.env.NGROKD_BINARY ?? join(dist, "ngrokd");

/** What the choice of a machine depends on. */
export interface Host {
  readonly skipped: boolean;
  readonly platform: string;
  readonly arch: string;
  readonly isRoot: boolean;
  readonly hasBinary: boolean;
  /** Whether a program of this name is installed. */
  readonly has: (program: string) => boolean;
  /** Whether KVM runs any system, not only ones that are made for it. */
  readonly hasKvm: boolean;
  /** VM_KIND */
  readonly wanted: string | undefined;
}

/** Pure: the kind of machine for this host, or why there is none. */
export function kindFor(host: Host): { readonly kind: Kind } | { readonly reason: string } {
  if (host.skipped) return { reason: "SKIP_VM is set" };
  if (host.platform !== "linux" || host.arch !== "x64")
    return { reason: `it needs Linux on x64, and this is ${host.platform} on ${host.arch}` };
  if (!host.isRoot) return { reason: "it needs root, for the files of its disk" };
  if (!host.hasBinary) return { reason: "there is no binary: run `make build`" };
  const missing = ["mmdebstrap", "mkfs.ext4"].filter((program) => !host.has(program));
  if (missing.length > 0) return { reason: `install ${missing.join(" and ")}` };
  const can: Readonly<Record<Kind, boolean>> = {
    "qemu-kvm": host.hasKvm && host.has("qemu-system-x86_64"),
    uml: host.has("linux.uml"),
    "qemu-tcg": host.has("qemu-system-x86_64"),
  };
  const kind = kinds.find((each) => (host.wanted === undefined ? can[each] : each === host.wanted));
  if (kind === undefined && host.wanted !== undefined)
    return { reason: `VM_KIND is "${host.wanted}", and not one of ${kinds.join(", ")}` };
  if (kind === undefined || !can[kind])
    return { reason: "install user-mode-linux or qemu-system-x86 (packages of Debian)" };
  return { kind };
}

const thisHost = (): Host => ({
  skipped: (process.env.SKIP_VM ?? "") !== "",
  platform: process.platform,
  arch: process.arch,
  isRoot: process.getuid?.() === 0,
  hasBinary: existsSync(binary),
  has: (program) => Bun.which(program) !== null,
  // The file is there with other kinds of KVM too, which run no usual kernel.
  hasKvm: ["kvm_intel", "kvm_amd"].some((name) => existsSync(`/sys/module/${name}`)) && canOpen(),
  wanted: process.env.VM_KIND,
});

function canOpen(): boolean {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Removes what runs have left that were killed. */
function removeLeftovers(cache: string): void {
  for (const name of readdirSync(cache)) {
    const [, pid] = /^run-(\d+)$/.exec(name) ?? [];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    rmSync(join(cache, name), { recursive: true, force: true });
  }
}

/**
 * Makes the disks, and starts the machine. `furnish` puts more files on the
 * read-only one.
 */
export async function startWholeSystem(
  furnish: (folder: string) => void = () => undefined,
): Promise<WholeSystem> {
  const chosen = kindFor(thisHost());
  if ("reason" in chosen) return { kind: "none", reason: chosen.reason };
  const { kind } = chosen;
  const begun = performance.now();
  const tell = (text: string): void =>
    console.error(`${((performance.now() - begun) / 1000).toFixed(0).padStart(4)} s  ${text}`);
  const cache = join(dist, "vm");
  mkdirSync(cache, { recursive: true });
  removeLeftovers(cache);
  const folder = join(cache, `run-${process.pid}`);
  mkdirSync(folder);
  // It throws if the tests' own files cannot be made. No host lacks those.
  const share = makeShare(binary, folder, furnish);
  try {
    const image = imageFor(kind, cache, tell);
    const root = join(folder, "root.ext4");
    must("cp", ["--sparse=always", join(image, "root.ext4"), root]);
    tell(`starting ${kind}`);
    const console = join(cache, "console.log");
    rmSync(console, { force: true });
    const machine = await startMachine(kind, { image, root, share }, console);
    tell("the system is up");
    const end = async (): Promise<void> => {
      await machine.end();
      rmSync(folder, { recursive: true });
    };
    return { kind, machine: { ...machine, end } };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    const [reason = "", ...more] = (error as Error).message.split("\n");
    tell([`it cannot run: ${reason}`, ...more].join("\n"));
    return { kind: "none", reason };
  }
}
