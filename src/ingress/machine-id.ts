import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/**
 * The id of this machine: of systemd or D-Bus on Linux, of the hardware on
 * macOS. Empty if there is none, as in most containers.
 */
export function machineId(
  platform: NodeJS.Platform = process.platform,
  ioreg = "/usr/sbin/ioreg",
): string {
  if (platform === "darwin") return hardwareIdIn(hardwareTree(ioreg));
  return machineIdFiles.map(idInFile).find((id) => id !== "") ?? "";
}

const machineIdFiles = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

function idInFile(path: string): string {
  try {
    return idIn(readFileSync(path, "utf8"));
  } catch {
    return "";
  }
}

/** Pure: the id in the text of machine-id(5); before the first boot none. */
export const idIn = (text: string): string => /^[0-9a-f]{32}(?=\n|$)/i.exec(text)?.[0] ?? "";

function hardwareTree(ioreg: string): string {
  try {
    return execFileSync(ioreg, ["-rd1", "-c", "IOPlatformExpertDevice"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      timeout: 2000,
    });
  } catch {
    return "";
  }
}

/** Pure: the id in the output of ioreg(8). */
export const hardwareIdIn = (text: string): string =>
  /"IOPlatformUUID" = "([0-9A-Fa-f-]{36})"/.exec(text)?.[1] ?? "";
