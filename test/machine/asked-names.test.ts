import { expect, test } from "bun:test";
import { createAskedNames } from "../../src/machine/asked-names.ts";
import { host } from "./support.ts";

test("names that were asked for are in the order of their last question", () => {
  let now = 0;
  const asked = createAskedNames(new Set([host("saved.demo")]), () => now);
  for (const name of ["a.demo", "b.demo", "c.demo"]) {
    now += 1000;
    asked.add(host(name));
  }
  now += 1000;
  asked.touch("a.demo");
  asked.touch("stranger.demo");
  expect([...asked.all]).toEqual(["saved.demo", "b.demo", "c.demo", "a.demo"].map(host));
  expect([...asked.idleFor(2000)]).toEqual(["saved.demo", "b.demo"].map(host));
  asked.remove(host("b.demo"));
  expect({ size: asked.size, changes: asked.changes }).toEqual({ size: 3, changes: 4 });
});
