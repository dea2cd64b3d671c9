import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * The runner of `make test`: the checks, the tests of every room on Bun, the
 * seam's contract on Deno, and the stories, which need dist/ngrokd. `make
 * check` runs only the checks (`bun test/run.ts checks`). A check counts as one
 * test.
 *
 * The output ends with the skipped tests and their reasons, and with the failed
 * tests and their errors, for logs that keep only the end. The last line is `N
 * passed, N failed`. The exit code is 1 if a test failed, or if a stage ran no
 * test.
 */
interface Stage {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /**
   * The option that asks for a JUnit report, from which the tests are counted.
   * Without it the stage is one check, judged by its exit code.
   */
  readonly report?: (file: string) => string[];
  /**
   * If CI is set, a skipped test is a failure: CI has everything that a story
   * needs.
   */
  readonly whole?: boolean;
  /**
   * The number of processes among which the test files are divided. They run at
   * the same time. Default 1.
   */
  readonly shards?: number;
}

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  /** A line for each skipped test: its name, and why it was skipped. */
  readonly skipped: readonly string[];
  /** A text for each failed test: its name, its place and its error. */
  readonly errors: readonly string[];
}

const entities: Readonly<Record<string, string>> = {
  "&quot;": '"',
  "&apos;": "'",
  "&lt;": "<",
  "&gt;": ">",
  "&amp;": "&",
};

const tool = (name: string): string => join("node_modules", ".bin", name);
const bunReport = (file: string): string[] => ["--reporter=junit", `--reporter-outfile=${file}`];
const denoReport = (file: string): string[] => [`--junit-path=${file}`];

const checks: readonly Stage[] = [
  { name: "Format and lint", command: [tool("biome"), "check", "--error-on-warnings", "."] },
  { name: "Types", command: [tool("tsc"), "-p", "."] },
  { name: "Types of the dashboard", command: [tool("tsc"), "-p", "src/dashboard"] },
  { name: "Types under Deno", command: [tool("deno"), "check", "--quiet", "src/main.ts"] },
  { name: "Syntax of install.sh", command: ["sh", "-n", "install.sh"] },
  {
    name: "Import arrows",
    command: [tool("bun"), "test", "./test/arrows.test.ts"],
    report: bunReport,
  },
];

/** Deadlines in ms: for a test of a room, and for a story, with its daemons. */
const [patience, patienceForStories] = [20_000, 120_000];
/** Bun takes a path without the leading dot as a filter. */
const storyTests = (folder: string): [string, ...string[]] => [
  tool("bun"),
  "test",
  `--timeout=${patienceForStories}`,
  folder,
];
const elsewhere = [
  "./test/arrows.test.ts",
  "./test/stories/",
  "./test/portable/",
  "./test/install/",
  "./test/vm/",
  "./test/bench/",
  "./test/soak/",
  "./test/chaos/",
  "./test/packages/",
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
    shards: 2,
  },
  {
    name: "The seam's contract, on Deno",
    command: [tool("deno"), "test", "-A", "--no-check", "test/contract/*_deno_test.ts"],
    report: denoReport,
  },
  // Stories mostly wait, and each process has a machine of its own
  // (support/machine.ts).
  {
    name: "Stories",
    command: storyTests("./test/stories/"),
    report: bunReport,
    whole: true,
    shards: 3,
  },
  { name: "Portable stories", command: storyTests("./test/portable/"), report: bunReport },
  { name: "The installer", command: storyTests("./test/install/"), report: bunReport },
  ...packaging(),
  // Skipped with a reason if this machine cannot run another one, or with
  // SKIP_VM=1 (test/vm/whole-system.ts).
  { name: "A whole system", command: storyTests("./test/vm/"), report: bunReport },
  // Half a minute, or SOAK_MINUTES.
  { name: "Soak", command: [tool("bun"), "test/soak/main.ts"] },
  // One minute, or CHAOS_MINUTES.
  { name: "Chaos", command: [tool("bun"), "test/chaos/main.ts"] },
];

/**
 * The packages, and their tests, if this machine has the tools. In CI it has.
 * They are built first: the tests have no network.
 */
function packaging(): readonly Stage[] {
  if (!process.env.CI && ["dh", "rpmbuild"].some((name) => Bun.which(name) === null)) return [];
  const targets = "TARGETS=linux-x64 linux-x64-musl linux-arm64";
  return [
    { name: "Building the packages", command: ["make", "release", targets] },
    {
      name: "The packages",
      command: storyTests("./test/packages/"),
      report: bunReport,
      whole: true,
    },
  ];
}

/** A stage that takes longer is ended and has failed. */
const longestStageMs = 30 * 60_000;

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
  const total = { passed: 0, failed: 0 };
  const skips: string[] = [];
  const failures: string[] = [];
  const lines: string[] = [];
  for (const [i, stage] of stages.entries()) {
    if (interrupted.signal.aborted) return 130;
    console.log(`\n=== ${stage.name} ===\n`);
    const start = performance.now();
    const { passed, failed, skipped, errors } = await runStage(stage, join(reports, `${i}.xml`));
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    lines.push(
      `${stage.name.padEnd(30)} ${passed} passed, ${failed} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ""} (${seconds} s)`,
    );
    total.passed += passed;
    total.failed += failed;
    skips.push(...skipped);
    failures.push(...errors);
  }
  if (skips.length > 0) console.log(`\n=== Skipped ===\n\n${skips.join("\n")}`);
  if (failures.length > 0) console.log(`\n=== Failed ===\n\n${failures.join("\n\n")}`);
  console.log(
    `\n=== Summary ===\n\n${lines.join("\n")}\n\n${total.passed} passed, ${total.failed} failed`,
  );
  return total.failed === 0 ? 0 : 1;
}

async function runStage(stage: Stage, reportBase: string): Promise<Outcome> {
  const { shards = 1 } = stage;
  if (shards === 1) return await runPart(stage, stage.command, reportBase, "inherit");
  const parts = Array.from({ length: shards }, (_, i) =>
    runPart(stage, [...stage.command, `--shard=${i + 1}/${shards}`], `${reportBase}.${i}`, "whole"),
  );
  const outcomes = await Promise.all(parts);
  return {
    passed: sum(outcomes.map(({ passed }) => passed)),
    failed: sum(outcomes.map(({ failed }) => failed)),
    skipped: outcomes.flatMap(({ skipped }) => skipped),
    errors: outcomes.flatMap(({ errors }) => errors),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}

async function runPart(
  { name, report, whole = false }: Stage,
  command: Stage["command"],
  file: string,
  output: Output,
): Promise<Outcome> {
  const [program, ...args] = command;
  const code = await run(program, report === undefined ? args : [...args, ...report(file)], output);
  if (report === undefined)
    return code === 0
      ? { passed: 1, failed: 0, skipped: [], errors: [] }
      : {
          passed: 0,
          failed: 1,
          skipped: [],
          errors: [`${name}: \`${command.join(" ")}\` ended with exit code ${code}`],
        };
  const counted = countReport(file);
  const without = `${name}: the runner ended without a report, exit code ${code}`;
  const { passed, failed, skipped, errors } = counted ?? {
    passed: 0,
    failed: 1,
    skipped: [],
    errors: [without],
  };
  const more = (count: number, error: string): Outcome => ({
    passed,
    failed: failed + count,
    skipped,
    errors: [...errors, error],
  });
  // A file that does not load shows in the exit code alone.
  if (code !== 0 && failed === 0)
    return more(1, `${name}: no test failed, but the exit code is ${code}`);
  if (whole && skipped.length > 0 && process.env.CI)
    return more(
      skipped.length,
      `${name}: ${skipped.length} tests were skipped, and here none may be`,
    );
  if (passed + failed === 0) return more(1, `${name}: no test ran, and that is a failure`);
  return { passed, failed, skipped, errors };
}

/** Shares our output, or prints all of its own at its end. */
type Output = "inherit" | "whole";

/**
 * Resolves to the exit code, or to -1 for a program that was killed or could
 * not be started.
 */
function run(program: string, args: readonly string[], output: Output): Promise<number> {
  return new Promise((resolve) => {
    const pipe = output === "inherit" ? "inherit" : "pipe";
    const child = spawn(program, args, {
      stdio: ["ignore", pipe, pipe],
      timeout: longestStageMs,
      signal: interrupted.signal,
    });
    const chunks: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("error", (error) => {
      console.log(`Cannot run ${program}: ${error.message}`);
      resolve(-1);
    });
    // Not "exit": a pipe may still hold output then.
    child.on("close", (code, signal) => {
      if (chunks.length > 0) console.log(Buffer.concat(chunks).toString());
      if (signal !== null) console.log(`${program} was ended by ${signal}`);
      resolve(code ?? -1);
    });
  });
}

/**
 * Reads the totals from the root element, on which Bun and Deno agree, and the
 * skipped tests from their own elements. Undefined without a report.
 */
function countReport(file: string): Outcome | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
  const root = /<testsuites\b[^>]*>/.exec(text)?.[0] ?? "";
  const number = (name: string): number =>
    Number(new RegExp(`\\b${name}="(\\d+)"`).exec(root)?.[1] ?? 0);
  const skipped = [...text.matchAll(/<testcase\b([^>]*)>\s*<skipped\b/g)].map(([, test = ""]) =>
    skippedLine(test),
  );
  const errors = [
    ...text.matchAll(/<testcase\b([^>]*)>\s*<(?:failure|error)\b([^>]*)>([^<]*)</g),
  ].map(([, test = "", attributes = "", body = ""]) => failureText(test, attributes, body));
  const failed = number("failures") + number("errors");
  return { passed: number("tests") - failed - skipped.length, failed, skipped, errors };
}

/**
 * The text for a failed test, from its attributes in the report, and from the
 * attributes and the body of its failure. At most 40 lines.
 */
function failureText(test: string, failure: string, body: string): string {
  const error = plain(body).trim() || attributeOf(failure, "message");
  const lines = error.split("\n").slice(0, 40);
  return `${nameOf(test)}\n${lines.map((line) => `    ${line}`).join("\n")}`;
}

function plain(text: string): string {
  return text
    .replaceAll(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
    .replaceAll(/&(?:quot|apos|lt|gt|amp);/g, (entity) => entities[entity] ?? entity);
}

function attributeOf(attributes: string, name: string): string {
  return plain(new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? "");
}

function nameOf(test: string): string {
  const [file, line] = [attributeOf(test, "file"), attributeOf(test, "line")];
  return `${attributeOf(test, "classname")} > ${attributeOf(test, "name")} (${file}:${line})`;
}

/**
 * The line for a skipped test, from its attributes in the report. Its reason is
 * the condition in its source, or in that of the block around it. A chapter of
 * stories has the reason in its title.
 */
function skippedLine(test: string): string {
  const [file, line] = [attributeOf(test, "file"), attributeOf(test, "line")];
  const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
  const above = lines.slice(0, Number(line)).toReversed();
  const depth = (text = ""): number => text.search(/\S/);
  const reason = above
    .filter((text, i) => i === 0 || depth(text) < depth(above[0]))
    .map((text) => /\.(skipIf|if)\((.*?)\)(?:\.each)?\(/.exec(text))
    .find((match) => match !== null);
  const why =
    reason === undefined ? "" : `: ${reason[1] === "if" ? "unless" : "since"} ${reason[2]}`;
  return `${nameOf(test)}${why}`;
}
