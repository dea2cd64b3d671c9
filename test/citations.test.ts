import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * What comments and texts cite, such as `docs/design.md, "One pass"`, is there
 * to be read: the page, and in it the heading.
 */
const root = join(import.meta.dir, "..");
const files = [
  ...["src", "test"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => /\.(?:ts|mjs|go|proto|md)$/.test(path))
      .map((path) => join(folder, path)),
  ),
  ...["Makefile", ".ci/run", "install.sh"],
];
const citations = files.flatMap((file) => {
  const text = readFileSync(join(root, file), "utf8");
  const found = text.matchAll(
    /(?<![\w/.-])(?:\.\.\/)*((?:[\w-]+\/)*[\w-]+\.md)\b(?:, "([^"\n]+)"|( section \d))?/g,
  );
  return [...found].map(([, page = "", heading, number]) => ({ file, page, heading, number }));
});
/** The page of a path, or of a name in docs/. */
const pathOf = (page: string): string | undefined =>
  [page, `docs/${page}`, `test/${page}`].find((path) => existsSync(join(root, path)));
const hasHeading = (path: string, heading: string): boolean =>
  readFileSync(join(root, path), "utf8")
    .split("\n")
    .some((line) => line.replace(/^#+ /, "") === heading && line.startsWith("#"));

test("every page that the sources cite is there", () => {
  expect(citations.length).toBeGreaterThan(30);
  expect(citations.filter(({ page }) => pathOf(page) === undefined)).toEqual([]);
});

test("every heading that they cite is on its page, by its name and not by a number", () => {
  const named = citations.filter(
    ({ heading, number }) => heading !== undefined || number !== undefined,
  );
  expect(named.length).toBeGreaterThan(20);
  expect(
    named.filter(
      ({ page, heading }) => heading === undefined || !hasHeading(pathOf(page) ?? "", heading),
    ),
  ).toEqual([]);
});

test("no source cites notes that are not in the repository", () => {
  const words = /\b(?:bun|field)-notes\b/;
  const elsewhere = files.filter((file) => file !== "test/citations.test.ts");
  expect(elsewhere.filter((file) => words.test(readFileSync(join(root, file), "utf8")))).toEqual(
    [],
  );
});
