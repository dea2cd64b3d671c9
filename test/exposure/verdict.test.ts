import { describe, expect, test } from "bun:test";
import { aliasesOf, nameRules, pinsOf } from "../../src/exposure/name-settings.ts";
import { judgeName, plainStanding, type Standing } from "../../src/exposure/verdict.ts";
import { host, ip } from "../machine/support.ts";

const none = { allow: [], deny: [], only: [], alias: {}, pin: {} };
const free: Standing = { kind: "free" };
const elsewhere: Standing = { kind: "elsewhere", addresses: ["192.0.2.1"] };

const judged = (
  subject: string,
  names: Partial<Parameters<typeof nameRules>[0]> = {},
  standing: Standing = free,
  paused: readonly string[] = [],
): string => {
  const verdict = judgeName(subject, nameRules({ ...none, ...names }, new Set(paused)), standing);
  return verdict.kind === "served" ? "served" : `${verdict.kind}: ${verdict.reason}`;
};

describe("judgeName, without a word of the user", () => {
  test("serves names that mean nothing else, and those that it served before", () => {
    expect(judged("a.demo")).toBe("served");
    expect(judged("github.com", {}, { kind: "kept" })).toBe("served");
  });

  test.each<[string, Standing, string]>([
    ["github.com", elsewhere, '"github.com" leads to 192.0.2.1 without ngrokd'],
    [
      "a.b",
      { kind: "elsewhere", addresses: ["192.0.2.1", "192.0.2.2", "192.0.2.3"] },
      '"a.b" leads to 192.0.2.1 and 2 others without ngrokd',
    ],
    ["com", { kind: "suffix" }, '"com" is a public suffix, below which people register names'],
    ["corp.example", { kind: "searched" }, '"corp.example" is a search domain of this machine'],
    ["wpad", { kind: "discovery" }, 'programs find their proxy or their way by "wpad"'],
  ])("refuses %p as %j, with the line that allows it", (subject, standing, meaning) => {
    expect(judged(subject, {}, standing)).toBe(
      `refused: ${meaning}; names.allow: [${subject}] in the configuration allows it`,
    );
    expect(judged(subject, { allow: [subject] }, standing)).toBe("served");
  });

  test("quotes a wildcard in the line that allows it, since YAML needs that", () => {
    const inUse: Standing = { kind: "elsewhere", addresses: [] };
    expect(judged("*.corp.example", {}, inUse)).toBe(
      'refused: "*.corp.example" is in use without ngrokd; names.allow: ["*.corp.example"] in the configuration allows it',
    );
    expect(judged("*.corp.example", { allow: ["*.corp.example"] }, inUse)).toBe("served");
  });

  test("serves no name while its meaning is not known", () => {
    expect(judged("a.demo", {}, { kind: "pending" })).toBe(
      'refused: the name servers are asked whether "a.demo" is in use',
    );
  });
});

describe("judgeName, by the word of the user", () => {
  test("refuses what names.deny has, also if names.allow has it", () => {
    expect(judged("a.demo", { deny: ["*.demo"], allow: ["a.demo"] })).toBe(
      'refused: names.deny has "*.demo"',
    );
    expect(judged("a.demo", { deny: ["*.demo"] }, { kind: "kept" })).toStartWith("refused");
  });

  test("refuses what names.only lacks, and does not take it for permission", () => {
    expect(judged("a.demo", { only: ["b.demo", "c.*"] })).toBe(
      'refused: names.only has no pattern for "a.demo"',
    );
    expect(judged("a.demo", { only: ["*.demo"] })).toBe("served");
    expect(judged("github.com", { only: ["*"] }, elsewhere)).toStartWith("refused");
  });

  test("takes a pin or an alias for permission, since the user wrote the name", () => {
    expect(judged("github.com", { pin: { "github.com": "127.0.0.9" } }, elsewhere)).toBe("served");
    expect(judged("github.com", { alias: { "a.demo": ["github.com"] } }, elsewhere)).toBe("served");
  });

  test("pauses a name before all else", () => {
    expect(judged("a.demo", { allow: ["*"], deny: ["*"] }, free, ["a.demo"])).toBe(
      "paused: it is paused; `ngrokd resume a.demo` serves it again",
    );
  });
});

describe("plainStanding", () => {
  const facts = {
    searched: ["Corp.Example."],
    isSuffix: (name: string) => ["com", "github.io"].includes(name),
  };
  test.each([
    ["com", "suffix"],
    ["*.github.io", "suffix"],
    ["corp.example", "searched"],
    ["*.corp.example", "searched"],
    ["wpad.demo", "discovery"],
    ["isatap", "discovery"],
    ["a.github.io", undefined],
    ["a.corp.example", undefined],
    ["wpadding.demo", undefined],
  ])("of %p is %p", (subject, kind) => {
    expect(plainStanding(subject, facts)?.kind).toBe(kind as Standing["kind"]);
  });
});

describe("the settings of names", () => {
  test("give each alias its first host", () => {
    const alias = { "a.demo": ["x", "a.demo"], "b.demo": ["x", "y"] };
    expect(aliasesOf({ ...none, alias })).toEqual(
      new Map([
        [host("y"), host("b.demo")],
        [host("x"), host("a.demo")],
      ]),
    );
  });

  test("give pins as addresses", () => {
    const pin = { "a.demo": "127.0.0.9" };
    expect(pinsOf({ ...none, pin })).toEqual(new Map([[host("a.demo"), ip("127.0.0.9")]]));
  });
});
