import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type OnGuest, onGuest } from "./on-guest.ts";
import { startWholeSystem } from "./whole-system.ts";

// Stories that no namespace can tell, on a virtual machine. They are one life
// of it, from the installation to the removal, so each needs those before it.

const whole = await startWholeSystem();
const title = `on a whole system${whole.kind === "none" ? ` (skipped: ${whole.reason})` : ""}`;
const vm = (whole.kind === "none" ? {} : onGuest(whole.machine)) as OnGuest;
const chapter = whole.kind === "none" ? describe.skip : describe;
afterAll(async () => {
  if (whole.kind !== "none") await whole.machine.end();
});
setDefaultTimeout(300_000);

const base = `api: { url: "http://127.0.0.1:4050", key: local-cloud-key }
ingressEndpoint: 127.0.0.1:4051
bound_endpoints: { poll_interval: 2 }
forward: { drain_timeout: 20 }`;

/** A unit that needs a name as soon as the daemon's unit has started. */
const dependent = `[Unit]
Requires=ngrokd.service
After=ngrokd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/getent hosts hello.demo
[Install]
WantedBy=multi-user.target`;

chapter(title, () => {
  test("install.sh installs a release of a loopback server", async () => {
    await vm.sh("useradd -m alice; cp -a /etc/hosts /root/hosts.before");
    await vm.standIn();
    await vm.sh("sync; /mnt/list-files.sh >/root/files.before");
    await vm.sh(
      "curl -fsSL http://127.0.0.1:8000/install.sh | NGROKD_RELEASE_URL=http://127.0.0.1:8000 sh",
    );
    expect(await vm.sh("ngrokd --version")).toStartWith("ngrokd ");
    expect(await vm.sh("stat -c '%a %U' /etc/ngrokd/config.yml")).toBe("600 root\n");
    await vm.writeConfig(base.replace(", key: local-cloud-key", ""));
    await vm.sh("ngrokd trust --force /opt/stand-in/ca.crt");
  });

  test("setup starts it now and at every boot, for all users, once", async () => {
    const plan = "printf local-cloud-key | ngrokd setup --yes --api-key-file -";
    expect(await vm.sh(plan, 90)).toContain("Everything is well");
    const again = await vm.run("ngrokd setup --json 2>/dev/null");
    expect({ code: again.code, changes: JSON.parse(again.out).changes }).toEqual({
      code: 0,
      changes: [],
    });
    expect(`${await vm.unit("ActiveState")} ${await vm.unit("SubState")}`).toBe("active running");
    expect(await vm.sh("systemctl is-enabled ngrokd")).toBe("enabled\n");
    await vm.serves("hello.demo");
    await vm.tells("^Serving 2 endpoints");
    expect(await vm.sh("getent hosts hello.demo")).toMatch(/^127\./);
    expect(await vm.sh("resolvectl query hello.demo")).toMatch(/^hello\.demo: 127\./);
    const asAlice = "runuser -u alice --";
    expect(await vm.sh(`${asAlice} curl -sS http://hello.demo/`)).toBe("hello from hello.demo\n");
    expect((await vm.run(`${asAlice} ngrokd list`)).code).toBe(5);
  });

  test("doctor, systemd-analyze and the journal have nothing to complain of", async () => {
    const unit = "/etc/systemd/system/ngrokd.service";
    expect(await vm.sh(`systemd-analyze verify ${unit}`)).toBe("");
    const exposure = /exposure level for ngrokd\.service: ([\d.]+)/.exec(
      await vm.sh("systemd-analyze security ngrokd --no-pager"),
    );
    expect(Number(exposure?.[1])).toBeLessThan(2.5);
    expect(await vm.sh("ngrokd doctor")).toContain("Everything is well");
    expect(await vm.sh("ngrokd why hello.demo")).toContain("works, from its name");
    expect(await vm.sh("ngrokd service logs")).toContain("is up; control socket");
    // The kernel of User-Mode Linux has no Landlock, and the daemon says so.
    const warnings = await vm.run("journalctl -u ngrokd -p warning -o cat -q | grep -v Landlock");
    expect(warnings.out).toBe("");
  });

  test("systemctl reload takes over a setting, in the same process", async () => {
    const pid = await vm.unit("MainPID");
    await vm.writeConfig(`${base}\nserver: { log_level: debug }`);
    await vm.sh("systemctl reload ngrokd");
    await vm.until(
      "the setting counts",
      "journalctl -u ngrokd -o cat --no-pager | grep 'log_level is debug'",
    );
    await vm.writeConfig(base);
    await vm.sh("systemctl reload ngrokd");
    expect(await vm.unit("MainPID")).toBe(pid);
  });

  test("the watchdog ends a daemon that hangs, and it serves again", async () => {
    const drop = "/run/systemd/system/ngrokd.service.d";
    await vm.sh(`mkdir -p ${drop}; printf '[Service]\\nWatchdogSec=12\\n' >${drop}/soon.conf
systemctl daemon-reload; systemctl restart ngrokd`);
    const fed = await vm.unit("WatchdogTimestampMonotonic");
    await vm.until(
      "it has fed the watchdog again",
      `(($(systemctl show ngrokd -p WatchdogTimestampMonotonic --value) > ${fed}))`,
    );
    const [pid, since] = [await vm.unit("MainPID"), await vm.now()];
    await vm.sh(`kill -STOP ${pid}`);
    await vm.until(
      "systemd has started another one",
      `systemctl is-active ngrokd && (($(systemctl show ngrokd -p MainPID --value) != ${pid}))`,
      120,
    );
    await vm.serves("hello.demo");
    expect(await vm.sh(`journalctl -u ngrokd --since '${since}' --no-pager`)).toContain("watchdog");
    expect(await vm.log(since)).not.toContain("Bun has crashed");
    await vm.sh(`rm -r ${drop}; systemctl daemon-reload; systemctl restart ngrokd`);
    await vm.serves("hello.demo");
  });

  test("a restart under load: nobody is refused or cut, and no byte is wrong", async () => {
    const address = (await vm.sh("getent hosts echo.demo")).split(" ")[0];
    const restarting = async (): Promise<void> => {
      await vm.sh("systemctl restart ngrokd", 90);
    };
    // By the address: names are taken back at every stop. All that come in
    // between are served at once, so few.
    const seen = await vm.underLoad(4, 4, restarting, address);
    console.log("restart under load:", seen);
    expect(seen).toMatchObject({ refused: 0, cut: 0, wrong: 0, longRefused: 0, longCut: 0 });
    expect(await vm.unit("Result")).toBe("success");
  });

  test("an upgrade under load: nobody is refused, and systemd knows the new process", async () => {
    const pid = await vm.unit("MainPID");
    // Few, since two daemons share the machine's processor for a while.
    const seen = await vm.underLoad(4, 4, async () => {
      await vm.sh("ngrokd upgrade", 120);
    });
    console.log("upgrade under load:", seen);
    expect(seen).toMatchObject({ refused: 0, longRefused: 0, longCut: 0, wrong: 0 });
    expect(await vm.unit("MainPID")).not.toBe(pid);
    await vm.until("the old one has ended", `! [ -e /proc/${pid} ]`, 120);
    await vm.tells("^Serving 2 endpoints");
  });

  test("kill -9 after an upgrade, beside the old process: it is back", async () => {
    await vm.sh(`systemd-run -q --unit=talker bash -c \
'exec 3<>/dev/tcp/echo.demo/7000; echo hello >&3; read -r line <&3; sleep 600'`);
    await vm.until("it is open", "ngrokd status | grep -E 'Connections: +1 open'");
    await vm.sh("ngrokd upgrade", 120);
    const restarts = Number(await vm.unit("NRestarts"));
    await vm.sh(`kill -9 ${await vm.unit("MainPID")}`);
    await vm.until(
      "systemd has started another one",
      `systemctl is-active ngrokd && (($(systemctl show ngrokd -p NRestarts --value) > ${restarts}))`,
      120,
    );
    await vm.serves("hello.demo");
    await vm.sh("systemctl stop talker");
  });

  test("kill -9 under load: nobody is refused, no byte nor line of others is wrong", async () => {
    const restarts = Number(await vm.unit("NRestarts"));
    const seen = await vm.underLoad(4, 4, async () => {
      await vm.sh(`kill -9 ${await vm.unit("MainPID")}`);
      await vm.until("it runs again", "systemctl is-active ngrokd", 60);
    });
    console.log("kill -9 under load:", seen);
    // Meanwhile clients wait at the sockets that systemd keeps.
    expect(seen).toMatchObject({ refused: 0, longRefused: 0, wrong: 0 });
    expect(Number(await vm.unit("NRestarts"))).toBe(restarts + 1);
    expect(await vm.sh("sed '/^# BEGIN ngrokd/,/^# END ngrokd/d' /etc/hosts")).toBe(
      await vm.sh("cat /root/hosts.before"),
    );
  });
});

chapter(`${title}: its clock and its disk`, () => {
  test("a clock that is set 40 days ahead, and back, disturbs nothing", async () => {
    const registration = await vm.sh("cat /etc/ngrokd/operator_id");
    const notices = "journalctl -u ngrokd -o cat | grep -c 'its clock was set' || true";
    for (const step of ["+40 days", "-40 days"]) {
      const before = Number(await vm.sh(notices));
      await vm.sh(`date -s '${step}'`);
      await vm.serves("hello.demo");
      await vm.sh("ngrokd refresh");
      await vm.tells("^Serving 2 endpoints");
      await vm.until("it has noticed", `test "$(${notices})" -gt ${before}`);
    }
    expect(await vm.sh("cat /etc/ngrokd/operator_id")).toBe(registration);
    expect(await vm.sh("ngrokd status | grep '^Daemon'")).not.toMatch(/up \d+ d/);
  });

  test("a disk that is full: it goes on, says so, and recovers by itself", async () => {
    await vm.sh(`fallocate -l $(($(df --output=avail -B1 / | tail -1) - 1000000)) /var/filler
dd if=/dev/zero of=/var/filler2 bs=4k 2>/dev/null; sync`);
    await vm.add("http://full.demo");
    await vm.tells("no space left");
    await vm.serves("hello.demo");
    await vm.sh("rm /var/filler /var/filler2");
    await vm.serves("full.demo");
    await vm.tells("^Serving 3 endpoints");
  });

  test("a root file system that turns read-only: the same", async () => {
    await vm.sh("sync; echo u >/proc/sysrq-trigger; sleep 1; ! touch /root/x");
    await vm.add("http://read-only.demo");
    await vm.tells("read-only");
    await vm.serves("hello.demo");
    await vm.sh("mount -o remount,rw /");
    await vm.serves("read-only.demo");
    await vm.tells("^Serving 4 endpoints");
  });
});

chapter(`${title}: its links and resolvers`, () => {
  test("an endpoint follows the address of its link, and other links go on", async () => {
    await vm.sh("ip link add office type dummy; ip link set office up");
    await vm.sh("ip address add 192.0.2.7/24 dev office");
    const share = "net: { overrides: { hello.demo: office } }";
    await vm.writeConfig(`${base}\n${share}\naccess: { rules: [{ endpoint: "*" }] }`);
    await vm.sh("ngrokd reload");
    const at = (ip: string): string =>
      `curl -sS -m 5 --resolve hello.demo:80:${ip} http://hello.demo/`;
    await vm.until("the address serves", at("192.0.2.7"));
    await vm.sh("ip address del 192.0.2.7/24 dev office; ip address add 192.0.2.8/24 dev office");
    await vm.until("the new address serves", at("192.0.2.8"));
    expect((await vm.run(at("192.0.2.7"))).code).not.toBe(0);
    await vm.serves("hello.demo");
    await vm.sh("ip link del office");
    await vm.until("it says so", "ngrokd list | grep office");
    await vm.serves("hello.demo");
    await vm.writeConfig(base);
    await vm.sh("ngrokd reload");
    await vm.tells("^Serving 4 endpoints");
  });

  const onInterface = `${base}
net: { subnet: 10.107.0.0/16 }
dns: { enabled: true, listen: "10.107.0.1:53" }`;
  const wildServes = "curl -sS -m 5 http://a.team.internal/ | grep -x 'hello from a.team.internal'";
  const ours = "resolvectl domain | grep '(ngrokd0): ~team.internal'";

  test("setup tells systemd-resolved of wildcards, and takes that back", async () => {
    await vm.add("http://*.team.internal");
    await vm.sh("ngrokd setup --yes --wildcards", 120);
    await vm.until("it is told", ours);
    await vm.until("a name is served", wildServes);
    expect(await vm.sh("ngrokd status")).not.toContain("warning");
    await vm.sh("ngrokd setup --yes --no-wildcards --addresses loopback", 120);
    await vm.sh("! ip link show ngrokd0 2>/dev/null && ! resolvectl domain | grep team.internal");
    expect(await vm.sh("getent hosts hello.demo")).toMatch(/^127\./);
  });

  test("systemd-resolved asks for names below a wildcard, also after its restart", async () => {
    await vm.writeConfig(onInterface);
    await vm.sh("ngrokd service install", 90);
    await vm.sh("systemctl restart ngrokd", 90);
    await vm.until("it is told", ours);
    await vm.until("a name is served", wildServes);
    expect(await vm.sh("resolvectl query a.team.internal")).toContain("10.107.");
    expect(await vm.sh("ngrokd status")).not.toContain("warning");
    await vm.sh("systemctl restart systemd-resolved");
    await vm.until("it is told again", ours);
    await vm.until("a name is served again", wildServes);
    const exposure = /exposure level for ngrokd\.service: ([\d.]+)/.exec(
      await vm.sh("systemd-analyze security ngrokd --no-pager"),
    );
    expect(Number(exposure?.[1])).toBeLessThan(2.8);
  });

  test("kill -9 leaves the interface to the next one, and a stop leaves nothing", async () => {
    const gone = `! ip link show ngrokd0 2>/dev/null && ! resolvectl domain | grep team.internal \
&& ! ip route show table all | grep 10.107 && ! ip address | grep 10.107`;
    const index = "cat /sys/class/net/ngrokd0/ifindex";
    const before = await vm.sh(index);
    const pid = await vm.unit("MainPID");
    await vm.sh(`kill -9 ${pid}`);
    await vm.until("another one runs", `[ "$(systemctl show -P MainPID ngrokd)" != ${pid} ]`);
    await vm.until("a name is served again", wildServes);
    await vm.until("the resolver is told", ours);
    expect(await vm.sh(index)).toBe(before);
    await vm.sh("systemctl stop ngrokd", 90);
    await vm.sh(gone);
    expect(await vm.sh("cat /etc/hosts")).toBe(await vm.sh("cat /root/hosts.before"));
    await vm.sh("systemctl start ngrokd", 90);
    await vm.until("a name is served", wildServes);
  });

  test("NetworkManager, which comes beside it, leaves interface and resolver alone", async () => {
    const seen =
      "ip -o address show ngrokd0; ip route show table all dev ngrokd0; resolvectl domain";
    const before = await vm.sh(seen);
    await vm.sh("systemctl unmask NetworkManager; systemctl start NetworkManager");
    await vm.sh("nmcli connection add type dummy ifname office con-name office ip4 192.0.2.7/24");
    await vm.until(
      "it has its link up",
      "nmcli -t device | grep '^office:dummy:connected:office$'",
    );
    expect(await vm.sh("nmcli -t device | grep ngrokd0")).not.toMatch(/:disconnected:/);
    await vm.sh("nmcli connection delete office; systemctl stop NetworkManager");
    await vm.sh("systemctl mask NetworkManager");
    await vm.until("all is as before", `[ "$(${seen})" = '${before.trim()}' ]`);
    await vm.until("a name is served", wildServes);
  });

  test("after a reboot, without ngrok, the same names have the same addresses", async () => {
    const names = "getent ahosts hello.demo a.team.internal";
    const before = await vm.sh(`${names}; sed -n '/^# BEGIN ngrokd/,$p' /etc/hosts`);
    await vm.sh(`cat >/etc/systemd/system/dependent.service <<'UNIT'
${dependent}
UNIT
systemctl enable dependent`);
    await vm.reboot();
    expect(await vm.sh("systemctl is-active dependent")).toBe("active\n");
    await vm.sh("systemctl disable dependent; rm /etc/systemd/system/dependent.service");
    await vm.until("it runs", "systemctl is-active ngrokd");
    await vm.until("it is told", ours);
    await vm.until(
      "they are as before",
      `said=$(${names}; sed -n '/^# BEGIN ngrokd/,$p' /etc/hosts); [ "$said" = '${before.trim()}' ]`,
    );
    await vm.sh("ngrokd status");
    await vm.standIn();
    await vm.sh("ngrokd trust --force /opt/stand-in/ca.crt");
    await vm.serves("hello.demo", 120);
  });

  test("after a power cut, all files are whole and all names are served", async () => {
    await vm.add("http://cut.demo");
    await vm.serves("cut.demo");
    await vm.sh("(for i in $(seq 100); do ngrokd refresh; ngrokd reload; done) >/dev/null 2>&1 &");
    await vm.cutPower();
    await vm.until("it runs", "systemctl is-active ngrokd");
    await vm.sh("ngrokd config check");
    await vm.until(
      "the names are there",
      "getent hosts hello.demo cut.demo | grep -c . | grep -x 2",
    );
    expect(await vm.sh("sed '/^# BEGIN ngrokd/,/^# END ngrokd/d' /etc/hosts")).toBe(
      await vm.sh("cat /root/hosts.before"),
    );
    await vm.standIn();
    await vm.sh("ngrokd trust --force /opt/stand-in/ca.crt");
    await vm.serves("hello.demo", 120);
  });

  test("NetworkManager's dnsmasq asks for them, and the daemon leaves its files alone", async () => {
    await vm.sh(`cp -a /etc/nsswitch.conf /etc/resolv.conf /root/
sed -i 's/^hosts:.*/hosts: files dns/' /etc/nsswitch.conf
systemctl disable --now systemd-resolved; rm /etc/resolv.conf; touch /etc/resolv.conf
printf '[main]\\ndns=dnsmasq\\nrc-manager=file\\n' >/etc/NetworkManager/conf.d/dns.conf
systemctl unmask NetworkManager; systemctl start NetworkManager
nmcli connection add type dummy ifname office con-name office ip4 192.0.2.7/24 ipv4.dns 192.0.2.1`);
    await vm.until("its dnsmasq answers", "grep 127.0.0.1 /etc/resolv.conf");
    await vm.writeConfig(`${base}\ndns: { enabled: true, listen: "127.0.0.55:53" }`);
    await vm.sh("ngrokd service install; systemctl restart ngrokd", 90);
    await vm.add("http://*.team.internal");
    await vm.until("a name is served", wildServes, 60);
    expect(await vm.sh("ngrokd status")).not.toContain("warning");
    await vm.sh("systemctl restart NetworkManager");
    await vm.until("a name is served again", wildServes, 60);
    await vm.sh("systemctl stop ngrokd; ! ls /etc/NetworkManager/dnsmasq.d/ngrokd.conf", 90);
    await vm.sh(`nmcli connection delete office; systemctl stop NetworkManager
systemctl mask NetworkManager; rm /etc/NetworkManager/conf.d/dns.conf
cp -a /root/nsswitch.conf /root/resolv.conf /etc/; systemctl enable --now systemd-resolved
systemctl start ngrokd`);
  });
});

chapter(`${title}: the end`, () => {
  test("an uninstallation leaves nothing on the disk", async () => {
    await vm.sh("ngrokd service uninstall", 90);
    expect(await vm.sh("cat /etc/hosts")).toBe(await vm.sh("cat /root/hosts.before"));
    await vm.sh("ngrokd unregister --yes; ngrokd undo --yes");
    await vm.sh("curl -fsSL http://127.0.0.1:8000/install.sh | sh -s -- --uninstall --purge");
    await vm.sh("/mnt/list-files.sh >/root/files.after");
    expect((await vm.run("diff /root/files.before /root/files.after")).out).toBe("");
    expect(await vm.sh("systemctl list-units --all --no-legend 'ngrokd*'")).toBe("");
    expect((await vm.run("ip link show ngrokd0")).code).not.toBe(0);
  });
});
