import { expect, test } from "bun:test";
import { together } from "../../src/desk/together.ts";
import { readiness, type State } from "../../src/model/state.ts";
import { endpoint, servingState } from "./support.ts";

const at = new Date("2026-08-01T10:11:12Z");
const fine = servingState(at);
const down: State = {
  ...fine,
  phase: "degraded",
  reason: "no route",
  hint: "look at the network",
  lastPass: { at: { wall: at, steady: 0 }, ok: false, tookMs: 1, reason: "no route", hint: "" },
};
const waiting: State = {
  ...fine,
  profile: "lab",
  phase: "starting",
  reason: "no key",
  registration: { kind: "waiting-for-key" },
  lastPass: undefined,
};

test("together: one profile's state stays as it is", () => {
  expect(together([{ name: "work", state: down }])).toBe(down);
});

test("together: the worst phase counts, and its reason names the profile", () => {
  const { phase, reason, hint } = together([
    { name: "default", state: fine },
    { name: "lab", state: waiting },
    { name: "work", state: down },
  ]);
  expect([phase, reason, hint]).toEqual([
    "degraded",
    "profile work: no route",
    "look at the network",
  ]);
});

test("together: it is ready if every profile is", () => {
  const ready = (other: State) =>
    readiness(
      together([
        { name: "default", state: fine },
        { name: "lab", state: other },
      ]),
    );
  expect(ready(fine)).toEqual({ ready: true, reason: "" });
  expect(ready(waiting)).toEqual({
    ready: false,
    reason: "waiting for an API key: run `ngrokd set-api-key --profile lab`",
  });
  expect(ready(down)).toEqual({
    ready: false,
    reason: "the last poll failed: profile lab: no route",
  });
});

test("together: it has the endpoints of all, by URL, and each ingress once", () => {
  const of = (name: string): State => ({ ...fine, endpoints: [endpoint(name)] });
  const { endpoints, ingress } = together([
    { name: "default", state: of("b") },
    { name: "work", state: of("a") },
    { name: "lab", state: { ...fine, ingress: "other:443" } },
  ]);
  expect(endpoints.map(({ url }) => url)).toEqual(["http://a.demo", "http://b.demo"]);
  expect(ingress).toBe("ingress.test:443, other:443");
});
