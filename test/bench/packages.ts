import { existsSync, rmSync, writeFileSync } from "node:fs";
import { outputOf } from "./processes.ts";

/** The Debian packages that the benchmark needs, by the program of each. */
const packages = {
  go: ["golang-go"],
  haproxy: ["haproxy"],
  nginx: ["nginx", "libnginx-mod-stream"],
  stunnel: ["stunnel4"],
  dnsperf: ["dnsperf"],
} as const;

export type Program = keyof typeof packages;

/**
 * Installs the missing packages if that is allowed: as root, on a system with
 * apt-get, unless BENCH_INSTALL=no. Returns the programs that exist then.
 */
export function installMissing(): ReadonlySet<Program> {
  const programs = Object.keys(packages) as Program[];
  const missing = programs.filter((program) => Bun.which(program) === null);
  const allowed =
    process.env.BENCH_INSTALL !== "no" && process.getuid?.() === 0 && Bun.which("apt-get") !== null;
  if (missing.length > 0 && allowed) install(missing.flatMap((program) => packages[program]));
  return new Set(programs.filter((program) => Bun.which(program) !== null));
}

function install(names: readonly string[]): void {
  console.log(`Installing ${names.join(", ")} (BENCH_INSTALL=no: without)`);
  // Debian starts the services that it installs, unless this file forbids it.
  // Source: the manual page invoke-rc.d(8).
  const policy = "/usr/sbin/policy-rc.d";
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    outputOf(["apt-get", "update"], { env });
    outputOf(["apt-get", "install", "--yes", "--no-install-recommends", ...names], { env });
  } finally {
    if (ours) rmSync(policy);
  }
}
