import { expect, test } from "bun:test";
import { indexOfText, latin1 } from "../../src/model/latin1.ts";

test("bytes are a character each, also in a part of a larger array", () => {
  const part = Uint8Array.of(1, 2, 0x41, 0x80, 0xe9, 0xff, 3).subarray(2, 6);
  expect(latin1(part)).toBe("A\x80\xe9\xff");
  expect(latin1(part, 1, 99)).toBe("\x80\xe9\xff");
});

test("a text is found from a place on, or is not there", () => {
  const bytes = Uint8Array.of(13, 10, 0xe9, 13, 10).subarray(1);
  expect(indexOfText(bytes, "\r\n")).toBe(2);
  expect(indexOfText(bytes, "\xe9")).toBe(1);
  expect(indexOfText(bytes, "\r\n", 3)).toBe(-1);
});
