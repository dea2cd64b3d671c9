import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * The Makefile and .ci/run in a folder of their own. A stand-in for Bun
 * "compiles" a binary that is its commit.
 */
const root = join(import.meta.dir, "..", "..");
const compiler = `#!/bin/sh
for word; do
  case $word in NGROKD_COMMIT=*) commit=$word ;; esac
  [ "$last" != --outfile ] || out=$word
  last=$word
done
printf '%s' "$commit" >"$out"
`;
let folder: string;
const at = (name: string): string => join(folder, name);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ngrokd-build-"));
  for (const name of ["src/dashboard", ".ci", "node_modules/.bin"])
    mkdirSync(at(name), { recursive: true });
  copyFileSync(join(root, "Makefile"), at("Makefile"));
  const texts = {
    "package.json": '{"version":"1.0.0"}',
    "src/main.ts": "",
    "src/dashboard/main.tsx": "",
    "src/dashboard/all.css": "",
    LICENSE: "",
    "README.md": "",
    ".gitignore": "dist\nnode_modules\n",
  };
  for (const [name, text] of Object.entries(texts)) writeFileSync(at(name), text);
  for (const name of ["package-lock.json", "node_modules/.package-lock.json"])
    writeFileSync(at(name), "{}");
  utimesSync(at("package-lock.json"), 0, 0);
  writeFileSync(at("node_modules/.bin/bun"), compiler, { mode: 0o755 });
});
afterEach(() => rmSync(folder, { recursive: true }));

/**
 * Runs a program to its end in the folder and returns its output. The variables
 * of a make or git around these tests are left out.
 */
function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): string {
  const plain = {
    PATH: process.env.PATH ?? "",
    HOME: folder,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CEILING_DIRECTORIES: join(folder, ".."),
  };
  const ran = spawnSync(program, args, {
    cwd: folder,
    env: { ...plain, ...env },
    encoding: "utf8",
  });
  expect({ status: ran.status, stderr: ran.stderr }).toEqual({ status: 0, stderr: "" });
  return ran.stdout;
}
const make = (...words: string[]): string => run("make", words);
const git = (...words: string[]): string =>
  run("git", ["-c", "user.name=a", "-c", "user.email=a@b.c", ...words]);
const built = (): string => readFileSync(at("dist/ngrokd"), "utf8");
const commit = (): string => {
  git("add", "-A");
  git("commit", "-qm", "x", "--allow-empty");
  return git("rev-parse", "--short=12", "HEAD").trim();
};

describe.skipIf(Bun.which("make") === null || Bun.which("git") === null)("make", () => {
  test("compiles the current commit into its files, and builds nothing twice", () => {
    git("init", "-q");
    const first = commit();
    make("build");
    expect(built()).toBe(`NGROKD_COMMIT="${first}"`);
    expect([make("build"), make("-n", "build")].join("")).toMatch(
      /^(?:make: Nothing to be done for 'build'\.\n){2}$/,
    );

    writeFileSync(at("README.md"), "changed");
    make("build");
    expect(built()).toBe(`NGROKD_COMMIT="${first}-dirty"`);
    const second = commit();
    expect(second).not.toBe(first);
    make("build");
    expect(built()).toBe(`NGROKD_COMMIT="${second}"`);
    // An earlier commit, as after a checkout.
    git("reset", "-q", "--hard", first);
    make("build");
    expect(built()).toBe(`NGROKD_COMMIT="${first}"`);
  });

  test("releases the commit of now, and no older one", () => {
    const released = (): string => {
      make("dist", "TARGETS=linux-x64");
      return run("tar", ["-xzOf", "dist/ngrokd-1.0.0-linux-x64.tar.gz", "ngrokd"]);
    };
    writeFileSync(at("install.sh"), "");
    git("init", "-q");
    commit();
    writeFileSync(at("LICENSE"), "changed");
    expect(released()).toEndWith('-dirty"');
    const now = commit();
    expect(released()).toBe(`NGROKD_COMMIT="${now}"`);
  });

  test("builds once from an archive of the sources, without git", () => {
    make("build");
    expect(built()).toBe('NGROKD_COMMIT=""');
    expect(make("build")).toBe("make: Nothing to be done for 'build'.\n");
    make("clean");
    expect(existsSync(at("dist"))).toBe(false);
  });
});

describe.skipIf(Bun.which("bash") === null)(".ci/run", () => {
  test.each([
    ["sets CI if it is not set, so that a skipped story is a failure", {}, "true"],
    ["leaves CI unchanged if it is set", { CI: "" }, ""],
  ] as const)("%s", (_what, env, said) => {
    copyFileSync(join(root, ".ci/run"), at(".ci/run"));
    // Every tool is installed, and make has no work.
    const [, tools = ""] = /^tools=\(([^)]*)\)$/m.exec(readFileSync(at(".ci/run"), "utf8")) ?? [];
    mkdirSync(at("fakes"));
    for (const tool of tools.trim().split(/\s+/))
      writeFileSync(at(`fakes/${tool.split(":")[0]}`), "#!/bin/sh\n", { mode: 0o755 });
    writeFileSync(at("node_modules/.bin/bun"), '#!/bin/sh\nprintf "%s" "$* CI=$CI"\n', {
      mode: 0o755,
    });
    const path = `${at("fakes")}:${process.env.PATH}`;
    expect(run("bash", [".ci/run"], { SKIP_VM: "1", ...env, PATH: path })).toBe(
      `test/run.ts CI=${said}`,
    );
  });
});
