import { describe, expect, test } from "bun:test";
import { programIn, type RestartFacts, restartWay } from "../../src/service/restart.ts";
import { unitText } from "../../src/service/unit.ts";
import { unitFacts } from "../support/sandbox.ts";

const facts: RestartFacts = {
  manager: "systemd",
  state: { state: "active", pid: 7, needs_reload: false },
  answering: 7,
  unit: unitText(unitFacts),
  startedAt: 2000,
  changedAt: 1000,
};

describe("restartWay", () => {
  test("is a handover to the unit's program while the unit is as it was started", () => {
    expect(restartWay(facts)).toEqual({ kind: "handover", program: "/run/bin/ngrokd" });
  });

  test.each([
    ["does not run", { state: { ...facts.state, state: "inactive", pid: null } }],
    ["launchd keeps to one process", { manager: "launchd" as const }],
    ["another daemon answers", { answering: 8 }],
    ["was not made by ngrokd", { unit: undefined }],
    ["has changed since it was started", { changedAt: 3000 }],
    ["has changed since it was started", { startedAt: undefined }],
    ["has changed since it was started", { state: { ...facts.state, needs_reload: true } }],
  ])("is a restart by the manager: %s", (why, changes) => {
    const way = restartWay({ ...facts, ...changes });
    expect(way).toMatchObject({ kind: "manager", why: expect.stringContaining(why) });
  });
});

describe("programIn", () => {
  test.each(["/usr/local/bin/ngrokd", "/opt/my tools/ngrokd", "/srv/100%/$x/ngrokd"])(
    "reads %s back from a unit",
    (program) => {
      expect(programIn(unitText({ ...unitFacts, program }))).toBe(program);
    },
  );

  test("returns undefined for a text without a command", () => {
    expect(programIn("[Unit]\n")).toBeUndefined();
  });
});
