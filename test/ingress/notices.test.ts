import { expect, test } from "bun:test";
import { noticesText } from "../../src/ingress/notices.ts";

test.each([
  ["nothing, of none", [], ""],
  ["nothing, of empty ones", ["", " \n"], ""],
  ["one as it is", ["an old agent"], "an old agent"],
  ["each one once", ["one", "two", "one"], "one; two"],
  ["a line break as a space", ["two\nlines"], "two lines"],
  ["three, and one more by number", ["a", "b", "c", "d"], "a; b; c; and 1 more notice"],
  ["more by number", ["a", "b", "c", "d", "e"], "a; b; c; and 2 more notices"],
])("notices are reported: %s", (_name, notices, said) => {
  expect(noticesText(notices)).toBe(said);
});

test("no notice has more than 500 characters", () => {
  expect(noticesText(["x".repeat(60_000)])).toBe("x".repeat(500));
});
