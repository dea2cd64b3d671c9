import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

// The measures of the house: how long functions and lines are, how big a room
// is, and that each folder says what it is for. A list of exceptions only gets
// shorter: an entry that is not an exception any more fails the test too.

/** In lines, from the signature to the closing brace, comments included. */
const longestFunction = 80;

/**
 * Functions that stay longer: parsers and tables, which are read by their cases
 * and not from top to bottom.
 */
const parsersAndTables: readonly string[] = [];

/** Functions that are still to be split. */
const functionsToSplit: readonly string[] = [
  "src/account/keeper.ts: createIdentityKeeper",
  "src/account/poll.ts: createPass",
  "src/cloud/api.ts: createApi",
  "src/daemon/daemon.ts: startDaemon",
  "src/daemon/settings.ts: createSettings",
  "src/desk/commands.ts: createCommands",
  "src/desk/settle.ts: settled",
  "src/ingress/ingress.ts: createIngress",
  "src/ingress/pool.ts: createPool",
  "src/machine/hosts/keeper.ts: createHostsKeeper",
  "src/relay/doors.ts: createListeners",
];

const widestCode = 100;
const widestComment = 80;
/** The share of lines that may be wider: long texts and test titles. */
const wideLines = 0.0115;

/** The share of all lines of src that the biggest room may have. */
const biggestRoom = 0.12;
/** Rooms that are still to be split, with their share at most. */
const roomsToSplit: Readonly<Record<string, number>> = { cli: 0.145 };

/** The main file of a folder, if it is not named like the folder. */
const mainFiles: Readonly<Record<string, string>> = {
  account: "keeper.ts",
  cli: "commands.ts",
  "cli/config": "edit.ts",
  "cli/service": "install.ts",
  cloud: "registration.ts",
  config: "load.ts",
  control: "server.ts",
  desk: "commands.ts",
  exposure: "plan.ts",
  files: "atomic.ts",
  "local-cloud": "cloud.ts",
  machine: "repair.ts",
  "machine/hosts": "file.ts",
  model: "binding.ts",
  net: "types.ts",
  observe: "log.ts",
  relay: "doors.ts",
  service: "manage.ts",
};
/** Folders that do not say yet what they are for. */
const foldersToExplain: readonly string[] = [
  "account",
  "cli",
  "cli/config",
  "cli/service",
  "cloud",
  "control",
  "daemon",
  "desk",
  "exposure",
  "ingress",
  "machine",
  "machine/hosts",
  "observe",
  "relay",
];

interface Source {
  /** Below the root of the repository. */
  readonly path: string;
  readonly lines: readonly string[];
}

const root = join(import.meta.dir, "..");
const sources = sourcesIn("src");
const tests = sourcesIn("test");

describe("functions", () => {
  test("fit on two screens, except for parsers and tables", () => {
    const long = sources.flatMap(longFunctions);
    expect(named(long)).toEqual([...parsersAndTables, ...functionsToSplit].sort());
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
    const exempt = /https?:\/\/|biome-ignore/;
    const wide = [...sources, ...tests].flatMap(({ path, lines }) =>
      lines.flatMap((line, i) =>
        line.length > widestComment && comment.test(line) && !exempt.test(line)
          ? [`${path}:${i + 1}: ${line.trim()}`]
          : [],
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
    expect(tooBig.map(({ room }) => room).sort()).toEqual(Object.keys(roomsToSplit).sort());
    for (const { room, share } of tooBig)
      expect(share).toBeLessThanOrEqual(roomsToSplit[room] ?? 0);
  });

  test("say at the top of their main file what they are for", () => {
    const folders = [...new Set(sources.map(({ path }) => dirname(path).slice("src/".length)))]
      .filter((folder) => folder !== "")
      .sort();
    expect(folders.filter((folder) => !existsSync(mainFileOf(folder)))).toEqual([]);
    const silent = folders.filter((folder) => !/^\/[/*]/.test(textOf(mainFileOf(folder))));
    expect(silent).toEqual([...foldersToExplain].sort());
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

/** The line that closes a block or a list; `}: A {` goes on. */
function endOf(lines: readonly string[], start: number, indent: string): number {
  return lines.findIndex((line, i) => {
    const rest = line.slice(indent.length);
    return i > start && line.startsWith(indent) && /^[)}\]]/.test(rest) && !/[({[]$/.test(rest);
  });
}

/** `function name(`, `const name = (`, `name: (`. */
const startOfFunction =
  /^(\s*)(?:export )?(?:default )?(?:(?:async )?function\*? (?=\w)|const (?=\w+(?:: .+)? = (?:async )?(?:[(<]|\w+ =>))|(?=\w+: (?:async )?(?:[(<]|\w+ =>)))(\w+)/;
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

function sourcesIn(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !/_pb\.ts$/.test(path))
    .map((path) => join(folder, path))
    .map((path) => ({ path, lines: textOf(join(root, path)).trimEnd().split("\n") }));
}

function textOf(path: string): string {
  return readFileSync(path, "utf8");
}

const mainFileOf = (folder: string): string =>
  join(root, "src", folder, mainFiles[folder] ?? `${basename(folder)}.ts`);
