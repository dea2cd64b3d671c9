import { describe, expect, test } from "bun:test";
import {
  carrying,
  ingressLines,
  ingressTrouble,
  insecureWarning,
  noWarnings,
  type WarningSources,
  warningsOf,
} from "../../src/desk/warnings.ts";
import { NgrokdError } from "../../src/model/error.ts";
import type { State } from "../../src/model/state.ts";

describe("the warnings of a status", () => {
  test("are none if all is well", () => {
    expect(warningsOf(noWarnings)).toEqual([]);
  });

  test("are in one order, whatever there is", () => {
    const all: WarningSources = {
      insecure: true,
      settings: ["setting 1", "setting 2"],
      health: "health",
      hosts: "hosts",
      dns: ["dns"],
      link: ["link"],
      identity: ["identity"],
      trust: ["trust"],
      selectors: "selectors",
      state: ["state"],
      ingress: { text: "ingress", hint: "look" },
    };
    expect(warningsOf(all)).toEqual([
      insecureWarning,
      "setting 1",
      "setting 2",
      "health",
      "hosts",
      "dns",
      "link",
      "identity",
      "trust",
      "selectors",
      "state",
      "ingress; look",
    ]);
    expect(warningsOf({ ...noWarnings, trust: ["trust"], hosts: "hosts" })).toEqual([
      "hosts",
      "trust",
    ]);
  });

  test("explain the risk of an insecure ingress", () => {
    expect(warningsOf({ ...noWarnings, insecure: true })).toEqual([
      "server.insecure_skip_verify is on: the ingress is NOT verified, " +
        "and anyone on the network path can read and change every connection",
    ]);
  });

  test("have the ingress's hint only if there is one", () => {
    const ingress = { text: "New connections fail: no route", hint: "" };
    expect(warningsOf({ ...noWarnings, ingress })).toEqual(["New connections fail: no route"]);
  });
});

describe("trouble of the ingress", () => {
  const noRoute = ingressTrouble(new NgrokdError("network", "no route", { hint: "look" }));
  const untrusted = ingressTrouble(new NgrokdError("network", "not trusted"));

  test("has the error's message and hint", () => {
    expect(noRoute).toEqual({ text: "New connections fail: no route", hint: "look" });
    expect(untrusted).toEqual({ text: "New connections fail: not trusted", hint: "" });
    expect(ingressTrouble(undefined)).toBeUndefined();
  });

  test("is logged when it comes, changes and goes, and not in between", () => {
    expect(ingressLines(undefined, noRoute)).toEqual([
      { level: "warn", text: "New connections fail: no route", hint: "look" },
    ]);
    expect(ingressLines(noRoute, noRoute)).toEqual([]);
    expect(ingressLines(noRoute, untrusted)).toEqual([
      { level: "warn", text: "New connections fail: not trusted", hint: "" },
    ]);
    expect(ingressLines(untrusted, undefined)).toEqual([
      { level: "info", text: "The ingress can be reached again" },
    ]);
    expect(ingressLines(undefined, undefined)).toEqual([]);
  });
});

describe("a daemon that cannot reach the ingress", () => {
  const trouble = { text: "New connections fail", hint: "look" };
  const state = (change: Pick<State, "phase" | "reason">): State => ({
    ...change,
    hint: "",
    startedAt: { wall: new Date(0), steady: 0 },
    registration: { kind: "registering" },
    ingress: "ingress:443",
    lastPass: undefined,
    endpoints: [],
    warnings: [],
  });

  test("does not serve, and says why", () => {
    const said = carrying(state({ phase: "serving", reason: "" }), trouble);
    expect(said).toMatchObject({ phase: "degraded", reason: trouble.text });
  });

  test.each(["starting", "degraded", "stopping"] as const)("keeps the phase %s", (phase) => {
    const before = state({ phase, reason: "its own" });
    expect(carrying(before, trouble)).toBe(before);
  });
});
