import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { hasOwnKernel, type Kind } from "./kinds.ts";

/** The disk of the virtual machine: Debian, made of its packages. */
const guest = join(import.meta.dirname, "guest");

/** Debian's own name of its release: VM_SUITE. */
const suite = process.env.VM_SUITE ?? "bookworm";

const packages = [
  "systemd systemd-sysv systemd-resolved dbus udev kmod login passwd util-linux mount procps",
  "iproute2 iputils-ping curl ca-certificates netbase less tar gzip e2fsprogs",
  "libnss-resolve libnss-myhostname bind9-dnsutils network-manager dnsmasq-base",
]
  .join(" ")
  .split(" ");
const kernel = ["linux-image-cloud-amd64", "initramfs-tools"];

/** Units that would change the disk, or use it, while a test looks. */
const unwanted = [
  "apt-daily.timer",
  "apt-daily-upgrade.timer",
  "dpkg-db-backup.timer",
  "fstrim.timer",
  "e2scrub_all.timer",
  "e2scrub_reap.service",
  "systemd-timesyncd.service",
  // Its story starts it.
  "NetworkManager.service",
  "NetworkManager-wait-online.service",
  "getty@tty1.service",
];

/**
 * Returns the folder of the image, and makes it first if needed. Its name
 * depends on all that it is made of.
 */
export function imageFor(kind: Kind, folder: string, tell: (text: string) => void): string {
  const own = hasOwnKernel(kind);
  const parts = [suite, `${own}`, ...packages, ...unwanted, readFileSync(import.meta.path, "utf8")];
  for (const name of ["agent.sh", "agent.service"])
    parts.push(readFileSync(join(guest, name), "utf8"));
  const key = createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 12);
  const image = join(folder, `image-${suite}-${own ? "uml" : "qemu"}-${key}`);
  if (existsSync(image)) return image;
  tell(`making the disk of ${suite}: about a minute`);
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, "making-"));
  try {
    makeImage(own, work);
    rmSync(join(work, "root"), { recursive: true });
    renameSync(work, image);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return image;
}

function makeImage(own: boolean, work: string): void {
  const root = join(work, "root");
  const include = [...packages, ...(own ? [] : kernel)].join(",");
  const without = ["doc", "locale", "man"].map((name) => `path-exclude=/usr/share/${name}/*`);
  must("mmdebstrap", [
    "--quiet",
    "--mode=root",
    "--variant=minbase",
    `--include=${include}`,
    '--aptopt=Apt::Install-Recommends "false"',
    ...without.map((option) => `--dpkgopt=${option}`),
    suite,
    root,
  ]);
  furnish(root);
  if (own) {
    const modules = "/usr/lib/uml/modules";
    cpSync(modules, join(root, "lib/modules"), { recursive: true });
  } else {
    for (const name of ["vmlinuz", "initrd.img"]) {
      const [file = ""] = readdirSync(join(root, "boot")).filter((found) => found.startsWith(name));
      copyFileSync(join(root, "boot", file), join(work, name));
    }
  }
  diskOf(root, join(work, "root.ext4"), "root", "3G");
}

/** The settings of the system, and the agent. */
function furnish(root: string): void {
  const files: Readonly<Record<string, string>> = {
    hostname: "whole-system\n",
    hosts: "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\n# mine\n",
    fstab: "LABEL=root / ext4 rw,noatime 0 1\n",
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, "etc", name), text);
  rmSync(join(root, "etc/resolv.conf"), { force: true });
  symlinkSync("../run/systemd/resolve/stub-resolv.conf", join(root, "etc/resolv.conf"));
  const units = join(root, "etc/systemd/system");
  for (const name of unwanted) {
    rmSync(join(units, name), { force: true });
    symlinkSync("/dev/null", join(units, name));
  }
  copyFileSync(join(guest, "agent.sh"), join(root, "usr/local/sbin/agent"));
  chmodSync(join(root, "usr/local/sbin/agent"), 0o755);
  copyFileSync(join(guest, "agent.service"), join(units, "agent.service"));
  const wanted = join(units, "multi-user.target.wants");
  mkdirSync(wanted, { recursive: true });
  symlinkSync("../agent.service", join(wanted, "agent.service"));
}

/** Makes a disk of this label from a folder. */
export function diskOf(folder: string, file: string, label: string, size: string): void {
  rmSync(file, { force: true });
  must("truncate", ["-s", size, file]);
  must("mkfs.ext4", ["-q", "-F", "-L", label, "-E", "lazy_itable_init=1", "-d", folder, file]);
}

/** Runs a program to its end; throws with its output unless it succeeds. */
export function must(program: string, args: readonly string[]): void {
  const { status, stderr, stdout, error } = spawnSync(program, args, { encoding: "utf8" });
  if (status === 0) return;
  const why = error?.message ?? `exit code ${status}\n${`${stdout}\n${stderr}`.slice(-3000)}`;
  throw new Error(`${program} failed: ${why}`);
}
