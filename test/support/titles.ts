import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Whether a file below test/ has this title, as the first argument of a call or
 * as the name of a case, and not skipped.
 */
export function isTest(file: string, title: string): boolean {
  const path = join(import.meta.dirname, "..", file);
  if (!existsSync(path)) return false;
  const source = readFileSync(path, "utf8");
  return ['"', "`"].some((mark) => {
    const at = source.indexOf(`${mark}${title}${mark}`);
    return (
      at >= 0 &&
      /(?:\(\s*|name: )$/.test(source.slice(0, at)) &&
      !/\.(?:skip|todo)\b[^;]*$/.test(source.slice(0, at).split("\n").slice(-1)[0] ?? "")
    );
  });
}

/**
 * The titles in a test's source, with the names of cases, in their spelling
 * there: `${…}` and `%s` are not replaced.
 */
export function titlesIn(source: string): string[] {
  return [...source.matchAll(titles)].map(([, , title = ""]) => title);
}

/**
 * A string that is the first argument of a test function or of a call of
 * `.each` or `.skipIf`, or that is the name of a case.
 */
const titles =
  /(?:^[ \t]*(?:test|describe|stories|it)\b[^"'`\n]*\(\s*|\)\(\s*|^\s*name: )(["'`])((?:\\.|(?!\1)[^\\])*)\1/gm;
