import { describe, expect, test } from "bun:test";
import { parseTarGzip } from "nanotar";
import { archiveOf, redactor } from "../../src/cli/support-archive.ts";

describe("the redactor", () => {
  test("takes secrets out in each spelling", () => {
    const redact = redactor(['pa"ss/w', "pa", "", 'pa"ss/word with space']);
    expect(redact('a pa"ss/word with space b')).toBe("a [redacted] b");
    expect(redact(JSON.stringify({ key: 'pa"ss/w' }))).toBe('{"key":"[redacted]"}');
    expect(redact("?p=pa%22ss%2Fw")).toBe("?p=[redacted]");
    expect(redact("path")).toBe("path");
  });

  test("takes out what looks like a key, whoever's it is", () => {
    const redact = redactor([]);
    const key = `2${"aB3".repeat(9)}_5${"Xy9".repeat(7)}`;
    expect(redact(`old key ${key}.`)).toBe("old key [redacted].");
    expect(redact("k8sop_2abcDEFghi012345678901234567 ep_1")).toContain("k8sop_2abc");
    const pem = "-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----";
    expect(redact(`a\n${pem}\nb`)).toBe("a\n[redacted]\nb");
    expect(redact("-----BEGIN PRIVATE KEY-----\nabc")).toBe("[redacted]");
  });
});

test("the archive begins with its contents, and is the user's alone", async () => {
  const entries = [{ name: "a.txt", about: "some facts", text: "hello\n" }];
  const files = await parseTarGzip(await archiveOf(entries, "report"));
  expect(files.map(({ name, text, attrs }) => [name, text, attrs?.mode])).toEqual([
    ["report/CONTENTS.txt", "a.txt  some facts\n", expect.stringContaining("600")],
    ["report/a.txt", "hello\n", expect.stringContaining("600")],
  ]);
});
