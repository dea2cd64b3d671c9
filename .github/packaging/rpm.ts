import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Cpu, layOut, packageVersion, processors, type Release, root, run } from "./tree.ts";

/** Makes the RPM with rpmbuild, and returns its path. */
export function makeRpm(release: Release, cpu: Cpu): string {
  const { rpm } = processors[cpu];
  const work = join(release.dist, `rpm-${cpu}`);
  const tree = join(work, "tree");
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  layOut(release, cpu, tree, "site-functions");
  for (const name of ["LICENSE", "README.md"]) copyFileSync(join(root, name), join(work, name));
  const spec = readFileSync(join(import.meta.dirname, "ngrokd.spec"), "utf8");
  writeFileSync(join(work, "ngrokd.spec"), spec);
  const defines = {
    _topdir: work,
    tree,
    package_version: packageVersion(release),
    // The same bytes everywhere.
    _buildhost: "ngrokd",
    use_source_date_epoch_as_buildtime: "1",
    clamp_mtime_to_source_date_epoch: "1",
    source_date_epoch_from_changelog: "0",
    _build_id_links: "none",
    _binary_payload: "w3.zstdio",
  };
  const words = Object.entries(defines).flatMap(([name, value]) => [
    "--define",
    `${name} ${value}`,
  ]);
  run(
    "rpmbuild",
    ["-bb", "--nodeps", "--target", `${rpm}-linux`, ...words, `${work}/ngrokd.spec`],
    {
      env: { SOURCE_DATE_EPOCH: `${release.time}`, TZ: "UTC", LC_ALL: "C" },
    },
  );
  const name = `ngrokd-${packageVersion(release)}-1.${rpm}.rpm`;
  copyFileSync(join(work, "RPMS", rpm, name), join(release.dist, name));
  rmSync(work, { recursive: true });
  return join(release.dist, name);
}
