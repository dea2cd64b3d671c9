import { expect, test } from "bun:test";
import { refusalAdvice } from "../../src/ingress/advice.ts";

test.each([
  ["ERR_NGROK_714", "as many connections open as it may"],
  ["ERR_NGROK_715", "wait one"],
  ["715", "wait one"],
  ["ERR_NGROK_3200", "start its agent"],
  ["ERR_NGROK_28000", "reads the identity of a Kubernetes pod"],
  ["ERR_NGROK_28001", "wants the identity of a Kubernetes pod"],
])("a refusal with %s comes with advice", (code, said) => {
  expect(refusalAdvice(code)).toContain(said);
});

test("a refusal that says it all itself has none", () => {
  expect(refusalAdvice("ERR_NGROK_1")).toBeUndefined();
  expect(refusalAdvice("")).toBeUndefined();
});
