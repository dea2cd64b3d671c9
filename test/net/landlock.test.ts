import { afterEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// In a separate process, since it cannot be undone.
const script = `
const { makeFilesOnlyIn } = await import(process.argv[1]);
const fs = await import("node:fs");
if (!(await makeFilesOnlyIn([process.argv[2]]))) process.exit(9);
const steps = {
  make: (at) => fs.writeFileSync(at + "/new", ""),
  rename: (at) => fs.renameSync(at + "/old", at + "/newer"),
  link: (at) => fs.symlinkSync("x", at + "/link"),
  folder: (at) => fs.mkdirSync(at + "/folder"),
  write: (at) => fs.writeFileSync(at + "/there", "written"),
  remove: (at) => fs.unlinkSync(at + "/there"),
};
const outcome = (step, at) => { try { step(at); return "done"; } catch ({ code }) { return code; } };
for (const at of process.argv.slice(2))
  console.log(JSON.stringify(Object.fromEntries(Object.entries(steps).map(([name, step]) => [name, outcome(step, at)]))));
`;

let folder = "";
afterEach(() => folder !== "" && rmSync(folder, { recursive: true }));

test("makeFilesOnlyIn leaves other folders their files, and lets these be written", async () => {
  folder = mkdtempSync(join(tmpdir(), "ngrokd-landlock-"));
  const [inside, outside] = [join(folder, "inside"), join(folder, "outside")];
  for (const path of [inside, outside]) {
    mkdirSync(path);
    for (const name of ["old", "there"]) writeFileSync(join(path, name), "");
  }
  const source = join(import.meta.dir, "../../src/net/bun-libc.ts");
  const child = Bun.spawn([process.execPath, "-e", script, source, inside, outside], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const [out, code] = await Promise.all([child.stdout.text(), child.exited]);
  if (code === 9) return console.warn("this kernel has no Landlock: nothing was tested");
  const [within, without] = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(within).toEqual({
    make: "done",
    rename: "done",
    link: "EACCES",
    folder: "done",
    write: "done",
    remove: "done",
  });
  expect(without).toEqual({
    make: "EACCES",
    rename: "EACCES",
    link: "EACCES",
    folder: "EACCES",
    write: "done",
    remove: "EACCES",
  });
  expect(readdirSync(outside).sort()).toEqual(["old", "there"]);
  expect(readFileSync(join(outside, "there"), "utf8")).toBe("written");
});
