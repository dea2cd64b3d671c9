import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeDeb } from "../../.github/packaging/deb.ts";
import { makeRpm } from "../../.github/packaging/rpm.ts";
import {
  archiveOf,
  createMachine,
  type Machine,
  type Release,
  startRelease,
  sumLine,
} from "../install/support.ts";
import { released } from "./support.ts";

const root = join(import.meta.dirname, "..", "..");
const packaging = join(root, ".github/packaging");

function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: root, encoding: "utf8" });
  expect({ program, status, stderr: status === 0 ? "" : stderr }).toEqual({
    program,
    status: 0,
    stderr: "",
  });
  return stdout;
}
const script = (name: string, ...args: string[]): string =>
  run(process.execPath, join(packaging, name), ...args);

describe.skipIf(Bun.which("minisign") === null)("a signed release", () => {
  const standIn =
    '#!/bin/sh\ncase $1 in --version) echo ngrokd 1.0.0 ;; config) : >"$4" ;; *) exit 4 ;; esac\n';
  const name = `ngrokd-1.0.0-${process.platform}-${process.arch}.tar.gz`;
  let folder: string;
  let archive: Buffer;
  let release: Release;
  let machine: Machine;
  let installer: string;
  let files: Record<string, string | Buffer>;
  const at = (file: string): string => join(folder, file);

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "ngrokd-release-"));
    mkdirSync(at("dist"));
    archive = archiveOf({ ngrokd: standIn });
    writeFileSync(at("dist/SHA256SUMS"), sumLine(name, archive));
    run("minisign", "-G", "-W", "-f", "-s", at("key"), "-p", at("key.pub"));
    run(join(packaging, "sign.sh"), at("key"), "ngrokd 1.0.0", at("dist"));
    installer = readFileSync(at("dist/install.sh"), "utf8");
    release = await startRelease();
  });
  beforeEach(() => {
    machine = createMachine(release.url);
    files = {
      [name]: archive,
      SHA256SUMS: readFileSync(at("dist/SHA256SUMS")),
      "SHA256SUMS.minisig": readFileSync(at("dist/SHA256SUMS.minisig")),
    };
  });
  afterAll(() => {
    release.close();
    rmSync(folder, { recursive: true });
  });

  test("is checked by its install.sh, which says for which version it is", async () => {
    release.serve(files);
    const { code, stdout } = await machine.install([], { script: installer });
    expect({ code, stdout }).toMatchObject({ code: 0 });
    expect(stdout).toContain("The signature is right: ngrokd 1.0.0\n");
    machine.remove();
  });

  test("is refused if the page was changed, its signature with it or not", async () => {
    const other = archiveOf({ ngrokd: `${standIn}# other` });
    const sums = sumLine(name, other);
    writeFileSync(at("SHA256SUMS"), sums);
    run("minisign", "-G", "-W", "-f", "-s", at("other"), "-p", at("other.pub"));
    run("minisign", "-S", "-s", at("other"), "-m", at("SHA256SUMS"));
    const theirs = readFileSync(at("SHA256SUMS.minisig"));
    for (const [what, signature, reason] of [
      ["the sums alone", files["SHA256SUMS.minisig"], "The signature of SHA256SUMS is wrong: "],
      ["the signature, too", theirs, "The signature of SHA256SUMS is wrong: "],
      ["no signature", undefined, "Cannot download "],
    ] as const) {
      const changed = { [name]: other, SHA256SUMS: sums };
      release.serve(
        signature === undefined ? changed : { ...changed, "SHA256SUMS.minisig": signature },
      );
      const before = machine.snapshot();
      const { code, stderr } = await machine.install([], { script: installer });
      expect({ what, code }).toEqual({ what, code: 1 });
      expect(stderr).toStartWith(`error: ${reason}`);
      expect(release.asked).not.toContain(name);
      expect(machine.snapshot()).toEqual(before);
    }
    machine.remove();
  });

  test("is installed without minisign or a key, and install.sh says so", async () => {
    release.serve(files);
    const path = join(folder, "without");
    mkdirSync(path);
    const names =
      "cat chmod cp curl dirname grep gzip head id ldd ln ls mkdir mktemp mv rm rmdir sed sh sha256sum tail tar tr uname";
    for (const tool of names.split(" ")) {
      const found = spawnSync("sh", ["-c", `command -v ${tool}`], { encoding: "utf8" });
      run("ln", "-s", found.stdout.trim(), join(path, tool));
    }
    const without = await machine.install([], { script: installer, env: { PATH: path } });
    expect({ code: without.code, err: without.stderr }).toEqual({ code: 0, err: "" });
    expect(without.stdout).toContain("minisign is not installed, so the checksums are checked");
    const plain = readFileSync(join(root, "install.sh"), "utf8");
    const unsigned = await machine.install([], { script: plain });
    expect(unsigned.stdout).toContain("This install.sh names no signing key");
    machine.remove();
  });
});

test("the bill of materials has Bun and every package, and the same bytes each time", () => {
  const text = script("sbom.ts", "1.0.0", "1700000000");
  expect(script("sbom.ts", "1.0.0", "1700000000")).toBe(text);
  const bill = JSON.parse(text);
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  );
  const names = bill.components.map(({ name }: { name: string }) => name);
  for (const name of ["bun", ...Object.keys(dependencies)]) expect(names).toContain(name);
  expect(names).not.toContain("typescript");
  expect(bill.components.find(({ name }: { name: string }) => name === "bun").version).toBe(
    devDependencies.bun,
  );
  expect(bill.metadata.component).toMatchObject({ name: "ngrokd", type: "application" });
  expect(bill.metadata.timestamp).toBe("2023-11-14T22:13:20.000Z");
});

test("the formula for Homebrew has each archive with its checksum", () => {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-formula-"));
  const targets = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"];
  const lines = targets.map((target) => sumLine(`ngrokd-1.0.0-${target}.tar.gz`, target));
  writeFileSync(join(folder, "SHA256SUMS"), lines.join(""));
  const text = script("formula.ts", "1.0.0", join(folder, "SHA256SUMS"));
  for (const line of lines) {
    const [sum, name] = line.trim().split("  ");
    expect(text).toContain(`/v1.0.0/${name}"\n      sha256 "${sum}"`);
  }
  expect(text).toContain('version "1.0.0"');
  rmSync(folder, { recursive: true });
});

test.skipIf(["dh", "rpmbuild"].some((name) => Bun.which(name) === null))(
  "packages that are made in another folder have the same bytes",
  () => {
    const dist = mkdtempSync(join(tmpdir(), "ngrokd-other-folder-"));
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const name = `ngrokd-${version}-linux-x64.tar.gz`;
    writeFileSync(join(dist, name), readFileSync(released("-linux-x64.tar.gz")));
    // The time of the commit, as in the packages that are there.
    const time = Number(run("rpm", "-qp", "--qf", "%{BUILDTIME}", released(".x86_64.rpm")));
    const release = { version, time, dist };
    for (const made of [makeDeb(release, "x64"), makeRpm(release, "x64")])
      expect({
        made,
        same: readFileSync(made).equals(readFileSync(released(made.slice(-10)))),
      }).toEqual({ made, same: true });
    rmSync(dist, { recursive: true });
  },
  600_000,
);

test("a program that is built in another folder has the same bytes", () => {
  // On the same disk, so that nothing has to be copied.
  const folder = mkdtempSync(join(root, "dist/other-folder-"));
  const other = join(folder, "deeper");
  mkdirSync(other);
  const sources = ["src", "node_modules", "package.json", "package-lock.json", "Makefile"];
  run("cp", "-al", ...sources, other);
  const stamp = readdirSync(join(root, "dist")).find((name) => name.startsWith(".commit-"));
  const commit = stamp?.slice(".commit-".length);
  run("make", "-s", "-C", other, "build", `commit=${commit}`);
  const same = readFileSync(join(other, "dist/ngrokd")).equals(
    readFileSync(join(root, "dist/ngrokd")),
  );
  rmSync(folder, { recursive: true });
  expect({ commit, same }).toEqual({ commit, same: true });
}, 600_000);
