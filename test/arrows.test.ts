import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/**
 * The arrows of docs/design.md: the rooms that each room of src may import. A
 * file directly in src is a room of its own. Every room except model may also
 * import `model` and `version`. A room that is missing here may not exist.
 */
const arrows: Readonly<Record<string, readonly string[]>> = {
  main: ["cli", "net", "predecessor", "terminal", "workers"],
  cli: [
    "account",
    "cloud",
    "config",
    "containers",
    "control",
    "daemon",
    "demo",
    "desk",
    "doctor",
    "files",
    "handover",
    "ingress",
    "inspect",
    "journal",
    "local-cloud",
    "machine",
    "net",
    "observe",
    "reach",
    "service",
    "setup",
    "terminal",
    "top",
  ],
  daemon: [
    "access",
    "account",
    "cloud",
    "config",
    "control",
    "desk",
    "dns",
    "doctor",
    "exposure",
    "files",
    "handover",
    "history",
    "ingress",
    "inspect",
    "journal",
    "machine",
    "names",
    "net",
    "observe",
    "relay",
    "web",
    "workers",
  ],
  dashboard: ["desk"],
  demo: ["config", "daemon", "local-cloud", "net", "observe"],
  desk: ["account", "config", "control", "history", "ingress", "inspect", "net", "observe"],
  doctor: ["access", "cloud", "config", "control", "desk", "files", "ingress", "machine", "net"],
  predecessor: ["config", "control", "desk", "net"],
  "local-cloud": ["cloud", "files", "ingress", "net", "observe", "relay"],
  account: ["cloud", "config", "files", "ingress"],
  machine: ["exposure", "files", "journal", "linux", "net"],
  reach: [
    "account",
    "cloud",
    "config",
    "control",
    "desk",
    "dns",
    "exposure",
    "files",
    "ingress",
    "names",
    "net",
    "relay",
  ],
  setup: [
    "account",
    "config",
    "control",
    "desk",
    "doctor",
    "ingress",
    "machine",
    "net",
    "service",
    "terminal",
  ],
  terminal: ["desk"],
  top: ["desk", "terminal"],
  relay: ["access", "exposure", "history", "ingress", "net"],
  workers: ["access", "exposure", "history", "ingress", "inspect", "net", "relay"],
  history: [],
  web: ["control", "desk", "net", "observe"],
  access: ["net"],
  containers: ["access"],
  ingress: ["files", "net"],
  control: ["files", "net"],
  handover: ["control", "files", "net"],
  cloud: ["files"],
  journal: ["files"],
  service: ["config", "files", "journal", "net"],
  config: ["files"],
  names: ["exposure", "files"],
  observe: ["net"],
  dns: ["net"],
  inspect: ["net"],
  exposure: [],
  files: [],
  linux: [],
  net: ["linux"],
  version: [],
  model: [],
};
const openToAll = ["model", "version"];

/**
 * The only importers of these files. All other files import net/types.ts.
 */
const importers: Readonly<Record<string, readonly string[]>> = {
  "net/bun.ts": ["main.ts"],
  "net/node.ts": ["main.ts"],
  "net/bun-diag.ts": ["net/bun.ts"],
  "net/bun-enclosure.ts": ["net/bun.ts"],
  "net/bun-libc.ts": [
    "net/bun.ts",
    "net/bun-diag.ts",
    "net/bun-enclosure.ts",
    "net/bun-exec.ts",
    "net/bun-message.ts",
    "net/bun-rights.ts",
    "net/bun-routing.ts",
    "net/bun-stage.ts",
  ],
  "net/bun-exec.ts": ["net/bun.ts"],
  "net/bun-message.ts": ["net/bun-enclosure.ts", "net/bun-rights.ts"],
  "net/bun-rights.ts": ["net/bun.ts"],
  "net/bun-routing.ts": ["net/bun.ts"],
  "net/bun-stage.ts": ["net/bun.ts", "net/bun-tls.ts", "net/bun-udp.ts"],
  "net/bun-tls.ts": ["net/bun.ts"],
  "net/bun-udp.ts": ["net/bun.ts"],
  "net/node-udp.ts": ["net/node.ts"],
};

/** The packages that model may import. */
const packagesOfModel = ["zod", "ipaddr.js"];

/** They end in less than the time that these modules take to load. */
const shortCommands = ["list", "status", "health", "reload", "refresh"].map(
  (name) => `cli/${name}.ts`,
);
const bigModules = [
  ...["child_process", "crypto", "http", "net", "stream", "tls", "tty", "zlib"].map(
    (name) => `node:${name}`,
  ),
  ...["zod", "yaml"],
];

interface Import {
  readonly file: string;
  readonly line: number;
  readonly text: string;
  readonly specifier: string;
  /**
   * The imported file below src/, or undefined for packages and files outside.
   */
  readonly target: string | undefined;
}

const src = join(import.meta.dir, "..", "src");
const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((path) =>
  path.endsWith(".ts"),
);
const texts = new Map(files.map((file) => [file, readFileSync(join(src, file), "utf8")]));
const imports = files.flatMap((file) => importsOf(file, texts.get(file) ?? ""));

describe("the rooms of src/", () => {
  test("are all in the table, and have only its imports", () => {
    expect([...new Set(files.map(roomOf))].filter((room) => arrows[room] === undefined)).toEqual(
      [],
    );
    expect(show(imports.filter((found) => !allowed(found)))).toEqual([]);
  });

  test("leave net/bun.ts and net/node.ts to main.ts", () => {
    const closed = imports.filter(
      ({ file, target = "" }) =>
        importers[target] !== undefined && !importers[target]?.includes(file),
    );
    expect(show(closed)).toEqual([]);
  });

  test("keep node: and most packages out of model/", () => {
    const foreign = imports.filter(
      ({ file, specifier }) => roomOf(file) === "model" && !specifier.startsWith("."),
    );
    expect(show(foreign.filter(({ specifier }) => !packagesOfModel.includes(specifier)))).toEqual(
      [],
    );
  });

  test("have no import cycle between files, types included", () => {
    expect(cycles()).toEqual([]);
  });
});

describe("the sources", () => {
  test("end the process in main.ts only", () => {
    expect(linesWith(/\bprocess\.(?:exit|reallyExit|abort)\b/, ["main.ts"])).toEqual([]);
    expect(
      show(
        imports.filter(({ text }) =>
          /import\s*\{[^}]*\bexit\b[^}]*\} from "node:process"/.test(text),
        ),
      ),
    ).toEqual([]);
  });

  test("use the API of Bun and Deno in net/bun*.ts only", () => {
    const names = [
      "",
      "-enclosure",
      "-exec",
      "-libc",
      "-rights",
      "-routing",
      "-stage",
      "-tls",
      "-udp",
    ];
    const ofBun = names.map((name) => `net/bun${name}.ts`);
    expect(linesWith(/\b(?:Bun|Deno)\./, ofBun)).toEqual([]);
    expect(
      show(
        imports.filter(
          ({ file, specifier }) => /^bun(?::|$)/.test(specifier) && !ofBun.includes(file),
        ),
      ),
    ).toEqual([]);
  });

  test("load no big module for the commands that only ask the daemon", () => {
    const loaded = closureOf(["main.ts", "net/bun.ts", "cli/run.ts", ...shortCommands]);
    expect(loaded.map(({ file }) => file)).toContain("control/client.ts");
    expect(show(loaded.filter(({ specifier }) => bigModules.includes(specifier)))).toEqual([]);
  });

  test("import by literal names that this test can read", () => {
    expect(linesWith(/\brequire\(|\bcreateRequire\b|\bimport\((?!\s*$|\s*")/, [])).toEqual([]);
    // Bun's own parser skips types, so it finds fewer imports. Each of them
    // must be known.
    const transpiler = new Bun.Transpiler({ loader: "ts" });
    const scanned = (file: string) =>
      transpiler.scanImports((texts.get(file) ?? "").replace(/^#!.*/, ""));
    const seen = files.flatMap((file) => scanned(file).map(({ path }) => `${file} > ${path}`));
    const known = new Set(imports.map(({ file, specifier }) => `${file} > ${specifier}`));
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.filter((edge) => !known.has(edge))).toEqual([]);
  });
});

/** The imports that run before the first line of these files. */
function closureOf(entries: readonly string[]): Import[] {
  const early = imports.filter(({ text }) => !/^(?:(?:im|ex)port type\b|import\()/.test(text));
  const reached = new Set(entries);
  // A set's loop also reaches what is added during it.
  for (const file of reached)
    for (const { target } of early.filter((found) => found.file === file))
      if (target !== undefined) reached.add(target);
  return early.filter(({ file }) => reached.has(file));
}

function allowed({ file, target }: Import): boolean {
  if (target === undefined) return true;
  const [from, to] = [roomOf(file), roomOf(target)];
  return (
    from === to ||
    (openToAll.includes(to) && from !== "model") ||
    (arrows[from]?.includes(to) ?? false)
  );
}

function roomOf(file: string): string {
  return file.split("/")[0]?.replace(/\.ts$/, "") ?? "";
}

/**
 * Every import, export from and import(), including types. Relies on the
 * formatter: double quotes, and one statement on a line.
 */
function importsOf(file: string, text: string): Import[] {
  const statement =
    /^(?:import|export)\b[^;"]*?\bfrom "([^"]+)"|^import "([^"]+)"|\bimport\(\s*"([^"]+)"/gm;
  return [...withoutComments(text).matchAll(statement)].map((match) => {
    const specifier = match[1] ?? match[2] ?? match[3] ?? "";
    const target = specifier.startsWith(".")
      ? normalize(join(dirname(file), specifier))
      : undefined;
    return {
      file,
      line: text.slice(0, match.index).split("\n").length,
      text: match[0].replaceAll(/\s+/g, " "),
      specifier,
      target: target === undefined || target.startsWith("..") ? undefined : target,
    };
  });
}

/** The text with blank comment lines, so that positions stay the same. */
function withoutComments(text: string): string {
  return text.replaceAll(/^\s*(?:\/\/|\/?\*).*$/gm, (line) => " ".repeat(line.length));
}

function show(found: readonly Import[]): string[] {
  return found.map(({ file, line, text }) => `src/${file}:${line}: ${text}`);
}

function linesWith(pattern: RegExp, exempt: readonly string[]): string[] {
  return files
    .filter((file) => !exempt.includes(file))
    .flatMap((file) =>
      withoutComments(texts.get(file) ?? "")
        .split("\n")
        .map((line, i) => ({ line, at: `src/${file}:${i + 1}` })),
    )
    .filter(({ line }) =>
      pattern.test(line.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""').replace(/\/\/.*$/, "")),
    )
    .map(({ line, at }) => `${at}: ${line.trim()}`);
}

/** A line for each import cycle, found by a search in depth. */
function cycles(): string[] {
  const targets = new Map(
    files.map((file) => [
      file,
      imports.filter((found) => found.file === file).flatMap(({ target }) => target ?? []),
    ]),
  );
  const found: string[] = [];
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file);
    if (start >= 0) found.push([...path.slice(start), file].join(" > "));
    if (start >= 0 || done.has(file)) return;
    for (const target of targets.get(file) ?? []) walk(target, [...path, file]);
    done.add(file);
  };
  for (const file of files) walk(file, []);
  return found;
}
