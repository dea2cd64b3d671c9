import { expect, test } from "bun:test";
import { randomHex } from "../../src/model/random.ts";

test("has two digits a byte, and others each time", () => {
  const texts = Array.from({ length: 100 }, () => randomHex(6));
  expect(texts.filter((text) => !/^[0-9a-f]{12}$/.test(text))).toEqual([]);
  expect(new Set(texts).size).toBe(100);
});
