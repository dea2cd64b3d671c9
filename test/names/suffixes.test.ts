import { describe, expect, test } from "bun:test";
import { loadSuffixes, noSuffixes, suffixesFor } from "../../src/names/suffixes.ts";

describe("the public suffix list", () => {
  test.each(["com", "co.uk", "io", "zip", "foo.ck", "xn--p1ai", "k12.ca.us"])(
    "knows %s as a whole public domain",
    async (name) => {
      const { isDomain, isSuffix } = await loadSuffixes();
      expect({ name, isDomain: isDomain(name), isSuffix: isSuffix(name) }).toEqual({
        name,
        isDomain: true,
        isSuffix: true,
      });
    },
  );

  test.each(["www.ck", "example.com", "internal", "corp", "demo", "team.co.uk", "xy"])(
    "does not have %s",
    async (name) => {
      const { isDomain, isSuffix } = await loadSuffixes();
      expect({ name, isDomain: isDomain(name), isSuffix: isSuffix(name) }).toEqual({
        name,
        isDomain: false,
        isSuffix: false,
      });
    },
  );

  test("has names of companies too, which are no whole public domain", async () => {
    const { isDomain, isSuffix } = await loadSuffixes();
    expect({ isDomain: isDomain("github.io"), isSuffix: isSuffix("github.io") }).toEqual({
      isDomain: false,
      isSuffix: true,
    });
  });

  test("is loaded only if a name may be on it", async () => {
    expect(await suffixesFor([])).toBe(noSuffixes);
    expect(await suffixesFor(["team.internal", "test", "internal"])).toBe(noSuffixes);
    expect((await suffixesFor(["team.internal", "co.uk"])).isDomain("co.uk")).toBe(true);
  });
});
