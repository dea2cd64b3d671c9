import { expect, test } from "bun:test";
import { NgrokdError } from "../../src/model/error.ts";
import { lookAt } from "../../src/top/look.ts";
import { source } from "./support.ts";

test("a look soon after another keeps the moment that its rates are since", async () => {
  const first = await lookAt(source(), undefined, undefined);
  const second = await lookAt(source(), undefined, {
    ...first,
    since: { at: first.at, items: [] },
  });
  expect({ first: first.since, second: second.since }).toEqual({
    first: undefined,
    second: { at: first.at, items: [] },
  });
});

test("a part that a user may not ask for has the reason, and the rest is there", async () => {
  const forbidden = new NgrokdError("permission", "only its own user may ask");
  const refuse = async () => await Promise.reject(forbidden);
  const { closer } = await lookAt(source({ connections: refuse }), "a.demo:80", undefined);
  expect(closer).toEqual({
    name: "a.demo:80",
    connections: { kind: "unknown", reason: "only its own user may ask" },
    events: { kind: "known", value: [] },
    exchanges: { kind: "known", value: [] },
  });
});

test("a daemon that has gone fails the whole look", async () => {
  const gone = new NgrokdError("not-running", "No daemon answers");
  const refuse = async () => await Promise.reject(gone);
  const asked = lookAt(source({ events: refuse }), "a.demo:80", undefined);
  expect(await asked.catch((error: unknown) => error)).toBe(gone);
});
