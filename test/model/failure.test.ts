import { expect, test } from "bun:test";
import { sameFailure } from "../../src/model/failure.ts";

test("sameFailure looks past ngrok's operation ids", () => {
  expect(sameFailure("no (operation op_1)", "no (operation op_2)")).toBe(true);
  expect(sameFailure("no (operation op_1)", "yes (operation op_1)")).toBe(false);
});
