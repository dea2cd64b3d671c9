import { describe, expect, test } from "bun:test";
import { translated } from "../../src/predecessor/predecessor.ts";

const asToday = (line: string): string =>
  translated(line.split(" ").filter((word) => word !== "")).argv.join(" ");

describe("a command line of the Go program", () => {
  test.each([
    ["--config=/etc/x.yml", "serve --config=/etc/x.yml"],
    ["--config /etc/x.yml", "serve --config /etc/x.yml"],
    ["-config /etc/x.yml", "serve --config /etc/x.yml"],
    ["-config=/etc/x.yml -v", "serve --config=/etc/x.yml --debug"],
    ["run", "serve"],
    ["run --config F", "serve --config F"],
    ["run -config F -v", "serve --config F --debug"],
    ["-version", "--version"],
    ["install", "service install"],
    ["start", "service start"],
    ["stop", "service stop"],
    ["restart", "service restart"],
    ["uninstall", "service uninstall"],
    ["--json stop", "--json service stop"],
  ])("ngrokd %s is understood as %s", (line, today) => {
    expect(asToday(line)).toBe(today);
  });

  test.each([
    "",
    "-v",
    "-h",
    "--version",
    "--help",
    "--config F --help",
    "list -w",
    "--socket run list",
    "config run",
    "service logs -n 5 -f",
    "why -- -config",
    "set-api-key install",
    "--socket /x",
  ])("ngrokd %s stays as it is", (line) => {
    expect(asToday(line)).toBe(line);
    expect(translated(line.split(" ")).advice).toBe("");
  });

  test("comes with advice if it is said in another way today", () => {
    expect(translated(["run"]).advice).toBe("`ngrokd run` is `ngrokd serve` now");
    expect(translated(["--config=F"]).advice).toContain("`ngrokd serve --config FILE`");
  });
});
