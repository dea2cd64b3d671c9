import { describe, expect, test } from "bun:test";
import { isIPv6 } from "node:net";
import fc from "fast-check";
import {
  hasHostPart,
  ipv6Bytes,
  ipv6Text,
  isIpv6,
  isSameIpv6,
  rangeHas,
} from "../../src/model/ip.ts";
import { ip, ip6 } from "../machine/support.ts";

describe("the second address of a name", () => {
  test("has the host part of the first one, in a subnet of any size", () => {
    const first = ip("10.107.3.4");
    const all = [
      "fd11::304",
      "fd11::4",
      "fd11::6b:304",
      "fd11::a6b:304",
      "2001:db8::304",
      "fd11::305",
    ];
    expect(all.filter((text) => hasHostPart(ip6(text), first))).toEqual(all.slice(0, 3));
    expect(hasHostPart(ip6("fd11:0:0:1:1::304"), first)).toBe(false);
  });
});

describe("isIpv6", () => {
  test("takes the same texts as the platform", () => {
    const piece = fc.constantFrom(
      ":",
      "::",
      "0",
      "ffff",
      "1:2",
      "fffff",
      "g",
      "1.2.3.4",
      "1:2:3:4:5:6:7",
    );
    const almost = fc.array(piece, { maxLength: 9 }).map((pieces) => pieces.join(""));
    fc.assert(
      fc.property(fc.oneof(fc.ipV6(), almost), (text) =>
        expect({ text, known: isIpv6(text) }).toEqual({ text, known: isIPv6(text) }),
      ),
      { numRuns: 500 },
    );
    const others = ["1", ":", ":::", "1.2.3.4", "::1%lo", "[::1]", "::1]/x[", ""];
    expect(others.filter(isIpv6)).toEqual([]);
  });

  test.each(["::00001", "::1.2.3.0x4", "::ffff:127.1", "::ffff:01.2.3.4", "1.2.3.4::", "::1/64"])(
    "refuses %s, which a lax parser takes",
    (text) => {
      expect(isIpv6(text)).toBe(false);
    },
  );
});

describe("an IPv6 address", () => {
  test("goes to 16 bytes and back to its canonical text", () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const bytes = ipv6Bytes(text);
        expect(bytes.length).toBe(16);
        const canonical = ipv6Text(bytes);
        expect(isIPv6(canonical)).toBe(true);
        expect(ipv6Bytes(canonical)).toEqual(bytes);
        expect(isSameIpv6(text, canonical)).toBe(true);
      }),
    );
  });

  test.each([
    ["::1", "0:0:0:0:0:0:0:1"],
    ["2001:db8::a", "2001:0DB8:0:0::000A"],
    ["::ffff:1.2.3.4", "::ffff:102:304"],
  ])("%s is the same as %s", (one, other) => {
    expect(isSameIpv6(one, other)).toBe(true);
    expect(isSameIpv6(one, "::2")).toBe(false);
    expect(isSameIpv6(one, "no address")).toBe(false);
  });
});

describe("rangeHas", () => {
  test.each([
    ["2001:db8::/32", "2001:DB8:ffff::1"],
    ["2001:db8::ff/32", "2001:db8:1::"],
    ["::/0", "ff02::1"],
    ["::1/128", "0:0::1"],
    ["::ffff:10.0.0.0/104", "::ffff:a09:807"],
    ["10.0.0.0/8", "10.9.8.7"],
  ])("%s has %s", (range, ip) => {
    expect(rangeHas(range, ip)).toBe(true);
  });

  test.each([
    ["2001:db8::/32", "2001:db9::"],
    ["::/0", "10.9.8.7"],
    ["0.0.0.0/0", "::1"],
    ["::1/129", "::1"],
    ["::1/", "::1"],
    ["::1/64/64", "::1"],
    ["::1", "::1"],
    ["10.0/8", "10.9.8.7"],
    ["10.0.0.0/8", "10.1"],
    ["example.com/8", "example.com"],
  ])("%s has not %s", (range, ip) => {
    expect(rangeHas(range, ip)).toBe(false);
  });
});
