import { expect, test } from "bun:test";
import { stateLine } from "../../src/desk/state-line.ts";
import type { EndpointState, State } from "../../src/model/state.ts";

const registered: State["registration"] = {
  kind: "registered",
  operatorId: "k8sop_1",
  certificate: { notAfter: new Date(0), fingerprint256: "" } as never,
};
const endpoints = (...states: EndpointState["state"][]): EndpointState[] =>
  states.map((state) => ({ state }) as EndpointState);
const line = (changes: Partial<State>): string =>
  stateLine({
    phase: "serving",
    reason: "",
    registration: registered,
    endpoints: [],
    ...changes,
  } as State);

test("the line for the list of services says how the daemon is", () => {
  expect(line({ phase: "starting" })).toBe("Starting");
  expect(line({})).toBe("Serving 0 endpoints");
  expect(line({ endpoints: endpoints("listening", "draining") })).toBe("Serving 1 endpoint");
  expect(line({ endpoints: endpoints("listening", "failed", "listening") })).toBe(
    "Serving 2 endpoints, 1 failing",
  );
  expect(
    line({ phase: "degraded", reason: "ngrok is busy", endpoints: endpoints("listening") }),
  ).toBe("Degraded: ngrok is busy; serving 1 endpoint");
  expect(
    line({
      phase: "degraded",
      reason: "there is no API key",
      registration: { kind: "waiting-for-key" },
    }),
  ).toBe("Degraded: there is no API key");
  expect(line({ phase: "stopping" })).toBe("Stopping; open connections may finish");
});
