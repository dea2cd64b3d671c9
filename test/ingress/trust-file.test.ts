import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keepTrustFile } from "../../src/ingress/trust-file.ts";

const folder = mkdtempSync(join(tmpdir(), "ngrokd-trust-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("the trusted CAs have one file, named by its content, and repaired", async () => {
  writeFileSync(join(folder, "tls.crt"), "not ours to remove");
  const one = await keepTrustFile(folder, ["one\n", "two"]);
  expect(readFileSync(one ?? "", "utf8")).toBe("one\ntwo\n");
  const two = await keepTrustFile(folder, ["one", "two\n"]);
  expect(two).toBe(one);
  writeFileSync(one ?? "", "evil");
  await keepTrustFile(folder, ["one", "two"]);
  expect(readFileSync(one ?? "", "utf8")).toBe("one\ntwo\n");
  const three = await keepTrustFile(folder, ["one"]);
  expect(three).not.toBe(one);
  expect(existsSync(one ?? "")).toBe(false);
  expect(existsSync(three ?? "")).toBe(true);
  expect(readdirSync(folder)).toHaveLength(2);
});

test("there is no file for an empty list, or without its folder", async () => {
  expect(await keepTrustFile(folder, [])).toBeUndefined();
  expect(await keepTrustFile(join(folder, "missing"), ["one"])).toBeUndefined();
});
