import { dirname } from "node:path";
import { createIn } from "../model/environment.ts";
import { marker, type ServiceFacts, stopReserveMs } from "./service-facts.ts";

/** With the usual SIGABRT, the runtime would write a crash report. */
const watchdog = "WatchdogSec=60\nWatchdogSignal=SIGKILL";

/**
 * Pure: the systemd unit, for systemd 247 and newer. It has only the rights
 * that the daemon needs (docs/operations.md, "What it may do"). Stories run a
 * daemon under it (test/stories/service.test.ts).
 */
export function unitText(facts: ServiceFacts, origin = `${marker}, which replaces it`): string {
  const { writes, readOnly, closed, seen } = pathsOf(facts);
  return `# ${origin}. Changes of your own go into another file: \`systemctl edit ngrokd\`.
[Unit]
Description=ngrokd: ngrok's Kubernetes-bound endpoints on this machine
Documentation=https://github.com/ngrokd/ngrokd
After=network.target nss-lookup.target

[Service]
Type=notify
# systemd-notify speaks for the daemon where it cannot do so itself.
NotifyAccess=all
${folderMaking(readOnly)}ExecStart=${[facts.program, "serve", ...facts.serveArgs].map(commandWord).join(" ")}
ExecReload=/bin/kill -HUP $MAINPID
${environment(facts)}# Not on-failure: while the old process of \`ngrokd upgrade\` goes on, systemd does not learn how the new one has ended.
Restart=always
RestartSec=5
# 0 and 3: it was stopped, and with 3 connections were cut. Starting again would not mend: 2, the configuration is wrong; 5, a right is
# missing; 6, another daemon is running.
SuccessExitStatus=3
RestartPreventExitStatus=0 2 3 5 6
TimeoutStartSec=60
TimeoutStopSec=${facts.drainSeconds + stopReserveMs / 1000}
${watchdog}
KillMode=mixed
# A connection takes two, an endpoint one.
LimitNOFILE=524288
# Listening sockets stay open between two daemons: clients then wait, and are not refused. An endpoint has one for each address.
FileDescriptorStoreMax=65536
LimitCORE=0

# Files. Other programs replace the hosts file by rename, so its folder is writable: a mount of the file alone would be gone then. What
# makes others run code as root stays read-only all the same, and NGROKD_CREATE_IN keeps new files out of it (Landlock).
ProtectSystem=strict
${lines("ReadWritePaths", writes.map(pathWord))}${lines("ReadOnlyPaths", readOnly.map(optional))}${lines("InaccessiblePaths", closed.map(optional))}${runtimeDirectory(facts)}ProtectHome=${protectHome(seen)}
PrivateTmp=${seen.some((path) => isIn(path, "/tmp") || isIn(path, "/var/tmp")) ? "no" : "yes"}
${devices(facts)}
PrivateMounts=yes
ProtectProc=invisible
ProcSubset=pid
UMask=0077

${rights(facts)}
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
SystemCallFilter=@chown landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`;
}

interface Paths {
  readonly writes: readonly string[];
  readonly readOnly: readonly string[];
  /** Sockets that the daemon cannot reach. */
  readonly closed: readonly string[];
  /** All paths that it reads or writes. */
  readonly seen: readonly string[];
}

function pathsOf(facts: ServiceFacts): Paths {
  const wanted = [dirname(facts.hostsPath), ...socketFolder(facts), ...facts.folders].map(
    withoutVarRun,
  );
  const outer = outermost(wanted);
  const readOnly = [...readOnlyBelow, ...readOnlyBelowRun].filter(
    (path) => outer.some((folder) => isIn(path, folder)) && !wanted.includes(path),
  );
  // An inner path overrides an outer one.
  const writes = [
    ...new Set([
      ...outer,
      ...wanted.filter((folder) => readOnly.some((path) => isIn(folder, path))),
    ]),
  ];
  const closed = facts.usesDbus === true ? doors.filter((path) => path !== dbus) : doors;
  const seen = [facts.program, facts.hostsPath, facts.socketPath, ...facts.folders, ...facts.reads];
  return { writes, readOnly, closed, seen };
}

/**
 * ngrokd itself removes most of the runtime's variables. These take effect
 * before it can do so. A drop-in cannot set them.
 */
const unset = [
  "BUN_OPTIONS",
  "BUN_BE_BUN",
  "BUN_INSPECT",
  "BUN_INSPECT_PRELOAD",
  "BUN_INSPECT_CONNECT_TO",
  "BUN_INSPECT_NOTIFY",
  "BUN_CONFIG_VERBOSE_FETCH",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "LD_PRELOAD",
  "LD_LIBRARY_PATH",
  "LD_AUDIT",
];

/**
 * Paths below writable folders that stay read-only, since write access to them
 * gives further rights. systemd skips missing ones. A folder always stays
 * read-only. A file does so only until another program replaces it by rename,
 * which removes the mount.
 */
const readOnlyBelow = [
  "NetworkManager X11 acpi alternatives anacrontab apparmor.d apt bash.bashrc binfmt.d cron.d",
  "cron.daily cron.hourly cron.monthly cron.weekly cron.yearly crontab dbus-1 default dhcp dpkg",
  "environment environment.d fstab group grub.d gshadow init init.d initramfs-tools kernel",
  "ld.so.cache ld.so.conf ld.so.conf.d ld.so.preload logrotate.conf logrotate.d modprobe.d",
  "modules-load.d network networkd-dispatcher nsswitch.conf pam.conf pam.d passwd perl pki",
  "polkit-1 ppp profile profile.d python3 rc.local rc0.d rc1.d rc2.d rc3.d rc4.d rc5.d rc6.d",
  "rcS.d rsyslog.conf rsyslog.d security selinux shadow shells skel ssh ssl subgid subuid",
  "sudo.conf sudoers sudoers.d sysconfig sysctl.conf sysctl.d systemd tmpfiles.d udev",
  "update-motd.d xdg yum.repos.d zsh",
]
  .flatMap((names) => names.split(" "))
  .map((name) => `/etc/${name}`)
  .concat(["/run/systemd", "/run/udev"]);

/**
 * The same below /run, where the daemon may create folders for its socket. They
 * are created before it starts, since a mount only protects an existing path.
 */
const readOnlyBelowRun =
  "NetworkManager binfmt.d modprobe.d modules-load.d polkit-1 sysctl.d sysusers.d tmpfiles.d"
    .split(" ")
    .map((name) => `/run/${name}`);
function folderMaking(readOnly: readonly string[]): string {
  const missing = readOnlyBelowRun.filter((path) => readOnly.includes(path));
  return missing.length === 0 ? "" : `ExecStartPre=+/bin/mkdir -p ${missing.join(" ")}\n`;
}

/**
 * The way to systemd-resolved and NetworkManager, and to every other program
 * that takes orders from root.
 */
const dbus = "/run/dbus";
/** Sockets of programs that act with root's rights. */
const doors = [
  dbus,
  "/run/systemd/private",
  "/run/docker.sock",
  "/run/containerd",
  "/run/podman",
  "/run/libvirt",
  "/run/snapd.socket",
];

/**
 * systemd creates `/run/ngrokd…` at every start, since a boot removes it. Only
 * for folders with this name: systemd gives all files in such a folder to the
 * service, and removes it when the service stops.
 */
const runtimeName = ({ socketPath }: ServiceFacts): string | undefined =>
  /^\/run\/(ngrokd[\w.-]*)$/.exec(dirname(withoutVarRun(socketPath)))?.[1];
const runtimeDirectory = (facts: ServiceFacts): string => {
  const name = runtimeName(facts);
  return name === undefined ? "" : `RuntimeDirectory=${name}\nRuntimeDirectoryMode=0755\n`;
};
const socketFolder = (facts: ServiceFacts): string[] =>
  runtimeName(facts) === undefined ? [dirname(facts.socketPath)] : [];

/** Systems with systemd have /var/run as a link to /run. */
const withoutVarRun = (path: string): string => path.replace(/^\/var\/run(?=\/|$)/, "/run");

const homes = ["/home", "/root", "/run/user"];
const protectHome = (seen: readonly string[]): string =>
  seen.some((path) => homes.some((home) => isIn(path, home))) ? "read-only" : "yes";

/** The folders without duplicates, and without those inside others. */
function outermost(folders: readonly string[]): string[] {
  const once = [...new Set(folders)];
  return once
    .filter((folder) => !once.some((other) => other !== folder && isIn(folder, other)))
    .sort();
}

const isIn = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);

/** A setting with a list of words, wrapped. systemd joins the lines. */
function lines(setting: string, words: readonly string[]): string {
  const rows: string[] = [];
  for (const word of words) {
    const last = rows.at(-1);
    if (last === undefined || last.length + word.length > 130) rows.push(`${setting}=${word}`);
    else rows[rows.length - 1] = `${last} ${word}`;
  }
  return rows.map((row) => `${row}\n`).join("");
}

const environment = (facts: ServiceFacts): string =>
  lines(
    "Environment",
    Object.entries({ ...facts.environment, ...confinement(facts), ...keeping }).map(
      ([name, value]) => pathWord(`${name}=${value}`),
    ),
  ) + lines("UnsetEnvironment", unset);

/**
 * A mount cannot protect a file that does not exist yet. So the daemon may
 * create files only in the folders of its state and its socket. It writes the
 * hosts file in place.
 */
function confinement({ folders, socketPath }: ServiceFacts): Record<string, string> {
  const paths = [...new Set([...folders, dirname(socketPath)].map(withoutVarRun))];
  return paths.some((path) => path.includes(":")) ? {} : { [createIn]: paths.join(":") };
}

/** systemd before 254 does not tell the daemon that it keeps sockets. */
const keeping = { NGROKD_FD_STORE: "yes" };

/** A virtual interface needs one device and one right more. */
const devices = ({ makesInterface }: ServiceFacts): string =>
  makesInterface ? "DevicePolicy=closed\nDeviceAllow=/dev/net/tun rw" : "PrivateDevices=yes";
const rights = ({ makesInterface }: ServiceFacts): string =>
  makesInterface
    ? `# Rights: ports below 1024, giving the control socket to the group "ngrokd", and the virtual interface of net.subnet.
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_CHOWN CAP_NET_ADMIN`
    : `# Rights: ports below 1024, and giving the control socket to the group "ngrokd".
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_CHOWN`;

const optional = (path: string): string => `-${path}`;

/** Quoted if necessary, `%` doubled: systemd.syntax(7), systemd.unit(5). */
const pathWord = (text: string): string => {
  const plain = text.replaceAll("%", "%%");
  return /^[\w@:,./+=%-]+$/.test(plain)
    ? plain
    : `"${plain.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
};

/** In a command line, `$` starts a variable. */
const commandWord = (text: string): string => pathWord(text).replaceAll("$", "$$$$");
