import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stateText } from "../../src/cli/service/status.ts";
import { launchd, readPrinted } from "../../src/service/launchd.ts";
import { carryOut, planInstall, planUninstall, planVerb } from "../../src/service/manage.ts";
import { restartWay } from "../../src/service/restart.ts";
import type { ServiceFacts } from "../../src/service/service-facts.ts";
import { serviceState } from "../../src/service/service-state.ts";
import type { Verb } from "../../src/service/service-steps.ts";
import { plain } from "../cli/support.ts";
import { temporaryFolder } from "../machine/support.ts";
import { unitFacts } from "../support/sandbox.ts";

/**
 * A stand-in for launchctl. It keeps its state in files, prints what launchctl
 * of macOS 13 to 15 prints, and fails with its exit codes, as users of it
 * report them: `print` of an unknown service 113, `bootstrap` of a loaded one 5
 * and of a disabled one 5, `bootout` of an unknown one 3, everything as a user
 * 1. `bootout` returns at once, and the service is there for some more calls.
 */
const launchctl = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
label=com.ngrok.ngrokd
echo "$*" >>calls
[ ! -f denied ] || case $1 in bootstrap | bootout | enable | kickstart)
  echo "Boot-out failed: 1: Operation not permitted" >&2; exit 1 ;;
esac
absent() { echo "Could not find service \\"$label\\" in domain for system" >&2; exit 113; }
ends() {
  [ -f ending ] || return 0
  left=$(($(cat ending) - 1))
  if [ "$left" -gt 0 ]; then echo "$left" >ending; else rm -f ending loaded running; fi
}
case $1 in
print)
  ends
  [ -f loaded ] || absent
  printf '%s = {\\n\\tactive count = 1\\n\\tpath = %s\\n\\ttype = LaunchDaemon\\n' "$2" "$(cat loaded)"
  if [ -f running ]; then
    printf '\\tstate = running\\n\\n\\tprogram = /usr/local/bin/ngrokd\\n\\truns = %s\\n' "$(cat running)"
    printf '\\tpid = 812\\n\\tlast exit code = (never exited)\\n'
  else
    printf '\\tstate = not running\\n\\n\\truns = 1\\n\\tlast exit code = %s\\n' "$(cat code)"
  fi
  printf '\\n\\tendpoints = {\\n\\t\\tstate = active\\n\\t\\tpid = 1\\n\\t}\\n}\\n' ;;
print-disabled)
  word=enabled
  [ ! -f disabled ] || word=disabled
  printf '\\n\\tdisabled services = {\\n\\t\\t"com.apple.ftpd" => disabled\\n\\t\\t"%s" => %s\\n\\t}\\n' "$label" "$word" ;;
enable) rm -f disabled ;;
bootstrap)
  ends
  [ ! -f loaded ] && [ ! -f disabled ] && [ -f "$3" ] ||
    { echo "Bootstrap failed: 5: Input/output error" >&2; exit 5; }
  echo "$3" >loaded; cp "$3" in-effect; echo 1 >running; echo 0 >code ;;
bootout)
  [ -f loaded ] || { echo "Boot-out failed: 3: No such process" >&2; exit 3; }
  echo 3 >ending ;;
kickstart)
  [ -f loaded ] || absent
  echo 1 >running ;;
*) echo "Unrecognized subcommand: $1" >&2; exit 64 ;;
esac
`;

describe("a service of launchd", () => {
  test("lives from its installation to its removal", async () => {
    await using mac = await macAt();
    expect((await mac.state()).state).toBe("inactive");
    await mac.install();
    expect(await mac.state()).toMatchObject({
      installed: "ours",
      state: "active",
      pid: 812,
      restarts: 0,
      at_boot: "enabled",
      result: "",
    });
    await mac.verb("stop");
    expect(await mac.state()).toMatchObject({ state: "inactive", pid: null, at_boot: "enabled" });
    await mac.verb("start");
    await mac.verb("restart");
    expect((await mac.state()).state).toBe("active");
    await carryOut(await planUninstall(mac.manager), mac.at("state"));
    expect(await mac.state()).toMatchObject({ installed: "none", state: "inactive", at_boot: "" });
    expect({ left: existsSync(mac.manager.path) }).toEqual({ left: false });
    const journal = join(mac.at("state"), "changes.json");
    expect(existsSync(journal) ? readFileSync(journal, "utf8") : "").not.toContain("plist");
  });

  test("can be told twice: nothing fails that has nothing to do", async () => {
    await using mac = await macAt();
    await mac.verb("stop").catch((error: unknown) => expect(`${error}`).toContain("not installed"));
    await mac.install();
    for (const verb of ["start", "start", "stop", "stop", "restart", "restart"] as const)
      await mac.verb(verb);
    await mac.install();
    expect((await mac.state()).state).toBe("active");
  });

  test("gets its new property list in effect, and waits for the old one to end", async () => {
    await using mac = await macAt();
    await mac.install();
    await mac.install({ ...unitFacts, drainSeconds: 77 });
    expect(readFileSync(mac.at("in-effect"), "utf8")).toContain("<integer>107</integer>");
    const calls = mac.calls();
    const [out, again] = [
      calls.lastIndexOf("bootout system/com.ngrok.ngrokd"),
      calls.findLastIndex((call) => call.startsWith("bootstrap")),
    ];
    const looks = calls.slice(out, again).filter((call) => call.startsWith("print "));
    expect(looks.length).toBeGreaterThan(2);
  });

  test("that an administrator has disabled starts again with its installation", async () => {
    await using mac = await macAt();
    await mac.install();
    await mac.verb("stop");
    writeFileSync(mac.at("disabled"), "");
    expect((await mac.state()).at_boot).toBe("disabled");
    await mac.install();
    expect(await mac.state()).toMatchObject({ state: "active", at_boot: "enabled" });
  });

  test("that has failed says so, with its exit code, and starts again", async () => {
    await using mac = await macAt();
    await mac.install();
    mac.ended("78: EX_CONFIG");
    const state = await mac.state();
    expect(state).toMatchObject({ state: "failed", result: "exit code 78: EX_CONFIG" });
    expect(stateText(state, plain)).toContain("failed: exit code 78: EX_CONFIG");
    await mac.verb("start");
    expect((await mac.state()).state).toBe("active");
  });

  test("needs root, and says so", async () => {
    await using mac = await macAt();
    await mac.install();
    writeFileSync(mac.at("denied"), "");
    const failed = await mac.verb("restart").catch((error: unknown) => error);
    const rootless = await mac.install({ ...unitFacts, drainSeconds: 5 }).catch((e: unknown) => e);
    for (const error of [failed, rootless])
      expect(error).toMatchObject({ code: "permission", hint: "run it with sudo" });
  });

  test("is not replaced if its file is another program's", async () => {
    await using mac = await macAt();
    writeFileSync(mac.manager.path, "<plist/>\n");
    const failed = await mac.install().catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: "refused" });
    expect(readFileSync(mac.manager.path, "utf8")).toBe("<plist/>\n");
    expect(mac.calls()).toEqual([]);
  });

  test("is restarted by launchd, without a handover", () => {
    const state = { state: "active", pid: 7, needs_reload: false };
    const rest = { state, answering: 7, unit: "", startedAt: undefined, changedAt: 0 };
    const way = restartWay({ manager: "launchd", ...rest });
    expect(way).toEqual({ kind: "manager", why: "launchd keeps to one process" });
  });

  test("shows its log with tail", () => {
    expect(launchd().logs({ lines: 5, follow: true }).join(" ")).toBe(
      "/usr/bin/tail -n 5 -F /var/log/ngrokd.log",
    );
  });

  test.each([
    ["spawn scheduled", "spawn scheduled"],
    ["waiting", "waiting"],
    ["not running", "inactive"],
  ])("in the state %p is told as %p", (word, state) => {
    expect(readPrinted({ code: 0, out: `x = {\n\tstate = ${word}\n}\n` }).state).toBe(state);
  });
});

/** A machine with the stand-in in a folder. */
async function macAt() {
  const folder = await temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  for (const name of ["LaunchDaemons", "state"]) mkdirSync(at(name), { mode: 0o700 });
  writeFileSync(at("launchctl"), launchctl, { mode: 0o755 });
  const places = { control: at("launchctl"), logs: "/usr/bin/tail", folder: at("LaunchDaemons") };
  const manager = launchd(places);
  return {
    at,
    manager,
    calls: () =>
      existsSync(at("calls")) ? readFileSync(at("calls"), "utf8").trim().split("\n") : [],
    state: () => serviceState(manager),
    async install(facts: ServiceFacts = unitFacts) {
      const here = { ...facts, folders: [at("state")] };
      const { steps } = await planInstall(manager, here, { start: true, takeOver: false });
      await carryOut(steps, at("state"));
    },
    verb: async (verb: Verb) => await carryOut(await planVerb(manager, verb)),
    ended(code: string) {
      writeFileSync(at("code"), code);
      Bun.spawnSync(["rm", at("running")]);
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
