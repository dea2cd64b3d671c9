import { beforeAll, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { packageMarker } from "../../src/service/service-facts.ts";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { receive } from "../support/datagrams.ts";
import { type Daemon, defaultSocket, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { sandboxed } from "../support/sandbox.ts";
import { layOverUsrBin, standInFolder } from "../support/stand-ins.ts";
import { atEnd, foreignHosts, stories, until } from "../support/story.ts";
import { resolve } from "../support/tcp.ts";
import { page } from "../support/web.ts";

const unit = "/etc/systemd/system/ngrokd.service";

const operations = join(import.meta.dirname, "../../docs/operations.md");

/** The unit that `ngrokd service install` would write here. */
async function unitText(): Promise<string> {
  const { steps } = (await ngrokd("service install --dry-run --json")).json;
  return steps.find(({ kind }: { kind: string }) => kind === "write").text;
}

stories("a unit that starts after the daemon's", () => {
  test("finds the names, although ngrok answers late: the daemon is not ready before", async () => {
    const told = receive("/run/notify.sock");
    atEnd(told.close);
    const cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    await cloud.break("latency=50");
    writeConfig(configFor(cloud));
    await serve({ env: { NOTIFY_SOCKET: "/run/notify.sock" } });
    await until("it is ready", () => told.texts().includes("READY=1"));
    expect(await resolve("hello.demo")).toStartWith("127.");
  });
});

stories("a unit that starts after a daemon of a new machine", () => {
  test("is not held up for more than some seconds if ngrok never answers", async () => {
    const told = receive("/run/silent.sock");
    atEnd(told.close);
    const cloud = await startCloud();
    await cloud.break("latency=600000");
    writeConfig(configFor(cloud));
    const daemon = await serve({ env: { NOTIFY_SOCKET: "/run/silent.sock" } });
    await until("it is ready", () => told.texts().includes("READY=1"));
    expect((await daemon.status()).last_poll).toBeNull();
  });
});

stories("a daemon under a service manager", () => {
  const socket = "/run/notify.sock";
  let daemon: Daemon;
  let told: ReturnType<typeof receive>;
  let cloud: Cloud;

  beforeAll(async () => {
    told = receive(socket);
    atEnd(told.close);
    cloud = await startCloud();
    writeConfig(configFor(cloud));
  });

  test("is ready when its socket answers, even if ngrok cannot be reached", async () => {
    await cloud.break("500");
    daemon = await serve({ env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: "3000000" } });
    await until("it is ready", () => told.texts().includes("READY=1"));
    await until("it tells of the failure", () =>
      told.texts().some((text) => text.startsWith("STATUS=Degraded: ")),
    );
    await cloud.mend();
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.refresh();
    await until(
      "it serves",
      () => told.texts().at(-1) !== "" && told.texts().includes("STATUS=Serving 1 endpoint"),
    );
  });

  test("sends signs of life again and again", async () => {
    const pings = (): number => told.texts().filter((text) => text === "WATCHDOG=1").length;
    const before = pings();
    await until("three more pings have come", () => pings() >= before + 3);
  });

  test("that hangs does not", async () => {
    const pings = (): number => told.texts().filter((text) => text === "WATCHDOG=1").length;
    daemon.kill("SIGSTOP");
    await until("it stands still", () =>
      /^State:\s+T/m.test(readFileSync(`/proc/${daemon.pid}/status`, "utf8")),
    );
    const before = pings();
    await Bun.sleep(3500);
    expect(pings()).toBe(before);
    daemon.kill("SIGCONT");
    await until("it lives again", () => pings() > before);
  });

  test("says when it reloads, and when it has", async () => {
    const before = told.texts().length;
    daemon.kill("SIGHUP");
    const since = () =>
      told
        .texts()
        .slice(before)
        .filter((text) => !/^(WATCHDOG|STATUS)/.test(text));
    await until("it has reloaded", () => since().length === 2);
    expect(since()).toEqual([
      expect.stringMatching(/^RELOADING=1\nMONOTONIC_USEC=\d+$/),
      "READY=1",
    ]);
  });

  test("says when it stops, and for how long that may take", async () => {
    expect(await daemon.stop()).toBe(0);
    expect(told.texts()).toContain("STOPPING=1\nEXTEND_TIMEOUT_USEC=60000000");
    const states = told.texts().filter((text) => text.startsWith("STATUS="));
    expect(states.at(-2)).toStartWith("STATUS=Stopping");
    expect(states.at(-1)).toBe("STATUS=Stopped");
  });

  test("does not mind a manager that does not listen", async () => {
    daemon = await serve({ env: { NOTIFY_SOCKET: "/run/nobody.sock", WATCHDOG_USEC: "30000" } });
    await daemon.becomes("hello.demo", "listening");
    expect(await daemon.stop()).toBe(0);
  });
});

stories("the unit's sandbox", () => {
  let cloud: Cloud;
  let text: string;
  const serveInside = async (): Promise<Daemon> => await serve({ inside: sandboxed(text) });
  const get = async (): Promise<string> => (await run(["curl", "-sS", "http://hello.demo/"])).out;

  beforeAll(async () => {
    cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud));
    const groups = readFileSync("/etc/group");
    atEnd(() => writeFileSync("/etc/group", groups));
    appendFileSync("/etc/group", "ngrokd:x:4242:\n");
    text = await unitText();
  });

  test("leaves the daemon its rights: registration, low ports, names, socket group", async () => {
    const daemon = await serveInside();
    await daemon.becomes("hello.demo", "listening");
    expect(await get()).toBe("hello");
    expect(statSync(defaultSocket).gid).toBe(4242);
    expect((await daemon.status()).phase).toBe("serving");
    const rights = readFileSync(`/proc/${daemon.pid}/status`, "utf8");
    // Bits 0 and 10: CAP_CHOWN and CAP_NET_BIND_SERVICE.
    expect(rights).toMatch(/^CapEff:\s+0000000000000401$/m);
    expect(rights).toMatch(/^NoNewPrivs:\s+1$/m);
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync("/etc/hosts", "latin1")).toBe(foreignHosts);
    expect(existsSync(defaultSocket)).toBe(false);
  });

  test("lets it write the hosts file after another program has replaced it", async () => {
    const daemon = await serveInside();
    await daemon.becomes("hello.demo", "listening");
    writeFileSync("/etc/hosts.new", `${foreignHosts}\n192.0.2.9 added.example\n`);
    renameSync("/etc/hosts.new", "/etc/hosts");
    await daemon.refresh();
    await until("the name is back", () =>
      readFileSync("/etc/hosts", "latin1").includes("\thello.demo\n"),
    );
    expect(readFileSync("/etc/hosts", "latin1")).toContain("192.0.2.9 added.example\n");
    expect(await daemon.stop()).toBe(0);
    writeFileSync("/etc/hosts", foreignHosts);
  });

  test("lets it make no file in /etc, even one that is not there yet", async () => {
    expect(existsSync("/etc/ld.so.preload")).toBe(false);
    const { ino } = statSync("/etc/hosts");
    const daemon = await serveInside();
    await daemon.becomes("hello.demo", "listening");
    // By rename it would be another inode: the daemon tries that first.
    expect(statSync("/etc/hosts").ino).toBe(ino);
    expect(readFileSync("/etc/hosts", "latin1")).toContain("\thello.demo\n");
    expect(daemon.log()).not.toContain("Landlock");
    // The saved list is served before the first poll.
    await until("it serves", async () => (await daemon.status()).phase === "serving");
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync("/etc/hosts", "latin1")).toBe(foreignHosts);
  });

  test("shows it its own sockets: a listener that the system closes listens again", async () => {
    const daemon = await serveInside();
    await daemon.becomes("hello.demo", "listening");
    const ip = (await resolve("hello.demo")) ?? "";
    expect((await run(["ss", "-HtnK", "-l", "src", ip, "sport", "=", "80"])).out).toContain(
      `${ip}:80`,
    );
    await until(
      "it listens again",
      async () => (await run(["ss", "-Hltn", "src", ip])).out.includes(`${ip}:80`),
      { within: 70_000 },
    );
    expect(await get()).toBe("hello");
    expect(await daemon.stop()).toBe(0);
  });

  test("may be narrower, as documented: the hosts file is then written in place", async () => {
    const { ino } = statSync("/etc/hosts");
    const [, lines = ""] =
      /^```ini\n\[Service\]\nReadWritePaths=\n(ReadWritePaths=.*)\n```$/m.exec(
        readFileSync(operations, "utf8"),
      ) ?? [];
    const narrow = text.replace(/^ReadWritePaths=.*$/m, lines);
    expect(narrow).toContain("ReadWritePaths=/etc/hosts ");
    const daemon = await serve({ inside: sandboxed(narrow) });
    await daemon.becomes("hello.demo", "listening");
    expect(await get()).toBe("hello");
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync("/etc/hosts", "latin1")).toBe(foreignHosts);
    expect(statSync("/etc/hosts").ino).toBe(ino);
  });

  test("denies it access that would give it further rights", async () => {
    mkdirSync("/run/dbus", { recursive: true });
    // An earlier story may have left a socket.
    rmSync("/run/dbus/system_bus_socket", { force: true });
    writeFileSync("/run/dbus/system_bus_socket", "");
    atEnd(() => rmSync("/run/dbus/system_bus_socket"));
    const enter = sandboxed(text).slice(0, -1);
    const closed = [
      "/",
      "/usr/bin",
      "/var/lib",
      "/tmp",
      "/etc/passwd",
      "/etc/pam.d",
      "/etc/systemd",
      "/root",
    ];
    const open = ["/etc", "/etc/ngrokd", "/etc/hosts", "/run"];
    // Checks the rights without using them. If the sandbox had a hole, a story
    // must do no damage. One sandbox for all, since it takes a while to make.
    const ask = 'for path; do if test -w "$path"; then echo "$path"; fi; done';
    expect((await run([...enter, "sh", "-c", ask, "sh", ...closed, ...open])).out).toBe(
      `${open.join("\n")}\n`,
    );
    expect((await run([...enter, "ls", "/run/dbus/system_bus_socket"])).code).not.toBe(0);
  });
});

stories("ngrokd service", () => {
  let calls: () => string[];

  beforeAll(() => {
    calls = standIns();
    mkdirSync("/etc/systemd/system", { recursive: true });
    mkdirSync("/run/systemd/system", { recursive: true });
    writeConfig({ server: { health_port: "any" }, forward: { drain_timeout: 45 } });
  });

  test("explains each of its commands within 120 columns, with examples", async () => {
    for (const words of ["install", "uninstall", "start", "stop", "restart", "status", "logs"]) {
      const { code, out } = await ngrokd(`service ${words} --help`);
      expect(code).toBe(0);
      expect(out).toContain(`ngrokd service ${words}\n`);
      expect(Math.max(...out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(120);
    }
  });

  test("install --dry-run says all, and does nothing", async () => {
    const { code, out } = await ngrokd("service install --dry-run");
    expect(code).toBe(0);
    expect(out).toContain(`write ${unit} (mode 0644):`);
    expect(out).toContain("    ExecStart=/run/bin/ngrokd serve\n");
    expect(out).toContain("    TimeoutStopSec=75\n");
    expect(out).toContain("run /usr/bin/systemctl start ngrokd.service");
    expect(existsSync(unit)).toBe(false);
    expect(calls()).toEqual([]);
  });

  test("without a service says so, in each command, and changes nothing", async () => {
    for (const words of ["start", "stop", "restart", "logs"]) {
      const { code, err } = await ngrokd(`service ${words}`);
      expect(code).toBe(1);
      expect(err).toMatch(
        /^error: Cannot .* the service: it is not installed\nhint: {2}`sudo ngrokd service install` installs it\n$/,
      );
    }
    expect((await ngrokd("service uninstall")).err).toBe(
      "error: Cannot remove the service: it is not installed\n",
    );
    expect((await ngrokd("service status")).code).toBe(4);
    expect(calls().filter((call) => !call.startsWith("show"))).toEqual([]);
  });

  test("install changes nothing if systemd does not run this machine", async () => {
    renameSync("/run/systemd/system", "/run/systemd/away");
    const { code, err } = await ngrokd("service install");
    renameSync("/run/systemd/away", "/run/systemd/system");
    expect(code).toBe(1);
    expect(err).toStartWith(
      "error: Cannot install the service: systemd does not run here, and nothing was changed\nhint:  start `ngrokd serve`",
    );
    expect({ unitExists: existsSync(unit), calls: calls() }).toEqual({
      unitExists: false,
      calls: [],
    });
  });

  test("install writes, enables and starts the unit; a second install changes nothing", async () => {
    calls();
    const first = await ngrokd("service install --json");
    expect(first.json).toEqual({ path: unit, installed: true, changed: true, started: true });
    expect(readFileSync(unit, "utf8")).toStartWith("# Made by `ngrokd service install`");
    expect((statSync(unit).mode & 0o777).toString(8)).toBe("644");
    expect(calls()).toEqual([
      "daemon-reload",
      "enable --quiet ngrokd.service",
      "start ngrokd.service",
    ]);
    const { ino } = statSync(unit);
    expect((await ngrokd("service install --json")).json.changed).toBe(false);
    expect(statSync(unit).ino).toBe(ino);
    expect(calls()).toEqual(["enable --quiet ngrokd.service", "start ngrokd.service"]);
    expect(readFileSync("/etc/ngrokd/journal.json", "utf8")).toContain(unit);
  });

  test("a changed configuration changes the unit; a running service is not disturbed", async () => {
    writeConfig({ server: { health_port: "any" }, forward: { drain_timeout: 5 } });
    const { out } = await ngrokd("service install --no-start");
    expect(out).toBe(
      `Updated ${unit}; \`sudo ngrokd service restart\` applies it\n\`sudo ngrokd service start\` starts it\n`,
    );
    expect(readFileSync(unit, "utf8")).toContain("TimeoutStopSec=35\n");
    expect(calls()).toEqual(["daemon-reload", "enable --quiet ngrokd.service"]);
  });

  test("start, stop, restart and logs are systemd's", async () => {
    for (const words of ["start", "stop", "restart"])
      expect((await ngrokd(`service ${words}`)).code).toBe(0);
    expect(calls()).toEqual([
      "start ngrokd.service",
      "stop ngrokd.service",
      "restart ngrokd.service",
    ]);
    expect((await ngrokd("service logs --lines 7")).out).toBe(
      "--unit ngrokd.service --output cat --lines 7 --no-pager\n",
    );
    expect((await ngrokd("service logs --lines x")).code).toBe(2);
  });

  test("status shows systemd's facts", async () => {
    writeFileSync(
      "/run/stand-in/show",
      "ActiveState=active\nSubState=running\nUnitFileState=enabled\nMainPID=4711\nStatusText=Serving 3 endpoints\nNRestarts=0\nResult=success\n",
    );
    const { code, out } = await ngrokd("service status");
    expect(code).toBe(0);
    for (const words of ["active", "Serving 3 endpoints", "pid 4711", unit])
      expect(out).toContain(words);
  });

  test("a refusal of systemctl is quoted, with advice", async () => {
    writeFileSync("/run/stand-in/fails", "Job for ngrokd.service failed because of a timeout.");
    const { code, err } = await ngrokd("service start");
    expect(code).toBe(1);
    expect(err).toContain(
      '"/usr/bin/systemctl start ngrokd.service" failed: Job for ngrokd.service failed because of a timeout.',
    );
    expect(err).toContain("hint:  `sudo ngrokd service logs`");
    rmSync("/run/stand-in/fails");
  });

  test("install refuses a configuration and a CA that others may write", async () => {
    mkdirSync("/run/open");
    writeFileSync("/run/open/ca.pem", "");
    writeFileSync("/run/open/config.yml", "server: { ingress_ca: /run/open/ca.pem }\n");
    chmodSync("/run/open/config.yml", 0o600);
    for (const [open, mode] of [
      ["/run/open/config.yml", 0o666],
      ["/run/open/ca.pem", 0o646],
      ["/run/open", 0o777],
    ] as const) {
      const before = statSync(open).mode;
      chmodSync(open, mode);
      const { code, err } = await ngrokd("service install --config /run/open/config.yml");
      const dry = await ngrokd("service install --dry-run --config /run/open/config.yml");
      chmodSync(open, before);
      expect({ open, code, dry: dry.code }).toEqual({ open, code: 1, dry: 0 });
      expect(err).toContain("error: Cannot install the service: Other users can change the ");
      expect(err).toContain(`\`sudo chmod go-w ${open}\``);
      expect(dry.err).toContain("warning: Other users can change the ");
    }
    rmSync("/run/open", { recursive: true });
  });

  test("install lets a user in, and says to the user behind sudo how", async () => {
    const line = "service install --group-add";
    for (const name of ["-x", "a,b", "a;b"])
      expect({ name, code: (await ngrokd(`${line}=${name}`)).code }).toEqual({ name, code: 2 });
    const dry = await ngrokd(`${line} alice --dry-run`);
    expect(dry.out).toContain("sbin/groupadd --force --system ngrokd\n");
    expect(dry.out).toContain("sbin/usermod --append --groups ngrokd alice\n");
    const offered = await ngrokd("service install", { env: { SUDO_USER: "alice" } });
    expect(offered.out).toContain(
      "`sudo ngrokd service install --group-add alice` lets you use it",
    );
    for (const file of ["/etc/group", "/etc/gshadow"]) {
      if (!existsSync(file)) continue;
      const before = readFileSync(file);
      atEnd(() => writeFileSync(file, before));
    }
    const unknown = await ngrokd(`${line} no-such-user`);
    expect(unknown.code).toBe(1);
    expect(unknown.err).toContain("no-such-user");
    const { code, out } = await ngrokd(`${line} nobody`);
    expect({ code, out }).toMatchObject({ code: 0 });
    expect(out).toContain('nobody is a member of the group "ngrokd"');
    expect(readFileSync("/etc/group", "utf8")).toMatch(/^ngrokd:.*:nobody$/m);
    const hint = 'log in again: this session is older than your membership in the group "ngrokd"';
    const daemon = await serve();
    expect((await ngrokd("status", { as: "nobody" })).err).toContain(hint);
    expect(await daemon.stop()).toBe(0);
    calls();
  });

  test("another user gets the advice to use sudo", async () => {
    chmodSync("/etc/ngrokd", 0o755);
    chmodSync("/etc/ngrokd/config.yml", 0o644);
    rmSync(unit);
    const { code, err } = await ngrokd("service install", { as: "nobody" });
    expect(code).toBe(5);
    expect(err).toContain("hint:  run it with sudo");
    expect(existsSync(unit)).toBe(false);
  });

  test("uninstall leaves nothing, even if the configuration is wrong", async () => {
    await ngrokd("service install");
    calls();
    writeFileSync("/etc/ngrokd/config.yml", "server: [");
    expect((await ngrokd("service uninstall")).code).toBe(0);
    expect(calls()).toEqual([
      "disable --quiet --now ngrokd.service",
      "daemon-reload",
      "reset-failed ngrokd.service",
    ]);
    expect(existsSync(unit)).toBe(false);
    expect(readFileSync("/etc/ngrokd/journal.json", "utf8")).not.toContain(unit);
    writeConfig({});
  });

  describe("leaves other programs' services alone", () => {
    const cases: [string, string, () => void][] = [
      [
        "another program's unit",
        unit,
        () => writeFileSync(unit, "[Service]\nExecStart=/opt/other\n"),
      ],
      ["a masked unit", unit, () => symlinkSync("/dev/null", unit)],
      [
        "a unit for this boot",
        "/run/systemd/system/ngrokd.service",
        () => {
          mkdirSync("/run/systemd/system", { recursive: true });
          writeFileSync("/run/systemd/system/ngrokd.service", "[Service]\nExecStart=/opt/other\n");
        },
      ],
    ];
    for (const [what, path, put] of cases)
      test(what, async () => {
        put();
        atEnd(() => rmSync(path, { force: true }));
        const before = readFileSync(path, "utf8");
        for (const words of ["install", "install --dry-run", "uninstall"]) {
          const { code, err } = await ngrokd(`service ${words}`);
          expect(code).toBe(1);
          expect(err).toContain(`"${path}" is there, and it`);
        }
        expect(readFileSync(path, "utf8")).toBe(before);
        expect(calls()).toEqual([]);
        rmSync(path);
      });
  });

  test("uses the package's unit if it fits, and puts its own before it if not", async () => {
    const packaged = "/run/systemd/system/ngrokd.service";
    const fitting = await unitText();
    const [first = "", ...rest] = fitting.split("\n");
    writeFileSync(packaged, [`# ${packageMarker}.`, ...rest].join("\n"));
    atEnd(() => rmSync(packaged, { force: true }));
    expect(first).not.toContain(packageMarker);
    calls();
    const { code, out } = await ngrokd("service install");
    expect({ code, out }).toMatchObject({ code: 0 });
    expect(out).toContain(`Nothing to change in ${packaged}\n`);
    expect(calls()).toEqual(["enable --quiet ngrokd.service", "start ngrokd.service"]);
    expect(existsSync(unit)).toBe(false);
    expect((await ngrokd("service status")).out).toContain(`${packaged}, of the package`);

    const refused = await ngrokd("service uninstall");
    expect(refused.code).toBe(1);
    expect(refused.err).toContain(`"${packaged}" belongs to the package ngrokd\nhint:`);

    writeFileSync(packaged, `# ${packageMarker}.\n[Service]\nExecStart=/usr/bin/ngrokd serve\n`);
    expect((await ngrokd("service install")).code).toBe(0);
    expect(readFileSync(unit, "utf8")).toBe(fitting);
    expect((await ngrokd("service uninstall")).code).toBe(0);
    expect({ own: existsSync(unit), packaged: existsSync(packaged) }).toEqual({
      own: false,
      packaged: true,
    });
    rmSync(packaged);
    calls();
  });

  test("names the Go program's service, and takes it over on request", async () => {
    const theirs =
      "[Unit]\nDescription=ngrok Forward Proxy Daemon\n[Service]\nType=simple\n" +
      "ExecStart=/usr/local/bin/ngrokd --config=/etc/ngrokd/config.yml\nRestart=always\n";
    writeFileSync(unit, theirs);
    calls();
    for (const words of ["service install", "install", "service uninstall"]) {
      const { code, err } = await ngrokd(words);
      expect({ words, code }).toEqual({ words, code: 1 });
      expect(err).toContain(`"${unit}" is the service of the Go program named ngrokd\nhint:`);
      expect(err).toContain("service install --take-over");
    }
    expect(readFileSync(unit, "utf8")).toBe(theirs);
    expect(calls()).toEqual([]);
    const { code, out } = await ngrokd("service install --take-over");
    expect(code).toBe(0);
    expect(out).toContain(
      `Kept the Go program's unit as ${unit}.go-program, and installed ${unit}`,
    );
    expect(readFileSync(`${unit}.go-program`, "utf8")).toBe(theirs);
    expect(readFileSync(unit, "utf8")).toStartWith("# Made by `ngrokd service install`");
    expect(calls()).toEqual([
      "stop ngrokd.service",
      "daemon-reload",
      "enable --quiet ngrokd.service",
      "start ngrokd.service",
    ]);
    expect((await ngrokd("service install --take-over --json")).json.changed).toBe(false);
    await ngrokd("service uninstall");
    rmSync(`${unit}.go-program`);
    calls();
  });

  test("a program that others may replace is not made a service", async () => {
    mkdirSync("/run/open", { mode: 0o777 });
    chmodSync("/run/open", 0o777);
    await run(["cp", "/run/bin/ngrokd", "/run/open/ngrokd"]);
    const { code, err } = await run(["/run/open/ngrokd", "service", "install", "--dry-run"]);
    expect(code).toBe(1);
    expect(err).toContain(
      'Cannot make a service of "/run/open/ngrokd": users other than root may write to "/run/open"',
    );
    rmSync("/run/open", { recursive: true });
  });
});

/**
 * Stand-ins for systemctl and journalctl, since no systemd runs on the stories'
 * machine. They lie over /usr/bin in this machine's own mounts. Returns the
 * calls' words since its last call.
 */
function standIns(): () => string[] {
  const folder = standInFolder;
  layOverUsrBin({
    systemctl: `echo "$*" >>${folder}/calls
if [ "$1" = show ]; then cat ${folder}/show 2>/dev/null; exit 0; fi
if [ -e ${folder}/fails ]; then cat ${folder}/fails >&2; exit 1; fi
`,
    journalctl: 'echo "$*"\n',
  });
  return () => {
    const text = existsSync(`${folder}/calls`) ? readFileSync(`${folder}/calls`, "utf8") : "";
    rmSync(`${folder}/calls`, { force: true });
    return text.split("\n").filter((line) => line !== "");
  };
}
