import { describe, expect, test } from "bun:test";
import { stateText } from "../../src/cli/service/status.ts";
import { thisManager } from "../../src/service/manage.ts";
import type { ServiceFacts } from "../../src/service/service-facts.ts";
import { installSteps, type Step } from "../../src/service/service-steps.ts";
import { readShown, systemd } from "../../src/service/systemd.ts";
import { plain } from "../cli/support.ts";

const onLinux = systemd((paths) => paths[0] ?? "");
const facts: ServiceFacts = {
  program: "/usr/local/bin/ngrokd",
  serveArgs: [],
  environment: {},
  hostsPath: "/etc/hosts",
  socketPath: "/var/run/ngrokd.sock",
  folders: ["/etc/ngrokd", "/etc/ngrokd"],
  reads: [],
  makesInterface: false,
  drainSeconds: 30,
};

/** Short forms of steps; other tests check the texts. */
const told = (steps: readonly Step[]): string[] =>
  steps.map((step) =>
    step.kind === "run"
      ? `${step.command.join(" ")}${step.mayFail === true ? "?" : ""}`
      : step.kind === "wait"
        ? `wait ${step.command.join(" ")}`
        : `${step.kind} ${step.path}`,
  );

describe("a user without sudo", () => {
  test("becomes a member of the socket's group before the daemon starts", () => {
    const choices = { same: true, start: true, member: "alice" };
    expect(told(installSteps(onLinux, facts, choices))).toEqual([
      "folder /etc/ngrokd",
      "/usr/sbin/groupadd --force --system ngrokd",
      "/usr/sbin/usermod --append --groups ngrokd alice",
      "/usr/bin/systemctl enable --quiet ngrokd.service",
      "/usr/bin/systemctl start ngrokd.service",
    ]);
  });
});

describe("with systemd", () => {
  test("an installed service is started, and not changed", () => {
    expect(told(installSteps(onLinux, facts, { same: true, start: false }))).toEqual([
      "folder /etc/ngrokd",
      "/usr/bin/systemctl enable --quiet ngrokd.service",
    ]);
  });

  test("its answer becomes a state, and values may have an equals sign", () => {
    const out =
      "ActiveState=failed\nSubState=failed\nMainPID=0\nStatusText=a=b\nNRestarts=4\nResult=watchdog\nNeedDaemonReload=yes\n";
    const state = readShown({ code: 0, out });
    expect(state).toEqual({
      state: "failed",
      detail: "failed",
      at_boot: "",
      pid: null,
      says: "a=b",
      since: "",
      restarts: 4,
      result: "watchdog",
      needs_reload: true,
    });
    expect(readShown({ code: 1, out: "" }).state).toBe("unknown");
    const text = stateText(
      { ...state, installed: "ours", path: "/etc/systemd/system/ngrokd.service" },
      plain,
    );
    for (const words of [
      "failed: watchdog",
      "4, after failures",
      "does not start",
      "daemon-reload",
    ])
      expect(text).toContain(words);
  });
});

test("another system has no manager that is known", () => {
  expect(() => thisManager("win32")).toThrow(
    'Cannot manage a service on "win32": only systemd and launchd are known',
  );
});
