import { copyFileSync, cpSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Cpu,
  layOut,
  packageVersion,
  processors,
  type Release,
  run,
  unitPath,
} from "./tree.ts";

const maintainer = "ngrokd contributors <ngrokd@users.noreply.github.com>";

/** Makes the Debian package with debhelper, and returns its path. */
export function makeDeb(release: Release, cpu: Cpu): string {
  const { deb } = processors[cpu];
  const work = join(release.dist, `deb-${cpu}`);
  const sources = join(work, "ngrokd");
  rmSync(work, { recursive: true, force: true });
  mkdirSync(sources, { recursive: true });
  cpSync(join(import.meta.dirname, "debian"), join(sources, "debian"), { recursive: true });
  layOut(release, cpu, join(sources, "tree"), "vendor-completions");
  writeFileSync(join(sources, "debian/changelog"), changelog(release));
  // debhelper knows the folder for it in this release of Debian, and writes the
  // scripts that enable it.
  renameSync(join(sources, "tree", unitPath), join(sources, "debian/ngrokd.service"));
  // Without -d it would ask for a compiler, and there is nothing to compile.
  run("dpkg-buildpackage", ["-b", "-us", "-uc", "-d", "--no-pre-clean", `-a${deb}`], {
    cwd: sources,
    env: { SOURCE_DATE_EPOCH: `${release.time}`, TZ: "UTC", LC_ALL: "C" },
  });
  const name = `ngrokd_${packageVersion(release)}_${deb}.deb`;
  copyFileSync(join(work, name), join(release.dist, name));
  rmSync(work, { recursive: true });
  return join(release.dist, name);
}

function changelog(release: Release): string {
  const date = new Date(release.time * 1000).toUTCString().replace("GMT", "+0000");
  return `ngrokd (${packageVersion(release)}) unstable; urgency=medium

  * Release ${release.version}: see CHANGELOG.md.

 -- ${maintainer}  ${date}
`;
}
