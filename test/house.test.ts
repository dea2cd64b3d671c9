import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { stateFiles } from "../src/files/state-folder.ts";

// The measures of the house: the length of functions and lines, the size of
// rooms, and a purpose for each folder. A list of exceptions only gets shorter:
// an entry that is no longer an exception fails the test too.

/** In lines, from the signature to the closing brace, comments included. */
const longestFunction = 80;

/** Parsers and tables may stay longer, since each case is read by itself. */
const parsersAndTables: readonly string[] = [];

const widestCode = 100;
const widestComment = 80;
/** The share of lines that may be wider: long texts and test titles. */
const wideLines = 0.008;

/** The share of all lines of src that the biggest room may have. */
const biggestRoom = 0.12;

/** The main file of a folder, if it is not named like the folder. */
const mainFiles: Readonly<Record<string, string>> = {
  cli: "run.ts",
  "cli/config": "edit.ts",
  "cli/service": "install.ts",
  cloud: "registration.ts",
  config: "load.ts",
  control: "protocol.ts",
  dashboard: "main.tsx",
  desk: "operations.ts",
  files: "atomic.ts",
  linux: "netlink.ts",
  "local-cloud": "cloud.ts",
  "machine/hosts": "file.ts",
  model: "binding.ts",
  net: "types.ts",
  observe: "daemon-log.ts",
  service: "manage.ts",
  terminal: "say.ts",
};

/** Where the wall clock is compared with dates from elsewhere, or shown. */
const wallClocks: Readonly<Record<string, string>> = {
  "src/cloud/refusal.ts": "Retry-After may be a date",
  "src/control/stale-sockets.ts": "the time of a file",
  "src/dashboard/connections.tsx": "dates of the API, which age",
  "src/dashboard/endpoints.tsx": "dates of the API, which age",
  "src/dashboard/panels.tsx": "dates of the API, which age",
  "src/doctor/api-findings.ts": "the API's date",
  "src/files/sweep.ts": "the time of a file",
  "src/history/history.ts": "shown",
  "src/history/trace.ts": "shown",
  "src/journal/journal.ts": "the time of a file",
  "src/local-cloud/api-faults.ts": "the API's date",
  "src/local-cloud/ca.ts": "the dates of a certificate",
  "src/local-cloud/store.ts": "shown",
  "src/machine/wake.ts": "compared with the steady clock",
  "src/net/node-tls.ts": "the dates of a certificate",
  "src/observe/process-metrics.ts": "shown",
  "src/relay/forward.ts": "shown",
};

interface Source {
  /** Below the root of the repository. */
  readonly path: string;
  readonly lines: readonly string[];
}

const root = join(import.meta.dir, "..");
const sources = sourcesIn("src");
const tests = sourcesIn("test");

describe("names", () => {
  test("of files in the state folder are in files/state-folder.ts only", () => {
    const names = Object.values(stateFiles("/")).map((path) => basename(path));
    // Not `"operator_id":`, which is a key in JSON.
    const literal = new RegExp(`"(?:${names.join("|")})"(?!:)`);
    const repeated = sources
      .filter(({ path }) => path !== "src/files/state-folder.ts")
      .flatMap((source) => found(source, (line) => literal.test(line)));
    expect(repeated).toEqual([]);
  });
});

describe("durations", () => {
  test("are measured with the steady clock, and the wall clock is for dates", () => {
    const readers = sources
      .filter(({ lines }) => lines.some((line) => /\bDate\.now\b/.test(line)))
      .map(({ path }) => path);
    expect(readers.sort()).toEqual(Object.keys(wallClocks));
  });
});

describe("functions", () => {
  test("fit on two screens, except for parsers and tables", () => {
    const long = sources.flatMap(longFunctions);
    expect(named(long)).toEqual([...parsersAndTables].sort());
  });

  test("are found in every form that the sources use", () => {
    const forms = [
      "export async function one(",
      "  a: string,",
      "): Promise<void> {",
      "  body();",
      "}",
      "const two = async ({",
      "  a,",
      "}: { a: string }): Promise<void> => {",
      "  return {",
      "    three(b) {",
      "      body();",
      "    },",
      "    four: async () => {",
      "      body();",
      "    },",
      "  };",
      "};",
      "body({",
      "  a,",
      "});",
    ];
    expect(functionsIn({ path: "x.ts", lines: forms })).toEqual([
      { path: "x.ts", name: "one", length: 5 },
      { path: "x.ts", name: "two", length: 12 },
      { path: "x.ts", name: "three", length: 3 },
      { path: "x.ts", name: "four", length: 3 },
    ]);
  });
});

describe("lines", () => {
  test("are seldom wider than 100 columns", () => {
    const all = [...sources, ...tests].flatMap(({ lines }) => lines);
    const wide = all.filter((line) => line.length > widestCode);
    expect(wide.length).toBeLessThanOrEqual(Math.floor(wideLines * all.length));
  });

  test("of comments are at most 80 columns wide, except for links and linter marks", () => {
    const comment = /^\s*(?:\/\/|\/\*|\*(?: |\/|$))/;
    const exempt = /https?:\/\/|biome-ignore|@ts-types/;
    const wide = [...sources, ...tests].flatMap((source) =>
      found(
        source,
        (line) => line.length > widestComment && comment.test(line) && !exempt.test(line),
      ),
    );
    expect(wide).toEqual([]);
  });
});

describe("rooms", () => {
  test("have at most 12 % of the lines of src", () => {
    const sizes = new Map<string, number>();
    for (const { path, lines } of sources) {
      const room = path.split("/")[1] ?? "";
      sizes.set(room, (sizes.get(room) ?? 0) + lines.length);
    }
    const all = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    const shares = [...sizes].map(([room, size]) => ({ room, share: size / all }));
    const tooBig = shares.filter(({ share }) => share > biggestRoom);
    expect(tooBig).toEqual([]);
  });

  test("have their purpose in the first line of their main file", () => {
    const folders = [...new Set(sources.map(({ path }) => dirname(path).slice("src/".length)))]
      .filter((folder) => folder !== "")
      .sort();
    expect(folders.filter((folder) => !existsSync(mainFileOf(folder)))).toEqual([]);
    const silent = folders.filter((folder) => !/^\/[/*]/.test(textOf(mainFileOf(folder))));
    expect(silent).toEqual([]);
  });
});

interface FunctionSize {
  readonly path: string;
  readonly name: string;
  readonly length: number;
}

const longFunctions = (source: Source): FunctionSize[] =>
  functionsIn(source).filter(({ length }) => length > longestFunction);

const named = (functions: readonly FunctionSize[]): string[] =>
  functions.map(({ path, name }) => `${path}: ${name}`).sort();

/**
 * The functions and methods that have a name. Relies on the formatter: the
 * closing brace has the indentation of the first line.
 */
function functionsIn({ path, lines }: Source): FunctionSize[] {
  return lines.flatMap((line, start) => {
    const [, indent = "", name] = startOfFunction.exec(line) ?? startOfMethod.exec(line) ?? [];
    if (name === undefined || statements.has(name)) return [];
    const end = /[({[]$/.test(line) ? endOf(lines, start, indent) : start;
    const signature = lines.slice(start, end + 1).find((other) => other.endsWith("{")) ?? "";
    const isCall = !startOfFunction.test(line) && !/\)(?:: .+)? \{$/.test(signature);
    return isCall ? [] : [{ path, name, length: end - start + 1 }];
  });
}

/** The line that closes a block or a list; `}: A {` does not. */
function endOf(lines: readonly string[], start: number, indent: string): number {
  return lines.findIndex((line, i) => {
    const rest = line.slice(indent.length);
    return i > start && line.startsWith(indent) && /^[)}\]]/.test(rest) && !/[({[]$/.test(rest);
  });
}

/** `function name(`, `const name = (`, `name: (`. */
const startOfFunction = new RegExp(
  String.raw`^(\s*)(?:export )?(?:default )?(?:` +
    String.raw`(?:async )?function\*? (?=\w)|` +
    String.raw`const (?=\w+(?:: .+)? = (?:async )?(?:[(<]|\w+ =>))|` +
    String.raw`(?=\w+: (?:async )?(?:[(<]|\w+ =>)))(\w+)`,
);
/** `name(`, which may be a call. */
const startOfMethod = /^(\s+)(?:async |get |set |\*)?(\w+)(?:<.*>)?\(/;
const statements = new Set([
  "if",
  "for",
  "while",
  "switch",
  "catch",
  "return",
  "await",
  "function",
]);

/** The lines that match, each with its place. */
const found = ({ path, lines }: Source, matches: (line: string) => boolean): string[] =>
  lines.flatMap((line, i) => (matches(line) ? [`${path}:${i + 1}: ${line.trim()}`] : []));

function sourcesIn(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => /\.tsx?$/.test(path) && !/_pb\.ts$/.test(path))
    .map((path) => join(folder, path))
    .map((path) => ({ path, lines: textOf(join(root, path)).trimEnd().split("\n") }));
}

function textOf(path: string): string {
  return readFileSync(path, "utf8");
}

const mainFileOf = (folder: string): string =>
  join(root, "src", folder, mainFiles[folder] ?? `${basename(folder)}.ts`);
