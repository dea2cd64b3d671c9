import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseApiKey } from "../../src/model/api-key.ts";
import { anyText } from "../support/texts.ts";

describe("parseApiKey", () => {
  test("takes a key as it is pasted, with white space around it", () => {
    expect(parseApiKey("  2abcDEF_3ghiJKL\r\n")).toEqual({
      ok: true,
      value: "2abcDEF_3ghiJKL" as never,
    });
  });

  test.each([
    "",
    " \n",
    "short",
    "two words here",
    "line\nbreak-in-it",
    "tab\tinside-it",
    "nul\0inside-it",
    "ключ-от-ngrok",
    "x".repeat(513),
  ])("refuses %j", (text) => {
    expect(parseApiKey(text).ok).toBe(false);
  });

  test("never quotes the text in its reason", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 4 }), (noise) => {
        const secret = `s3cr3t ${noise} s3cr3t`;
        const key = parseApiKey(secret);
        return !key.ok && !key.reason.includes("s3cr3t");
      }),
    );
  });

  test("an accepted key can be sent in a header", () => {
    fc.assert(
      fc.property(
        fc.oneof(anyText, fc.string({ unit: "grapheme-ascii", minLength: 8, maxLength: 20 })),
        (text) => {
          const key = parseApiKey(text);
          if (!key.ok) return true;
          return (
            new Headers({ authorization: `Bearer ${key.value}` }).get("authorization") ===
            `Bearer ${key.value}`
          );
        },
      ),
    );
  });
});
