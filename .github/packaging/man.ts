import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { commands } from "../../src/cli/commands.ts";
import { manPages } from "../../src/cli/man-page.ts";
import { version } from "../../src/version.ts";

/**
 * Writes the manual pages. Arguments: the folder, which is replaced, and the
 * time of the commit in seconds, so that equal sources give equal pages.
 */
const [folder = "", seconds = "0"] = process.argv.slice(2);
const date = new Date(Number(seconds) * 1000).toISOString().slice(0, 10);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
for (const { file, text } of await manPages(commands, version, date))
  writeFileSync(join(folder, file), text);
