import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { diskOf, must } from "./image.ts";

const root = join(import.meta.dirname, "..", "..");
const programs = ["services.ts", "load.ts", "list-files.sh"];

/**
 * Makes the read-only disk, on /mnt in the machine: a release of the binary, as
 * `make dist` makes it, the binary for the stand-in, and the tests' programs
 * with a Bun that runs them.
 */
export function makeShare(
  binary: string,
  folder: string,
  furnish: (folder: string) => void,
): string {
  const work = mkdtempSync(join(folder, "share-"));
  try {
    const release = join(work, "release");
    mkdirSync(release);
    copyFileSync(binary, join(work, "ngrokd"));
    const archive = "ngrokd-0.0.0-linux-x64.tar.gz";
    must("tar", ["-C", work, "-czf", join(release, archive), "ngrokd"]);
    const sum = createHash("sha256")
      .update(readFileSync(join(release, archive)))
      .digest("hex");
    writeFileSync(join(release, "SHA256SUMS"), `${sum}  ${archive}\n`);
    copyFileSync(join(root, "install.sh"), join(release, "install.sh"));
    copyFileSync(process.execPath, join(work, "bun"));
    for (const name of programs)
      copyFileSync(join(import.meta.dirname, "guest", name), join(work, name));
    for (const name of ["bun", "ngrokd", "list-files.sh"]) chmodSync(join(work, name), 0o755);
    furnish(work);
    const disk = join(folder, "share.ext4");
    diskOf(work, disk, "share", "800M");
    return disk;
  } finally {
    rmSync(work, { recursive: true });
  }
}
