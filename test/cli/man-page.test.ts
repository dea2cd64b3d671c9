import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { commands } from "../../src/cli/commands.ts";
import { manPages } from "../../src/cli/man-page.ts";

const pages = await manPages(commands, "1.2.3", "2026-11-28");
const textOf = (file: string): string => pages.find((page) => page.file === file)?.text ?? "";
const groff = Bun.which("groff");

describe("the manual pages", () => {
  test("are one for each command and group", () => {
    const files = pages.map(({ file }) => file);
    expect(files).toContain("ngrokd.1");
    expect(files).toContain("ngrokd-list.1");
    expect(files).toContain("ngrokd-config.1");
    expect(files).toContain("ngrokd-config-init.1");
    expect(new Set(files).size).toBe(files.length);
    for (const word of Object.keys(commands))
      expect(textOf("ngrokd.1")).toContain(`ngrokd\\-${word.replaceAll("-", "\\-")} (1)`);
  });

  test("have the flags and the examples of --help", () => {
    const text = textOf("ngrokd-trust.1");
    expect(text).toStartWith('.TH NGROKD\\-TRUST 1 2026-11-28 "ngrokd 1.2.3" "ngrokd manual"\n');
    expect(text).toContain("\n.B \\-\\-force\n");
    expect(text).toContain("sudo ngrokd trust ngrok\\-ca.crt\n");
  });

  test.skipIf(groff === null)(
    "are read by groff without a warning",
    () => {
      for (const { file, text } of pages) {
        const options = ["-man", "-Tutf8", "-ww", "-z"];
        const { stderr } = spawnSync(groff ?? "", options, { input: text, encoding: "utf8" });
        expect({ file, stderr }).toEqual({ file, stderr: "" });
      }
    },
    120_000,
  );
});
