import { describe, expect, test } from "bun:test";
import { happeningsBetween, outlookHappenings } from "../../src/desk/happenings.ts";
import type { Happening } from "../../src/history/history.ts";
import type { EndpointState, State } from "../../src/model/state.ts";
import { endpoint } from "./support.ts";

const at = { wall: new Date(0), steady: 0 };
const stateWith = (change: Partial<State>): State => ({
  phase: "serving",
  reason: "",
  hint: "",
  startedAt: at,
  registration: { kind: "registering" },
  ingress: "",
  lastPass: undefined,
  endpoints: [],
  warnings: [],
  ...change,
});

const between = (before: EndpointState[], after: EndpointState[]): string[] =>
  happeningsBetween(
    "default",
    stateWith({ endpoints: before }),
    stateWith({ endpoints: after }),
  ).map((one) => `${one.kind} ${urlIn(one)}`);

const urlIn = (one: Happening): string =>
  "endpoint" in one && typeof one.endpoint !== "string" ? one.endpoint.url : "";

describe("what has happened between two states", () => {
  test("is an endpoint that is new, has changed, fails, or is gone", () => {
    const [hello, other] = [endpoint("hello"), endpoint("other")];
    const failed = endpoint("other", { state: "failed", reason: "another program listens" });
    expect(between([], [hello, other])).toEqual([
      "endpoint.raised http://hello.demo",
      "endpoint.raised http://other.demo",
    ]);
    expect(between([hello, other], [endpoint("hello"), failed])).toEqual([
      "endpoint.failed http://other.demo",
    ]);
    expect(between([hello, failed], [other])).toEqual([
      "endpoint.raised http://other.demo",
      "endpoint.gone http://hello.demo",
    ]);
    expect(between([hello], [endpoint("hello")])).toEqual([]);
  });

  test("is a poll, once, and a new certificate", () => {
    const lastPass = { at, ok: false, tookMs: 3, reason: "refused", hint: "look" };
    const certificate = { notAfter: new Date(5), fingerprint256: "AB" };
    const registered = { kind: "registered", operatorId: "op", certificate } as const;
    const after = stateWith({ lastPass, registration: registered });
    expect(happeningsBetween("work", stateWith({}), after)).toMatchObject([
      { kind: "certificate", account: "work", fingerprint: "AB" },
      { kind: "poll", account: "work", ok: false, reason: "refused" },
    ]);
    const later = stateWith({ lastPass, registration: { ...registered } });
    expect(happeningsBetween("work", after, later)).toEqual([]);
  });

  test("is a phase, a warning, and the end of a warning", () => {
    const common = { reason: "", hint: "" };
    const before = { phase: "starting", ...common, warnings: ["old", "both"] } as const;
    const after = { phase: "serving", ...common, warnings: ["both", "new"] } as const;
    expect(outlookHappenings(before, after)).toEqual([
      { kind: "phase", phase: "serving", reason: "", hint: "" },
      { kind: "warning", text: "new", isOver: false },
      { kind: "warning", text: "old", isOver: true },
    ]);
    expect(outlookHappenings(after, after)).toEqual([]);
  });
});
