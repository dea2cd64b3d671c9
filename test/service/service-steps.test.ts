import { describe, expect, test } from "bun:test";
import { stateText } from "../../src/cli/service/status.ts";
import { thisManager } from "../../src/service/manage.ts";
import type { ServiceFacts } from "../../src/service/service-facts.ts";
import { readPrinted, readShown } from "../../src/service/service-state.ts";
import {
  installSteps,
  launchd,
  logsCommand,
  type Step,
  systemd,
  uninstallSteps,
  verbSteps,
} from "../../src/service/service-steps.ts";
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

describe("with launchd", () => {
  const plist = "/Library/LaunchDaemons/com.ngrok.ngrokd.plist";

  test("installing puts an old one away, and is remembered for the next boot", () => {
    expect(told(installSteps(launchd, facts, { same: false, start: true }))).toEqual([
      "folder /etc/ngrokd",
      `write ${plist}`,
      "/bin/launchctl bootout system/com.ngrok.ngrokd?",
      "/bin/launchctl enable system/com.ngrok.ngrokd",
      `/bin/launchctl bootstrap system ${plist}`,
    ]);
  });

  test("everything else is launchctl's and tail's", () => {
    expect(told(uninstallSteps(launchd))).toEqual([
      "/bin/launchctl bootout system/com.ngrok.ngrokd?",
      `remove ${plist}`,
    ]);
    expect(
      (["start", "stop", "restart"] as const).flatMap((verb) => told(verbSteps(launchd, verb))),
    ).toEqual([
      `/bin/launchctl bootstrap system ${plist}`,
      "/bin/launchctl bootout system/com.ngrok.ngrokd",
      "/bin/launchctl kickstart -k system/com.ngrok.ngrokd",
    ]);
    expect(logsCommand(launchd, { lines: 5, follow: true })).toEqual([
      "/usr/bin/tail",
      "-n",
      "5",
      "-F",
      "/var/log/ngrokd.log",
    ]);
  });

  test("its output is read as far as it is plain", () => {
    const printed =
      "system/com.ngrok.ngrokd = {\n\tactive count = 1\n\tstate = running\n\n\truns = 3\n\tpid = 812\n}\n";
    expect(readPrinted(0, printed)).toMatchObject({
      state: "active",
      pid: 812,
      restarts: 2,
      at_boot: "enabled",
    });
    expect(readPrinted(113, "")).toMatchObject({ state: "inactive", pid: null, restarts: 0 });
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
    const state = readShown(0, out);
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
    expect(readShown(1, "").state).toBe("unknown");
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
