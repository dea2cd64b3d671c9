import { dirname } from "node:path";
import { marker, type ServiceFacts, stopReserveMs } from "./service-facts.ts";

/**
 * Pure: the systemd unit, with no more rights than the daemon needs.
 * docs/operations.md says what they are for; every line of it is proved by a
 * daemon that runs under it (test/stories/service.test.ts). For systemd 247 and
 * newer.
 */
export function unitText(facts: ServiceFacts): string {
  const wanted = [dirname(facts.hostsPath), ...socketFolder(facts), ...facts.folders].map(
    withoutVarRun,
  );
  const outer = outermost(wanted);
  const readOnly = readOnlyBelow.filter(
    (path) => outer.some((folder) => isIn(path, folder)) && !wanted.includes(path),
  );
  // Of two that hold each other, the inner one counts.
  const writes = [
    ...new Set([
      ...outer,
      ...wanted.filter((folder) => readOnly.some((path) => isIn(folder, path))),
    ]),
  ];
  const seen = [facts.program, facts.hostsPath, facts.socketPath, ...facts.folders, ...facts.reads];
  return `# ${marker}, which replaces it. Changes of your own go into another file: \`systemctl edit ngrokd\`.
[Unit]
Description=ngrokd: ngrok's Kubernetes-bound endpoints on this machine
Documentation=https://github.com/ngrokd/ngrokd
After=network.target nss-lookup.target

[Service]
Type=notify
# systemd-notify speaks for the daemon where it cannot do so itself.
NotifyAccess=all
ExecStart=${[facts.program, "serve", ...facts.serveArgs].map(commandWord).join(" ")}
ExecReload=/bin/kill -HUP $MAINPID
${lines("Environment", environmentWords(facts))}Restart=on-failure
RestartSec=5
# 3: connections were cut at a stop. Starting again would not mend: 2, the configuration is wrong; 5, a right is missing; 6, another
# daemon is running.
SuccessExitStatus=3
RestartPreventExitStatus=2 5 6
TimeoutStartSec=60
TimeoutStopSec=${facts.drainSeconds + stopReserveMs / 1000}
WatchdogSec=60
KillMode=mixed
# A connection takes two, an endpoint one.
LimitNOFILE=524288
LimitCORE=0

# Files. The hosts file is replaced by rename, which needs its folder: were the file alone writable, it would be so no longer once
# another program had replaced it. What makes others run code as root stays read-only all the same.
ProtectSystem=strict
${lines("ReadWritePaths", writes.map(pathWord))}${lines("ReadOnlyPaths", readOnly.map(optional))}${lines("InaccessiblePaths", doors.map(optional))}${runtimeDirectory(facts)}ProtectHome=${protectHome(seen)}
PrivateTmp=${seen.some((path) => isIn(path, "/tmp") || isIn(path, "/var/tmp")) ? "no" : "yes"}
PrivateDevices=yes
PrivateMounts=yes
ProtectProc=invisible
ProcSubset=pid
UMask=0077

# Rights: ports below 1024, and giving the control socket to the group "ngrokd".
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_CHOWN
NoNewPrivileges=yes
RestrictSUIDSGID=yes

# The kernel. MemoryDenyWriteExecute= is not possible: JavaScript is compiled while it runs.
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
LockPersonality=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=@chown
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`;
}

/**
 * Below a folder that must be writable: what gives rights to whoever can change
 * it, on every system. Missing ones are passed over. A folder stays read-only;
 * a single file does until another program replaces it by rename, which takes
 * the mount over it away.
 */
const readOnlyBelow = [
  ..."NetworkManager X11 acpi alternatives anacrontab apparmor.d apt bash.bashrc binfmt.d cron.d cron.daily cron.hourly".split(
    " ",
  ),
  ..."cron.monthly cron.weekly cron.yearly crontab dbus-1 default dhcp dpkg environment environment.d fstab group grub.d gshadow".split(
    " ",
  ),
  ..."init init.d initramfs-tools kernel ld.so.cache ld.so.conf ld.so.conf.d ld.so.preload logrotate.conf logrotate.d".split(
    " ",
  ),
  ..."modprobe.d modules-load.d network networkd-dispatcher nsswitch.conf pam.conf pam.d passwd perl pki polkit-1 ppp".split(
    " ",
  ),
  ..."profile profile.d python3 rc.local rc0.d rc1.d rc2.d rc3.d rc4.d rc5.d rc6.d rcS.d rsyslog.conf rsyslog.d".split(
    " ",
  ),
  ..."security selinux shadow shells skel ssh ssl subgid subuid sudo.conf sudoers sudoers.d sysconfig sysctl.conf sysctl.d".split(
    " ",
  ),
  ..."systemd tmpfiles.d udev update-motd.d xdg yum.repos.d zsh".split(" "),
]
  .map((name) => `/etc/${name}`)
  .concat(["/run/systemd", "/run/udev"]);

/** Sockets of programs that do as root what root asks them. */
const doors = [
  ...[
    "/run/dbus",
    "/run/systemd/private",
    "/run/docker.sock",
    "/run/containerd",
    "/run/podman",
    "/run/libvirt",
    "/run/snapd.socket",
  ],
];

/**
 * `/run/ngrokd…` is made anew by systemd at every start, for it is gone after a
 * boot. Only where it is ours by its name: systemd makes all that is in such a
 * folder the service's, and removes it when the service stops.
 */
const runtimeName = ({ socketPath }: ServiceFacts): string | undefined =>
  /^\/run\/(ngrokd[\w.-]*)$/.exec(dirname(withoutVarRun(socketPath)))?.[1];
const runtimeDirectory = (facts: ServiceFacts): string => {
  const name = runtimeName(facts);
  return name === undefined ? "" : `RuntimeDirectory=${name}\nRuntimeDirectoryMode=0755\n`;
};
const socketFolder = (facts: ServiceFacts): string[] =>
  runtimeName(facts) === undefined ? [dirname(facts.socketPath)] : [];

/** As on every system with systemd, /var/run is a link to /run. */
const withoutVarRun = (path: string): string => path.replace(/^\/var\/run(?=\/|$)/, "/run");

const homes = ["/home", "/root", "/run/user"];
const protectHome = (seen: readonly string[]): string =>
  seen.some((path) => homes.some((home) => isIn(path, home))) ? "read-only" : "yes";

/** Each folder once, and none that is in another. */
function outermost(folders: readonly string[]): string[] {
  const once = [...new Set(folders)];
  return once
    .filter((folder) => !once.some((other) => other !== folder && isIn(folder, other)))
    .sort();
}

const isIn = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);

/**
 * A setting with a list of words, wrapped into lines that can be read; systemd
 * adds them up.
 */
function lines(setting: string, words: readonly string[]): string {
  const rows: string[] = [];
  for (const word of words) {
    const last = rows.at(-1);
    if (last === undefined || last.length + word.length > 130) rows.push(`${setting}=${word}`);
    else rows[rows.length - 1] = `${last} ${word}`;
  }
  return rows.map((row) => `${row}\n`).join("");
}

const environmentWords = ({ environment }: ServiceFacts): string[] =>
  Object.entries(environment).map(([name, value]) => pathWord(`${name}=${value}`));

const optional = (path: string): string => `-${path}`;

/**
 * systemd.syntax(7) and systemd.unit(5): quoted where it has to be, `%`
 * doubled.
 */
const pathWord = (text: string): string => {
  const plain = text.replaceAll("%", "%%");
  return /^[\w@:,./+=%-]+$/.test(plain)
    ? plain
    : `"${plain.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
};

/** In a command line `$` means a variable too. */
const commandWord = (text: string): string => pathWord(text).replaceAll("$", "$$$$");
