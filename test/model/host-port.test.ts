import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { hostPortText, parseHostPort } from "../../src/model/host-port.ts";
import { anyText } from "../support/texts.ts";

describe("parseHostPort", () => {
  test.each([
    ["ingress.example:443", { host: "ingress.example", port: 443 }],
    ["Ingress.Example", { host: "ingress.example", port: 7 }],
    ["127.0.0.1:65535", { host: "127.0.0.1", port: 65_535 }],
    ["localhost:1", { host: "localhost", port: 1 }],
    ["[::1]:8443", { host: "::1", port: 8443 }],
    ["[2001:db8::1]", { host: "2001:db8::1", port: 7 }],
  ])("reads %s, with the default port 7", (text, value) => {
    expect(parseHostPort(text, 7)).toEqual({ ok: true, value });
    expect(parseHostPort(hostPortText(value))).toEqual({ ok: true, value });
  });

  test.each([
    "",
    ":1",
    "a:",
    "a:0",
    "a:65536",
    "a:1:2",
    "a:+1",
    "a: 1",
    "::1",
    "[::1",
    "[::1]1",
    "[a]:1",
    "[]:1",
    "a b:1",
    "a\n:1",
    "-a:1",
    "256.1.1.1:1",
  ])("refuses %j", (text) => {
    expect(parseHostPort(text, 7).ok).toBe(false);
  });

  test("needs a port if there is no default", () => {
    expect(parseHostPort("a.b")).toEqual({ ok: false, reason: '"a.b" names no port' });
  });

  test("never throws, and reads its own text back", () => {
    fc.assert(
      fc.property(
        fc.oneof(anyText, fc.string({ unit: fc.constantFrom(..."a1.:[]-_"), maxLength: 12 })),
        (text) => {
          const first = parseHostPort(text, 443);
          if (first.ok) expect(parseHostPort(hostPortText(first.value))).toEqual(first);
          else expect(first.reason).not.toContain("\n");
        },
      ),
    );
  });
});
