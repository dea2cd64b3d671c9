import { expect, test } from "bun:test";
import { settled } from "../../src/desk/settle.ts";
import { NgrokdError } from "../../src/model/error.ts";
import type { PassResult, Reconciled, Resumption } from "../../src/model/pass.ts";
import { readiness, type State } from "../../src/model/state.ts";
import { servingState } from "./support.ts";

const at = new Date("2026-08-01T10:11:12Z");
const fine = servingState(at);

/** A state after these passes, and the log lines of each. */
function after(
  results: readonly (PassResult | Resumption)[],
  from: State = fine,
): { state: State; told: string[][] } {
  let state = from;
  const told = results.map((result) => {
    const { change, lines } = settled(state, result, { at: fine.startedAt, tookMs: 7 });
    state = { ...state, ...change };
    return lines.map(({ level, text }) => `${level} ${text}`);
  });
  return { state, told };
}

const down = new NgrokdError("network", "no route", { hint: "look at the network" });
const nothing: Reconciled = { endpoints: [], problems: [] };
const troubled: Reconciled = {
  endpoints: [],
  problems: [{ reason: "disk full", hint: "make room" }],
};

test("without an API key the daemon is not ready, and logs that once", () => {
  const { state, told } = after([{ kind: "idle" }, { kind: "idle" }]);
  expect(state).toMatchObject({
    phase: "degraded",
    reason: "there is no API key",
    lastPass: { ok: false, tookMs: 7, hint: state.hint },
  });
  expect(readiness(state)).toEqual({
    ready: false,
    reason: "the last poll failed: there is no API key",
  });
  expect(told).toEqual([["warn There is no API key, so endpoints cannot be listed"], []]);
  // A new key is not a recovery from a failed poll.
  expect(after([{ kind: "ok", reconciled: nothing }], state)).toMatchObject({
    state: { phase: "serving" },
    told: [[]],
  });
});

test("a problem on this machine is logged with the poll's failure, and ends with it", () => {
  const failed: PassResult = { kind: "failed", error: down, reconciled: troubled, resumed: false };
  const { state, told } = after([
    failed,
    failed,
    { kind: "failed", error: down, reconciled: nothing },
  ]);
  expect(told).toEqual([
    ["warn The poll failed: no route; disk full"],
    [],
    ["warn The poll failed: no route"],
  ]);
  expect(state).toMatchObject({
    phase: "degraded",
    reason: "no route",
    hint: "look at the network",
    warnings: [],
  });
  expect(after([failed]).state.reason).toBe("no route; disk full");
  const again = after([{ kind: "ok", reconciled: nothing }], state);
  expect(again).toMatchObject({
    state: { phase: "serving", reason: "" },
    told: [["info The poll works again"]],
  });
});

test("endpoints from before the start are a warning until ngrok's list comes", () => {
  const warning = "The endpoints are from before this start, since ngrok's API cannot be used";
  const resumed: PassResult = { kind: "failed", error: down, reconciled: nothing, resumed: true };
  const { state, told } = after([
    resumed,
    resumed,
    { kind: "failed", error: down },
    { kind: "confirm", reconciled: undefined },
  ]);
  expect(told).toEqual([
    ["warn The poll failed: no route", `warn ${warning}`],
    [],
    [],
    ["info The poll works again"],
  ]);
  expect(state.warnings).toEqual([warning]);
  expect(after([{ kind: "ok", reconciled: nothing }], state).state.warnings).toEqual([]);
});

test("the start goes on until a list of ngrok counts", () => {
  const starting: State = { ...fine, phase: "starting", lastPass: undefined };
  const resumed = after([{ kind: "resumed", reconciled: nothing }], starting);
  expect(resumed.state).toMatchObject({ phase: "starting", lastPass: undefined });
  const doubted = after([{ kind: "confirm", reconciled: undefined }], resumed.state);
  expect(doubted.state.phase).toBe("starting");
  expect(after([{ kind: "ok", reconciled: nothing }], doubted.state).state.phase).toBe("serving");
});

test("a doubted list after a failure ends no trouble", () => {
  const { state } = after([
    { kind: "gone", error: down },
    { kind: "confirm", reconciled: undefined },
  ]);
  expect(state).toMatchObject({ phase: "degraded", reason: "no route", hint: down.hint });
  expect(after([{ kind: "ok", reconciled: nothing }], state).state).toMatchObject({
    phase: "serving",
    reason: "",
  });
});

test("an operator that ngrok does not know makes the state degraded", () => {
  const { state, told } = after([{ kind: "gone", error: down }]);
  expect({ phase: state.phase, reason: state.reason, told }).toEqual({
    phase: "degraded",
    reason: "no route",
    told: [[]],
  });
});

test.each([
  [2, 0, "serving"],
  [3, 0, "degraded"],
  [3, 2, "degraded"],
  [3, 3, "serving"],
  [88_002, 11_999, "degraded"],
  [40, 60, "serving"],
] as const)("with %p endpoints failed and %p listening it is %p", (failed, listening, phase) => {
  const endpoint = (state: string) => ({ state, reason: "" });
  const endpoints = [
    ...Array(failed).fill(endpoint("failed")),
    ...Array(listening).fill(endpoint("listening")),
    ...Array(50).fill(endpoint("unsupported")),
  ];
  const { change } = settled(
    { ...fine, endpoints },
    { kind: "ok", reconciled: { endpoints, problems: [] } },
    { at: fine.startedAt, tookMs: 7 },
  );
  expect(change.phase).toBe(phase);
  expect(change.reason).toBe(phase === "serving" ? "" : "most endpoints cannot be served");
});
