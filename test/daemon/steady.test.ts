import { expect, test } from "bun:test";
import { createSteady } from "../../src/daemon/steady.ts";
import type { Reconciled } from "../../src/model/pass.ts";
import type { EndpointState } from "../../src/model/state.ts";
import { endpoint } from "./support.ts";

const done: Reconciled = { endpoints: [], problems: [] };
const half = {
  endpoints: [{ state: "listening", ip6: "fd11::2", warning: "no" } as unknown as EndpointState],
  problems: [],
};
const failing: Reconciled = { endpoints: [{ state: "failed" } as EndpointState], problems: [] };
const troubled: Reconciled = { endpoints: [], problems: [{ reason: "disk full", hint: "" }] };

test("a reconcile is left out if nothing changed and the last one did everything", async () => {
  let basis = "one";
  let works = 0;
  const steadily = createSteady({ inputs: () => basis, outcome: async () => "" });
  const run = (list: readonly ReturnType<typeof endpoint>[], result = done) =>
    steadily([list], async () => {
      works += 1;
      return result;
    });
  const [a, b] = [[endpoint("ep_1", "http://a")], [endpoint("ep_1", "http://a")]];
  const counts: number[] = [];
  for (const [list, change, result] of [
    [a, "one"],
    [a, "one"],
    [a, "two"],
    [a, "two"],
    [b, "two"],
    [b, "two"],
    [a, "two", failing],
    [a, "two", troubled],
    [a, "two", half],
    [a, "two"],
    [a, "two"],
  ] as const) {
    basis = change;
    expect(await run(list, result)).toEqual(result ?? done);
    counts.push(works);
  }
  expect(counts).toEqual([1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 7]);
});

test("a reconcile's own writes are no change, and one that rejects runs again", async () => {
  let written = 0;
  let works = 0;
  const steadily = createSteady({ inputs: () => "", outcome: async () => String(written) });
  const list = [endpoint("ep_1", "http://a")];
  const run = (fail = false) =>
    steadily([list], async () => {
      works += 1;
      written += 1;
      if (fail) throw new Error("no");
      return done;
    });
  await expect(run(true)).rejects.toThrow("no");
  await run();
  await run();
  expect(works).toBe(2);
});

test("a change of the inputs during a reconcile counts for the next one", async () => {
  let inputs = "one";
  const seen: string[] = [];
  const steadily = createSteady({ inputs: () => inputs, outcome: async () => "" });
  const list = [endpoint("ep_1", "http://a")];
  const run = (next: string) =>
    steadily([list], async () => {
      seen.push(inputs);
      inputs = next;
      return done;
    });
  for (let n = 0; n < 3; n += 1) await run("two");
  expect(seen).toEqual(["one", "two"]);
});
