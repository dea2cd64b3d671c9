import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseHostname } from "../../src/model/hostname.ts";
import {
  ipFromNumber,
  ipToNumber,
  isLoopbackSubnet,
  loopback,
  parseIp,
  parseSubnet,
  subnetHas,
  subnetSize,
  subnetText,
} from "../../src/model/ip.ts";
import type { Parsed } from "../../src/model/parsed.ts";
import { ip, subnet } from "../machine/support.ts";
import { anyText } from "../support/texts.ts";

const letters = fc.string({ unit: fc.constantFrom(..."azAZ019_-"), minLength: 1, maxLength: 20 });
const label = letters.filter((text) => !text.startsWith("-") && !text.endsWith("-"));
const hostname = fc
  .array(label, { minLength: 1, maxLength: 5 })
  .map((labels) => [...labels, "demo"].join("."));
const anyIp = fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(ipFromNumber);

describe("parseHostname", () => {
  test.each([
    ["hello.demo", "hello.demo"],
    ["Hello.Demo.", "hello.demo"],
    ["single", "single"],
    ["_srv.a-b.c_d", "_srv.a-b.c_d"],
    ["xn--nxasmq6b.example", "xn--nxasmq6b.example"],
    ["1.2.3.4.example", "1.2.3.4.example"],
    [`${"a".repeat(63)}.demo`, `${"a".repeat(63)}.demo`],
    [`${"abcdefg.".repeat(31)}abcde.`, `${"abcdefg.".repeat(31)}abcde`],
  ])("takes %j", (text, name) => {
    expect(reading(parseHostname(text))).toBe(name);
  });

  test.each([
    ["", "the host name is empty"],
    [".", "the host name is empty"],
    ["a..b", 'the host name "a..b" has an empty label'],
    [".a", 'the host name ".a" has an empty label'],
    ["a..", 'the host name "a.." has an empty label'],
    [
      `${"a".repeat(64)}.b`,
      `a label of the host name "${"a".repeat(64)}.b" is longer than 63 characters`,
    ],
    [`${"abcdefg.".repeat(31)}abcdef`, "the host name is 254 characters long, and 253 are allowed"],
    ["127.0.0.1", 'the host name "127.0.0.1" reads as an IP address'],
    ["1", 'the host name "1" reads as an IP address'],
    ["a.0x7F", 'the host name "a.0x7F" reads as an IP address'],
    [
      "-a.demo",
      'the host name "-a.demo" has a character that is not allowed in names, or a hyphen at a ' +
        "label's end",
    ],
    [
      "a-.demo",
      'the host name "a-.demo" has a character that is not allowed in names, or a hyphen at a ' +
        "label's end",
    ],
    [
      "*.demo",
      'the host name "*.demo" has a character that is not allowed in names, or a hyphen at a ' +
        "label's end",
    ],
    [
      "[::1]",
      'the host name "[::1]" has a character that is not allowed in names, or a hyphen at a label\'s end',
    ],
    [
      "a.demo\n127.0.0.1 bank.com",
      'the host name "a.demo\\n127.0.0.1 bank.com" has a character that is not allowed in names, or ' +
        "a hyphen at a label's end",
    ],
  ])("refuses %j, saying why", (text, reason) => {
    expect(reading(parseHostname(text))).toBe(`! ${reason}`);
  });

  test.each([
    "\n",
    "\r",
    "\0",
    "\t",
    " ",
    "\u00a0",
    "\u2028",
    "\u202e",
    "#",
    "%",
    "/",
    ":",
    "@",
    "é",
    "\u212a",
    "İ",
    "．",
    "𝐚",
  ])("refuses a name with %j in front, inside, or at its end", (character) => {
    for (const text of [`${character}a.demo`, `a${character}b.demo`, `a.demo${character}`])
      expect(parseHostname(text).ok).toBe(false);
  });

  test("refuses a name of 1 MB at once, with a short reason", () => {
    for (const text of ["a".repeat(1e6), "a.".repeat(5e5), ".".repeat(1e6), "-".repeat(1e6)]) {
      expect(reading(parseHostname(text)).length).toBeLessThan(80);
    }
  });

  test("returns a name that is safe in a hosts file, or a reason of one line", () => {
    fc.assert(
      fc.property(fc.oneof(hostname, fc.string(), anyText), (text) => {
        const result = parseHostname(text);
        if (!result.ok) return expect(result.reason).toMatch(/^[^\p{Cc}\u2028\u2029]+$/u);
        expect(result.value).toMatch(/^[a-z0-9_.-]{1,253}$/);
        expect(parseHostname(result.value)).toEqual(result);
      }),
    );
  });

  test("takes every well-formed name, in lower case", () => {
    fc.assert(
      fc.property(hostname, (text) =>
        expect(reading(parseHostname(text))).toBe(text.toLowerCase()),
      ),
    );
  });
});

describe("parseIp", () => {
  test.each(["0.0.0.0", "127.0.0.2", "255.255.255.255"])("takes %s", (text) => {
    expect(reading(parseIp(text))).toBe(text);
  });

  test.each([
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1..2.3",
    "01.2.3.4",
    "1.2.3.256",
    "1.2.3.-4",
    "0x7f.0.0.1",
    "1.2.3.4 ",
    "1.2.3.4\n",
    "١.2.3.4",
    "::1",
    "1e1.2.3.4",
  ])("refuses %j", (text) => {
    expect(parseIp(text)).toEqual({
      ok: false,
      reason: `${JSON.stringify(text)} is not an IPv4 address`,
    });
  });

  test("goes to a number and back, in order", () => {
    fc.assert(fc.property(anyIp, (one) => expect(ipFromNumber(ipToNumber(ip(one)))).toBe(one)));
    expect(ipToNumber(ip("255.255.255.254"))).toBe(2 ** 32 - 2);
  });
});

describe("parseSubnet", () => {
  test.each([
    ["127.0.0.0/8", "127.0.0.0/8", 2 ** 24],
    ["10.107.3.4/16", "10.107.0.0/16", 2 ** 16],
    ["255.255.255.255/32", "255.255.255.255/32", 1],
    ["200.1.2.3/0", "0.0.0.0/0", 2 ** 32],
  ])("reads %s as %s with %d addresses", (text, canonical, size) => {
    expect(subnetText(subnet(text))).toBe(canonical);
    expect(subnetSize(subnet(text))).toBe(size);
  });

  test.each([
    "",
    "127.0.0.0",
    "127.0.0.0/",
    "127.0.0.0/33",
    "127.0.0.0/08",
    "127.0.0.0/8/8",
    "127.0.0/8",
    "::1/64",
    "127.0.0.0/8\n",
    "127.0.0.0/-1",
  ])("refuses %j", (text) => {
    expect(parseSubnet(text).ok).toBe(false);
  });

  test("has exactly the addresses that share its first bits", () => {
    fc.assert(
      fc.property(anyIp, anyIp, fc.integer({ min: 0, max: 32 }), (base, other, bits) => {
        const range = subnet(`${base}/${bits}`);
        const head = (one: string): string =>
          ipToNumber(ip(one)).toString(2).padStart(32, "0").slice(0, bits);
        expect(subnetHas(range, ip(base))).toBe(true);
        expect(subnetHas(range, ip(other))).toBe(head(base) === head(other));
      }),
    );
  });

  test("distinguishes loopback ranges from all others", () => {
    expect(subnet("127.0.0.0/8")).toEqual(loopback);
    const ours = ["127.0.0.0/8", "127.9.0.0/16", "127.255.255.255/32"];
    const others = ["126.0.0.0/7", "0.0.0.0/0", "128.0.0.0/8", "10.107.0.0/16"];
    const isLoopback = (text: string): boolean => isLoopbackSubnet(subnet(text));
    expect([...ours, ...others].filter(isLoopback)).toEqual(ours);
  });
});

/** The value as text, or the reason after an exclamation mark. */
const reading = (result: Parsed<unknown>): string =>
  result.ok ? String(result.value) : `! ${result.reason}`;
