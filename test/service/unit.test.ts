import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packagedUnitText, sameService } from "../../src/service/packaged.ts";
import { plistText } from "../../src/service/plist.ts";
import type { ServiceFacts } from "../../src/service/service-facts.ts";
import { unitText } from "../../src/service/unit.ts";

const usual: ServiceFacts = {
  program: "/usr/local/bin/ngrokd",
  serveArgs: [],
  environment: {},
  hostsPath: "/etc/hosts",
  socketPath: "/var/run/ngrokd.sock",
  folders: ["/etc/ngrokd", "/etc/ngrokd", "/etc/ngrokd"],
  reads: [],
  makesInterface: false,
  drainSeconds: 30,
};
const unitOf = (changes: Partial<ServiceFacts> = {}): string => unitText({ ...usual, ...changes });

/** The values of a setting, in order, one line after another. */
const values = (unit: string, setting: string): string[] =>
  [...unit.matchAll(new RegExp(`^${setting}=(.*)$`, "gm"))].flatMap(([, words = ""]) =>
    words.split(" "),
  );

test("the packages' unit is the one for a machine without a configuration", () => {
  const packaged = packagedUnitText();
  expect(packaged).toStartWith("# Part of the package ngrokd. Changes of your own ");
  const other = unitOf({ program: "/usr/bin/ngrokd", folders: ["/etc/ngrokd"] });
  expect(sameService(packaged, other)).toBe(true);
  expect(sameService(packaged, unitOf())).toBe(false);
});

describe("the systemd unit's paths", () => {
  test("may write in the folders of hosts file, socket and state, and in no others", () => {
    expect(values(unitOf(), "ReadWritePaths")).toEqual(["/etc", "/run"]);
    expect(values(unitOf({ folders: ["/var/lib/ngrokd"] }), "ReadWritePaths")).toEqual([
      "/etc",
      "/run",
      "/var/lib/ngrokd",
    ]);
  });

  test("keeps paths below them that give rights read-only, and no others", () => {
    const usually = values(unitOf(), "ReadOnlyPaths");
    for (const path of [
      "/etc/systemd",
      "/etc/passwd",
      "/etc/cron.d",
      "/etc/ssh",
      "/etc/logrotate.d",
      "/run/systemd",
    ])
      expect(usually).toContain(`-${path}`);
    const elsewhere = {
      hostsPath: "/srv/hosts/hosts",
      folders: ["/srv/ngrokd"],
      socketPath: "/srv/ngrokd/socket",
    };
    expect(values(unitOf(elsewhere), "ReadOnlyPaths")).toEqual([]);
  });

  test("has folders below /run that give rights before it may make any there", () => {
    expect(unitOf()).toContain("\nExecStartPre=+/bin/mkdir -p /run/NetworkManager ");
    const apart = unitOf({ socketPath: "/srv/ngrokd.sock", folders: ["/srv"] });
    expect(values(apart, "ExecStartPre")).toEqual([]);
  });

  test("keeps the sockets of the daemon, for as many as it may have", () => {
    expect(values(unitOf(), "FileDescriptorStoreMax")).toEqual(["65536"]);
    expect(values(unitOf(), "Environment")).toContain("NGROKD_FD_STORE=yes");
  });

  test("lets it make files only in the folders of its state and its socket", () => {
    expect(values(unitOf(), "Environment")).toContain("NGROKD_CREATE_IN=/etc/ngrokd:/run");
    expect(
      values(unitOf({ folders: ["/srv/a"], socketPath: "/run/ngrokd/x.sock" }), "Environment"),
    ).toContain("NGROKD_CREATE_IN=/srv/a:/run/ngrokd");
  });

  test("may write to the folders of its own files, also below read-only ones", () => {
    const inside = unitOf({ folders: ["/etc/ssl/ngrokd"] });
    expect(values(inside, "ReadWritePaths")).toEqual(["/etc", "/run", "/etc/ssl/ngrokd"]);
    expect(values(inside, "ReadOnlyPaths")).toContain("-/etc/ssl");
    expect(values(unitOf({ folders: ["/etc/ssl"] }), "ReadOnlyPaths")).not.toContain("-/etc/ssl");
  });

  test("creates a socket's own folder below /run again at every start", () => {
    const unit = unitOf({ socketPath: "/var/run/ngrokd/control.sock" });
    expect(values(unit, "RuntimeDirectory")).toEqual(["ngrokd"]);
    expect(values(unit, "ReadWritePaths")).toEqual(["/etc"]);
    expect(values(unitOf(), "RuntimeDirectory")).toEqual([]);
    // systemd would remove the folder with the service, and files of others.
    const lodger = unitOf({ socketPath: "/run/lock/ngrokd.sock" });
    expect(values(lodger, "RuntimeDirectory")).toEqual([]);
    expect(values(lodger, "ReadWritePaths")).toEqual(["/etc", "/run/lock"]);
  });

  test("sees homes and temporary files only if files of the daemon are there", () => {
    expect(values(unitOf(), "ProtectHome")).toEqual(["yes"]);
    expect(values(unitOf(), "PrivateTmp")).toEqual(["yes"]);
    expect(values(unitOf({ reads: ["/home/ann/ca.pem"] }), "ProtectHome")).toEqual(["read-only"]);
    expect(values(unitOf({ folders: ["/tmp/ngrokd"] }), "PrivateTmp")).toEqual(["no"]);
  });
});

describe("the systemd unit for the DNS server", () => {
  test("opens D-Bus if the resolver is told by it, and nothing else", () => {
    const closed = (unit: string) => values(unit, "InaccessiblePaths");
    expect(closed(unitOf())).toContain("-/run/dbus");
    expect(closed(unitOf({ usesDbus: true }))).toEqual(
      closed(unitOf()).filter((path) => path !== "-/run/dbus"),
    );
  });

  test("may write the folder of dnsmasq's files inside one that stays read-only", () => {
    const folder = "/etc/NetworkManager/dnsmasq.d";
    const unit = unitOf({ folders: ["/etc/ngrokd", folder] });
    expect(values(unit, "ReadWritePaths")).toContain(folder);
    expect(values(unit, "ReadOnlyPaths")).toContain("-/etc/NetworkManager");
  });
});

describe("the systemd unit", () => {
  test("gives a stop more time than its connections have", () => {
    expect(values(unitOf({ drainSeconds: 3600 }), "TimeoutStopSec")).toEqual(["3630"]);
  });

  test("restarts after the exit codes that docs/operations.md names, and no others", () => {
    const page =
      readFileSync(join(import.meta.dir, "../../docs/operations.md"), "utf8")
        .split("## Exit codes")[1]
        ?.split("\n## ")[0] ?? "";
    const rows = [...page.matchAll(/^\| (\d+) \| .* \| (.+) \|$/gm)].map(
      ([, code = "", again = ""]) => ({ code, again }),
    );
    expect(rows.map(({ code }) => code)).toEqual(["0", "1", "2", "3", "5", "6", "70"]);
    const never = rows
      .filter(({ code, again }) => code !== "0" && /^(?:no\b|not\b|likewise)/.test(again))
      .map(({ code }) => code);
    const unit = unitOf();
    // Also if systemd does not learn the exit code.
    expect(values(unit, "Restart")).toEqual(["always"]);
    expect(values(unit, "RestartPreventExitStatus")).toEqual(["0", ...never]);
    expect(values(unit, "SuccessExitStatus")).toEqual(["3"]);
  });

  test("hands the runtime no variable of its own, whatever the manager has", () => {
    const unset = values(unitOf(), "UnsetEnvironment");
    for (const name of ["BUN_OPTIONS", "BUN_BE_BUN", "BUN_INSPECT", "SSL_CERT_FILE", "LD_PRELOAD"])
      expect(unset).toContain(name);
    expect(unset).not.toContain("NODE_EXTRA_CA_CERTS");
  });

  test("escapes characters with a meaning for systemd", () => {
    const unit = unitOf({
      serveArgs: ["--config", '/etc/my $HOME/50% "x".yml'],
      environment: { NGROKD_HOSTS_PATH: "/srv/a b/hosts" },
    });
    expect(unit).toContain(
      'ExecStart=/usr/local/bin/ngrokd serve --config "/etc/my $$HOME/50%% \\"x\\".yml"\n',
    );
    expect(unit).toContain('\nEnvironment="NGROKD_HOSTS_PATH=/srv/a b/hosts" ');
  });

  test("has the right and the device of an interface only if the daemon makes one", () => {
    const [usually, virtual] = [unitOf(), unitOf({ makesInterface: true })];
    expect(values(usually, "CapabilityBoundingSet")).toEqual(["CAP_NET_BIND_SERVICE", "CAP_CHOWN"]);
    expect(values(usually, "PrivateDevices")).toEqual(["yes"]);
    expect(values(virtual, "CapabilityBoundingSet")).toEqual([
      "CAP_NET_BIND_SERVICE",
      "CAP_CHOWN",
      "CAP_NET_ADMIN",
    ]);
    expect(values(virtual, "PrivateDevices")).toEqual([]);
    expect(values(virtual, "DevicePolicy")).toEqual(["closed"]);
    expect(values(virtual, "DeviceAllow")).toEqual(["/dev/net/tun", "rw"]);
  });

  const analyze = "/usr/bin/systemd-analyze";
  /**
   * The limits in docs/operations.md times ten: systemd's scale ends at 100.
   */
  const bars = { usual: 25, virtual: 28 };

  describe.skipIf(!existsSync(analyze))("to systemd-analyze", () => {
    const withFile = async (unit: string, look: (path: string) => Promise<void>): Promise<void> => {
      const folder = mkdtempSync(join(tmpdir(), "ngrokd-unit-"));
      const path = join(folder, "ngrokd.service");
      try {
        writeFileSync(path, unit);
        await look(path);
      } finally {
        rmSync(folder, { recursive: true });
      }
    };
    const ask = async (...words: string[]) => {
      const child = Bun.spawn([analyze, ...words], { stdout: "pipe", stderr: "pipe" });
      const [out, err, code] = await Promise.all([
        child.stdout.text(),
        child.stderr.text(),
        child.exited,
      ]);
      return { code, said: out + err };
    };

    test("has nothing that it does not understand", async () => {
      // The program must exist; /bin/true does.
      const program = "/bin/true";
      const odd = {
        program,
        serveArgs: ["--config", "/etc/my $HOME/50%.yml"],
        environment: { A: "b c" },
        socketPath: "/run/x/y.sock",
      };
      const virtual = { program, makesInterface: true };
      for (const changes of [
        { program },
        virtual,
        odd,
        { ...odd, hostsPath: "/srv/my hosts/hosts" },
      ])
        await withFile(unitOf(changes), async (path) =>
          expect(await ask("verify", "--man=no", path)).toEqual({ code: 0, said: "" }),
        );
    });

    const exposure = async (unit: string, bar: number): Promise<void> =>
      await withFile(unit, async (path) => {
        const { code, said } = await ask(
          "security",
          "--offline=true",
          "--no-pager",
          `--threshold=${bar}`,
          path,
        );
        expect(said).toMatch(/Overall exposure level for ngrokd.service: [\d.]+/);
        const overall = /Overall.*/.exec(said)?.[0];
        expect({ code, overall }).toEqual({ code: 0, overall: expect.stringContaining("OK") });
      });

    test("is as little exposed as the documentation says", async () => {
      await exposure(unitOf(), bars.usual);
    });

    test("is little more exposed with the right to make an interface", async () => {
      await exposure(unitOf({ makesInterface: true }), bars.virtual);
    });
  });
});

describe("launchd's property list", () => {
  const facts = {
    ...usual,
    serveArgs: ["--config", "/etc/a&b/<c>.yml"],
    environment: { NGROKD_HOSTS_PATH: "/srv/hosts" },
  };

  test("starts the daemon with the machine, and again after a failure", () => {
    const text = plistText(usual);
    expect(text).toContain("<key>Label</key>\n\t<string>com.ngrok.ngrokd</string>");
    expect(text).toContain(
      "<array>\n\t\t<string>/usr/local/bin/ngrokd</string>\n\t\t<string>serve</string>\n\t</array>",
    );
    expect(text).toContain("<key>RunAtLoad</key>\n\t<true/>");
    expect(text).toContain(
      "<key>KeepAlive</key>\n\t<dict>\n\t\t<key>SuccessfulExit</key>\n\t\t<false/>\n\t</dict>",
    );
    expect(text).not.toContain("EnvironmentVariables");
  });

  test("escapes characters with a meaning in XML", () => {
    expect(plistText(facts)).toContain("<string>/etc/a&amp;b/&lt;c&gt;.yml</string>");
  });

  const python = Bun.which("python3");
  test.skipIf(python === null)("is one to another parser of property lists", async () => {
    const script = "import json, plistlib, sys; print(json.dumps(plistlib.load(sys.stdin.buffer)))";
    const child = Bun.spawn([python ?? "", "-c", script], {
      stdin: new TextEncoder().encode(plistText(facts)),
      stdout: "pipe",
    });
    const read = JSON.parse(await child.stdout.text());
    expect(read).toMatchObject({
      ProgramArguments: ["/usr/local/bin/ngrokd", "serve", "--config", "/etc/a&b/<c>.yml"],
      EnvironmentVariables: { NGROKD_HOSTS_PATH: "/srv/hosts" },
      KeepAlive: { SuccessfulExit: false },
      ExitTimeOut: 60,
      Umask: "077",
    });
  });
});

test("the watchdog kills without a report of the runtime's", () => {
  expect(unitOf()).toContain("\nWatchdogSignal=SIGKILL\n");
});
