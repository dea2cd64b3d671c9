import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Tree } from "../src/cli/command.ts";
import { commands } from "../src/cli/commands.ts";
import { settings } from "../src/config/schema.ts";
import { isOperation, type Operation, operationNames, operations } from "../src/desk/operations.ts";
import { checks } from "../src/doctor/finding.ts";
import { stateFiles } from "../src/files/state-folder.ts";
import { denoRights, read, written } from "./support/deno.ts";
import { isTest } from "./support/titles.ts";

const root = join(import.meta.dirname, "..");
const textOf = (path: string): string => readFileSync(join(root, path), "utf8");
const pages = [
  "README.md",
  "SECURITY.md",
  "test/stories/README.md",
  ".github/CONTRIBUTING.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

describe("the documentation", () => {
  test.each(pages)("%s has no link that leads nowhere", (page) => {
    const links = [...proseOf(textOf(page)).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)];
    const dead = links.filter(([, file = "", anchor]) => {
      const target = file === "" ? page : join(dirname(page), file);
      if (!existsSync(join(root, target))) return true;
      return anchor !== undefined && !anchorsOf(textOf(target)).has(anchor);
    });
    expect(dead.map(([link]) => link)).toEqual([]);
  });

  test("names every command, and none that there is not", () => {
    const all = pages.map(textOf).join("\n");
    const words = wordsOf(commands);
    expect(words.filter((word) => !all.includes(`ngrokd ${word}`))).toEqual([]);
    const code = [...all.matchAll(/^```sh\n[\s\S]*?^```$|^ {4}.*$|`[^`\n]+`/gm)]
      .map(([text]) => text)
      .join("\n");
    const named = [...code.matchAll(/(?:^ *|`|sudo |&& )ngrokd ([a-z][a-z-]+)/gm)].map(
      ([, word = ""]) => word,
    );
    expect(named.length).toBeGreaterThan(100);
    expect(named.filter((word) => !Object.hasOwn(commands, word))).toEqual([]);
  });

  test("is reached from the README, every page of it", () => {
    const readme = textOf("README.md");
    expect(
      pages.filter(
        (page) => page !== "README.md" && page !== "SECURITY.md" && !readme.includes(`](${page}`),
      ),
    ).toEqual([]);
  });
});

test("docs/operations.md names the rights under Deno that the tests have", () => {
  const [, command = ""] =
    /^ {4}sudo deno run (.*?)src\/main/ms.exec(textOf("docs/operations.md")) ?? [];
  const named = command.split(/[\s\\]+/).filter((word) => word !== "");
  const wanted = denoRights().map((right) =>
    right.startsWith("--allow-read=")
      ? `--allow-read=${[".", ...read, ...written].join(",")}`
      : right,
  );
  expect(named.toSorted()).toEqual(wanted.toSorted());
});

test("docs/security.md names only tests that there are", () => {
  const [, proofs = ""] = textOf("docs/security.md").split("## The tests behind these claims");
  const rows = [...proofs.matchAll(/^\| (?!claim |---).*$/gm)].map(([line]) =>
    line.split("|").map((cell) => cell.trim()),
  );
  expect(rows.length).toBeGreaterThan(40);
  expect(
    rows
      .filter(([, , file = "", title = ""]) => !isTest(file, title))
      .map((row) => row.join(" | ")),
  ).toEqual([]);
});

test("docs/protocol.md names every command of the control socket", () => {
  const [, asked = ""] = textOf("docs/protocol.md").split("## The control socket");
  const [page = ""] = asked.split("\n## ");
  const named = operationNames.map((name) => `{"command":"${name}"`);
  const flags = operationNames.flatMap((name) => {
    const { input, word }: Operation = operations[name];
    return Object.keys(input.shape).filter((argument) => argument !== word);
  });
  const texts = [
    ...named,
    ...flags.map((flag) => `"--${flag}${flag === "profile" ? "=NAME" : ""}"`),
  ];
  expect(texts.filter((text) => !page.includes(text))).toEqual([]);
  const shown = [...page.matchAll(/\{"command":"([^"]+)"/g)].map(([, name = ""]) => name);
  expect(shown.filter((name) => !isOperation(name))).toEqual([]);
});

test("docs/usage.md says of every setting when a change of it counts", () => {
  const [, table = ""] = textOf("docs/usage.md").split("| setting | takes effect |");
  const rows = (table.split("\n\n")[0] ?? "")
    .split("\n")
    .map((line) => line.split("|").map((cell) => cell.trim()));
  const isMeant = (key: string, name: string): boolean =>
    name.endsWith("…")
      ? key.startsWith(name.slice(0, -1))
      : key === name || key.startsWith(`${name}.`);
  const counts = (key: string): string[] =>
    rows.flatMap(([, named = "", when = ""]) =>
      [...named.matchAll(/`([^`]+)`/g)].some(([, name = ""]) => isMeant(key, name)) ? [when] : [],
    );
  expect(settings.filter(({ key }) => counts(key).length === 0).map(({ key }) => key)).toEqual([]);
  const restarts = settings.filter(({ key }) =>
    counts(key).some((when) => when.startsWith("after a restart")),
  );
  expect(restarts.map(({ key }) => key)).toEqual(
    settings.filter(({ needsRestart }) => needsRestart).map(({ key }) => key),
  );
});

test("docs/troubleshooting.md names every check of --json", () => {
  const page = textOf("docs/troubleshooting.md");
  const named = [...page.matchAll(/`check` is\s+one of ([\s\S]*?)\./g)].flatMap(([, list = ""]) =>
    list.split(/,\s+|\s+and\s+/),
  );
  const all = Object.keys(checks);
  expect({
    missing: all.filter((check) => !named.includes(check)),
    unknown: named.filter((check) => !all.includes(check)),
  }).toEqual({ missing: [], unknown: [] });
});

test.each(["docs/operations.md", "docs/security.md"])("%s names every state file", (page) => {
  const [, section = ""] = textOf(page).split("\n## Files\n");
  const [table = ""] = section.split("\n#");
  expect(Object.values(stateFiles("")).filter((file) => !table.includes(`${file}\``))).toEqual([]);
});

/** Without code, in which brackets mean something else. */
const proseOf = (text: string): string =>
  text.replaceAll(/^```[\s\S]*?^```$/gm, "").replaceAll(/`[^`\n]*`/g, "");

/** As GitHub makes them of headings. */
function anchorsOf(text: string): Set<string> {
  const headings = [...text.replaceAll(/^```[\s\S]*?^```$/gm, "").matchAll(/^#+ (.*)$/gm)];
  return new Set(
    headings.map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

function wordsOf(tree: Tree): string[] {
  return Object.entries(tree).flatMap(([word, { of }]) =>
    typeof of === "function" ? [word] : wordsOf(of).map((below) => `${word} ${below}`),
  );
}
