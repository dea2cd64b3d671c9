import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeDeb } from "../../.github/packaging/deb.ts";
import { must } from "./image.ts";
import { type OnGuest, onGuest } from "./on-guest.ts";
import { binary, startWholeSystem } from "./whole-system.ts";

// The life of the Debian package on a virtual machine. An RPM cannot be
// installed on Debian; test/packages runs its scripts.

const whole =
  Bun.which("dh") === null
    ? ({ kind: "none", reason: "install debhelper" } as const)
    : await startWholeSystem(makePackages);
const title = `the package${whole.kind === "none" ? ` (skipped: ${whole.reason})` : ""}`;
const vm = (whole.kind === "none" ? {} : onGuest(whole.machine)) as OnGuest;
const chapter = whole.kind === "none" ? describe.skip : describe;
afterAll(async () => {
  if (whole.kind !== "none") await whole.machine.end();
});
setDefaultTimeout(300_000);

const config = `api: { url: "http://127.0.0.1:4050" }
ingressEndpoint: 127.0.0.1:4051
bound_endpoints: { poll_interval: 2 }
forward: { drain_timeout: 20 }`;

/** A connection that sends a number twice a second, and checks each answer. */
const talker = `exec 3<>/dev/tcp/echo.demo/7000
for ((i = 1; ; i++)); do
  echo $i >&3
  read -r -t 60 answer <&3 || exit 1
  [ "$answer" = "$(printf %s $i | sha256sum | cut -d " " -f 1)" ] || exit 2
  echo $i >/run/talker.new && mv /run/talker.new /run/talker.count
  sleep 0.5
done`;

/** Two versions of the package, for the read-only disk. */
function makePackages(folder: string): void {
  const dist = mkdtempSync(join(tmpdir(), "ngrokd-vm-packages-"));
  try {
    mkdirSync(join(dist, "program"));
    copyFileSync(binary, join(dist, "program/ngrokd"));
    const program = join(dist, "program.tar.gz");
    must("tar", ["-C", join(dist, "program"), "-I", "gzip -1", "-cf", program, "ngrokd"]);
    for (const [name, version] of [
      ["first", "1.0.0"],
      ["next", "1.0.1"],
    ] as const) {
      copyFileSync(program, join(dist, `ngrokd-${version}-linux-x64.tar.gz`));
      const deb = makeDeb({ version, time: 1_700_000_000, dist }, "x64");
      copyFileSync(deb, join(folder, `${name}.deb`));
    }
  } finally {
    rmSync(dist, { recursive: true });
  }
}

/** All but the package manager's own records, and what groupadd writes. */
const files = "/mnt/list-files.sh | grep -Ev ' /var/lib/(dpkg|apt)(/|$)| /etc/g(roup|shadow)-$'";
const install = (name: string, ...options: string[]): string =>
  ["DEBIAN_FRONTEND=noninteractive apt-get install -y -qq", ...options, `/mnt/${name}.deb`].join(
    " ",
  );
const installed = "dpkg -s ngrokd | sed -n 's/^Version: //p'";

chapter(title, () => {
  test("is installed by apt, and starts, and needs no more than a key", async () => {
    await vm.standIn();
    await vm.sh(`cp -a /etc/hosts /root/hosts.before; sync; ${files} >/root/files.before`);
    await vm.sh(install("first"), 180);
    expect(await vm.sh(installed)).toBe("1.0.0\n");
    expect(await vm.sh("systemctl is-enabled ngrokd")).toBe("enabled\n");
    // A daemon that runs would check the key with the API that it knows.
    await vm.sh("systemctl stop ngrokd", 90);
    await vm.writeConfig(config);
    await vm.sh("printf local-cloud-key | ngrokd set-api-key -");
    await vm.sh("ngrokd trust --force /opt/stand-in/ca.crt");
    await vm.sh("systemctl start ngrokd", 90);
    await vm.serves("hello.demo");
    await vm.tells("^Serving 2 endpoints");
  });

  test("an upgrade hands over: none is refused, and an open connection lives on", async () => {
    const pid = await vm.unit("MainPID");
    await vm.sh(`cat >/run/talker.sh <<'SH'\n${talker}\nSH
systemd-run -q --unit=talker bash /run/talker.sh`);
    await vm.until("it talks", "cat /run/talker.count");
    const seen = await vm.underLoad(4, 4, async () => {
      console.log(await vm.sh(install("next"), 240));
    });
    console.log("the package's upgrade under load:", seen);
    expect(seen).toMatchObject({ refused: 0, cut: 0, longRefused: 0, longCut: 0, wrong: 0 });
    expect(await vm.sh(installed)).toBe("1.0.1\n");
    const next = await vm.unit("MainPID");
    expect(next).not.toBe(pid);
    expect(await vm.sh(`readlink /proc/${next}/exe`)).toBe("/usr/bin/ngrokd\n");
    expect(await vm.unit("NRestarts")).toBe("0");
    const count = Number(await vm.sh("cat /run/talker.count"));
    await vm.until("it still talks", `(($(cat /run/talker.count) > ${count + 3}))`);
    expect(await vm.sh("ngrokd status")).toContain(`pid ${pid}, whose 1 connection continues`);
    await vm.sh("systemctl stop talker");
    await vm.until("the old one has ended", `! [ -e /proc/${pid} ]`);
    await vm.tells("^Serving 2 endpoints");
    expect(await vm.sh("tail -n 1 /etc/ngrokd/config.yml")).toBe(
      "forward: { drain_timeout: 20 }\n",
    );
  });

  test("a changed unit is no handover: systemd starts the daemon again", async () => {
    const pid = await vm.unit("MainPID");
    // As if the installed version had had another one.
    await vm.sh("echo '# other' >>/usr/lib/systemd/system/ngrokd.service");
    await vm.sh(install("first", "--allow-downgrades"), 240);
    expect(await vm.sh(installed)).toBe("1.0.0\n");
    expect(await vm.unit("MainPID")).not.toBe(pid);
    expect((await vm.run(`ls /proc/${pid} /run/ngrokd-unit.before`)).code).not.toBe(0);
    await vm.serves("hello.demo");
  });

  test("a wrong configuration at an upgrade leaves the old program in charge", async () => {
    const pid = await vm.unit("MainPID");
    await vm.writeConfig(config.replace("interval: 2", "interval: often"));
    expect(await vm.sh(install("next"), 240)).toContain("the old program goes on");
    expect(await vm.unit("MainPID")).toBe(pid);
    await vm.serves("hello.demo");
    await vm.writeConfig(config);
  });

  test("purge leaves nothing on the disk", async () => {
    await vm.sh("DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq ngrokd", 120);
    expect(await vm.sh("cat /etc/hosts")).toBe(await vm.sh("cat /root/hosts.before"));
    await vm.sh(`sync; ${files} >/root/files.after`);
    expect((await vm.run("diff /root/files.before /root/files.after")).out).toBe("");
    expect(await vm.sh("systemctl list-units --all --no-legend 'ngrokd*'")).toBe("");
    expect((await vm.run("getent group ngrokd")).code).not.toBe(0);
  });
});
