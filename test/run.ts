import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * What `make test` runs: the checks, the tests of every room on Bun, the seam's
 * contract on Deno, and the stories, which need dist/ngrokd. `make check` runs
 * the checks alone (`bun test/run.ts checks`). A check counts as one test. The
 * last line is `N passed, N failed`; the exit code is 1 if anything failed, or
 * if a stage ran no test at all.
 */
interface Stage {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /**
   * Tests, counted from the JUnit report that this option asks for; without it
   * the stage is one check, told by its exit code.
   */
  readonly report?: (file: string) => string[];
  /**
   * With CI set, a skipped test is a failure: there, everything that a story
   * needs has to be.
   */
  readonly whole?: boolean;
}

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const tool = (name: string): string => join("node_modules", ".bin", name);
const bunReport = (file: string): string[] => ["--reporter=junit", `--reporter-outfile=${file}`];
const denoReport = (file: string): string[] => [`--junit-path=${file}`];

const checks: readonly Stage[] = [
  { name: "Format and lint", command: [tool("biome"), "check", "--error-on-warnings", "."] },
  { name: "Types", command: [tool("tsc"), "-p", "."] },
  { name: "Types under Deno", command: [tool("deno"), "check", "--quiet", "src/main.ts"] },
  { name: "Syntax of install.sh", command: ["sh", "-n", "install.sh"] },
  {
    name: "Import arrows",
    command: [tool("bun"), "test", "./test/arrows.test.ts"],
    report: bunReport,
  },
];

/**
 * Milliseconds for one test of a room, and for one story, which starts daemons.
 */
const [patience, patienceForStories] = [20_000, 120_000];
/** With the dot, Bun takes a path as a path and not as a part of one. */
const storyTests = (folder: string): [string, ...string[]] => [
  tool("bun"),
  "test",
  `--timeout=${patienceForStories}`,
  folder,
];
const elsewhere = [
  "./test/arrows.test.ts",
  "./test/stories/",
  "./test/install/",
  "./test/bench/",
  "./test/soak/",
  "./test/chaos/",
];
const rooms = readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() || entry.name.endsWith(".test.ts"))
  .map((entry) => `./test/${entry.name}${entry.isDirectory() ? "/" : ""}`)
  .filter((path) => !elsewhere.includes(path))
  .sort();

const tests: readonly Stage[] = [
  {
    name: "Rooms, on Bun",
    command: [
      tool("bun"),
      "test",
      `--timeout=${patience}`,
      "--path-ignore-patterns=**/*_deno_test.ts",
      ...rooms,
    ],
    report: bunReport,
  },
  {
    name: "The seam's contract, on Deno",
    command: [tool("deno"), "test", "-A", "--no-check", "test/contract/*_deno_test.ts"],
    report: denoReport,
  },
  { name: "Stories", command: storyTests("./test/stories/"), report: bunReport, whole: true },
  { name: "The installer", command: storyTests("./test/install/"), report: bunReport },
  // Half a minute, unless SOAK_MINUTES says otherwise.
  { name: "Soak", command: [tool("bun"), "test/soak/main.ts"] },
  // One minute, unless CHAOS_MINUTES says otherwise.
  { name: "Chaos", command: [tool("bun"), "test/chaos/main.ts"] },
];

/** A stage that takes longer is ended, and has failed. */
const longestStageMs = 15 * 60_000;

process.chdir(join(import.meta.dirname, ".."));
const reports = mkdtempSync(join(tmpdir(), "ngrokd-reports-"));
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => interrupted.abort());
try {
  process.exitCode = await runAll(process.argv[2] === "checks" ? checks : [...checks, ...tests]);
} finally {
  rmSync(reports, { recursive: true, force: true });
}

async function runAll(stages: readonly Stage[]): Promise<number> {
  const total = { passed: 0, failed: 0, skipped: 0 };
  const lines: string[] = [];
  for (const [i, stage] of stages.entries()) {
    if (interrupted.signal.aborted) return 130;
    console.log(`\n=== ${stage.name} ===\n`);
    const start = performance.now();
    const { passed, failed, skipped } = await runStage(stage, join(reports, `${i}.xml`));
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    lines.push(
      `${stage.name.padEnd(30)} ${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""} (${seconds} s)`,
    );
    total.passed += passed;
    total.failed += failed;
  }
  console.log(
    `\n=== Summary ===\n\n${lines.join("\n")}\n\n${total.passed} passed, ${total.failed} failed`,
  );
  return total.failed === 0 ? 0 : 1;
}

async function runStage(
  { name, command, report, whole = false }: Stage,
  file: string,
): Promise<Outcome> {
  const [program, ...args] = command;
  const code = await run(program, report === undefined ? args : [...args, ...report(file)]);
  if (report === undefined)
    return code === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 };
  const counted = countReport(file);
  if (counted === undefined)
    console.log(`${name}: the runner ended without a report, exit code ${code}`);
  const { passed, failed, skipped } = counted ?? { passed: 0, failed: 0, skipped: 0 };
  // A file that does not load is in no report, only in the exit code.
  if (code !== 0 && failed === 0) return { passed, failed: 1, skipped };
  if (whole && skipped > 0 && process.env.CI) {
    console.log(`${name}: ${skipped} tests were skipped, and here none may be`);
    return { passed, failed: failed + skipped, skipped: 0 };
  }
  if (passed + failed > 0) return { passed, failed, skipped };
  console.log(`${name}: no test ran, and that is a failure`);
  return { passed, failed: 1, skipped };
}

/**
 * Settles with the exit code, -1 for a program that was killed or could not be
 * started. Its output goes where ours goes.
 */
function run(program: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      stdio: ["ignore", "inherit", "inherit"],
      timeout: longestStageMs,
      signal: interrupted.signal,
    });
    child.on("error", (error) => {
      console.log(`Cannot run ${program}: ${error.message}`);
      resolve(-1);
    });
    child.on("exit", (code, signal) => {
      if (signal !== null) console.log(`${program} was ended by ${signal}`);
      resolve(code ?? -1);
    });
  });
}

/**
 * Reads the totals from the root element, where Bun and Deno agree, and counts
 * skipped tests, where they do not.
 */
function countReport(file: string): Outcome | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return undefined; // The runner ended before it wrote one.
  }
  const root = /<testsuites\b[^>]*>/.exec(text)?.[0] ?? "";
  const number = (name: string): number =>
    Number(new RegExp(`\\b${name}="(\\d+)"`).exec(root)?.[1] ?? 0);
  const skipped = text.match(/<skipped\b/g)?.length ?? 0;
  const failed = number("failures") + number("errors");
  return { passed: number("tests") - failed - skipped, failed, skipped };
}
