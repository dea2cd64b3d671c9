import { loadConfig } from "../config/load.ts";
import {
  type IdentityPreview,
  type LookAhead,
  lookAhead,
  type Served,
} from "../daemon/look-ahead.ts";
import type { Listening, NameChange, Preview } from "../daemon/preview.ts";
import type { Status } from "../desk/reply-schemas.ts";
import { isNgrokdError } from "../model/error.ts";
import { hostPortText } from "../model/host-port.ts";
import { readable } from "../model/parsed.ts";
import type { Paint } from "../terminal/say.ts";
import { command, type Io, profileArg } from "./command.ts";
import { type DaemonArgs, daemonAt } from "./daemon-socket.ts";

export default command({
  name: "plan",
  description: "Show the changes of the next poll, without making them",
  args: profileArg,
  examples: ["sudo ngrokd plan", "sudo ngrokd plan --json"],
  async run(args, io) {
    const running = await servedNow(args, io);
    const loaded = await loadConfig({
      // A daemon that is selected by its socket alone may have another file.
      file: args.config ?? (io.env.NGROKD_CONFIG ? undefined : running?.configPath),
      env: io.env,
      flags: { "server.socket_path": args.socket },
    });
    const hostsPath = running?.hostsPath ?? loaded.hostsPath;
    const served = running ?? { listening: [], zones: [] };
    const { profile } = args;
    const ahead = await io.say.awaiting("Asking ngrok", () =>
      lookAhead(io.net, { ...loaded, hostsPath }, served, { profile }),
    );
    io.say.result({ daemon: running !== undefined, ...ahead }, () =>
      planText(ahead, { daemon: running?.network ?? "none", hostsPath }, io.say.paint),
    );
    return 0;
  },
});

/**
 * The endpoints that the running daemon serves, its configuration and its hosts
 * file. Undefined if no daemon runs.
 */
async function servedNow(args: DaemonArgs, io: Io): Promise<RunningDaemon | undefined> {
  const callDaemon = daemonAt(args, io);
  try {
    const [items, status] = await Promise.all([callDaemon("list"), callDaemon("status")]);
    const { config_path: configPath, hosts_path: hostsPath, network, dns } = status;
    const present = items.filter(({ state }) => state === "listening");
    return {
      listening: present.flatMap((item) => {
        const {
          url,
          hostname: host,
          ip,
          ip6,
          port,
          listen_interface,
          network_port,
          profile,
        } = item;
        const forOthers =
          network_port === 0 ? "" : hostPortText({ host: listen_interface, port: network_port });
        return [ip, ...(ip6 === "" ? [] : [ip6])].map((at) => {
          return { url, host, ip: at, port, forOthers, ...(profile !== undefined && { profile }) };
        });
      }),
      zones: dns?.zones ?? [],
      configPath,
      hostsPath,
      network,
    };
  } catch (error) {
    if (isNgrokdError(error, "not-running")) return undefined;
    throw error;
  }
}

interface RunningDaemon extends Served {
  readonly configPath: string;
  readonly hostsPath: string;
  readonly network: Network;
}

type Network = Status["network"];

/** Pure: the text of `ngrokd plan`. `daemon`: the network of a running one. */
export function planText(
  { identity, profiles, changes, network, resolver }: LookAhead,
  { daemon, hostsPath }: { daemon: Network | "none"; hostsPath: string },
  paint: Paint,
): string {
  const parts = [
    ...(profiles === undefined
      ? identityLines(identity, paint)
      : profiles.flatMap((one) =>
          identityLines(one.identity, paint).map((line) => `${line} (profile ${one.name})`),
        )),
    ...(network === undefined ? [] : networkLines(network, daemon, paint)),
    ...(changes === undefined ? [unknown] : changeLines(changes, hostsPath, paint)),
    ...(changes === undefined ? [] : zoneLines(changes.zones, resolver, paint)),
  ];
  const nothing =
    parts.length === 0 ? [`Nothing would change; endpoints served: ${changes?.served ?? 0}.`] : [];
  const bad =
    changes === undefined || changes.unserved.length === 0
      ? []
      : unservedLines(changes.unserved, paint);
  const refused = changes?.hosts.refused ?? "";
  const unwritten =
    refused === "" ? [] : [`${paint.bad("!")} Cannot edit "${hostsPath}": ${refused}`];
  const dead =
    daemon !== "none" ? [] : ["No daemon is running: a daemon would do this after its start."];
  return [...parts, ...nothing, ...unwritten, ...bad, ...dead].join("\n");
}

const unknown = "ngrok lists this machine's endpoints only after its registration.";

function identityLines(
  { registration, certificate, reason }: IdentityPreview,
  paint: Paint,
): string[] {
  if (registration === "new")
    return [`${paint.good("+")} register this machine with ngrok: ${reason}`];
  if (registration === "again")
    return [
      `${paint.careful("~")} get a new certificate for this machine, or register it: ${reason}`,
    ];
  return certificate === "renew" ? [`${paint.careful("~")} renew the certificate: ${reason}`] : [];
}

/** The interface that is made, changed or removed, and remarks about it. */
function networkLines(
  next: NonNullable<LookAhead["network"]>,
  daemon: Network | "none",
  paint: Paint,
): string[] {
  const text = ({ kind, interface: name, subnet, subnet6 }: Network): string =>
    kind === "loopback"
      ? ""
      : `${name}  ${[subnet, subnet6].filter((part) => part !== "").join(", ")}`;
  const [before, after] = [daemon === "none" ? "" : text(daemon), text(next)];
  const change =
    before === after
      ? []
      : [
          ...(before === "" ? [] : [`  ${paint.bad("-")} ${before}`]),
          ...(after === "" ? [] : [`  ${paint.good("+")} ${after}`]),
        ];
  return [
    ...section("Interface:", change),
    ...next.remarks.map((remark) => `${paint.bad("!")} ${remark}`),
  ];
}

const unservedLines = (unserved: Preview["unserved"], paint: Paint): string[] => [
  "Not served:",
  ...unserved.map(({ url, reason }) => `  ${paint.bad("!")} ${readable(url)}: ${reason}`),
];

function changeLines(
  { names, raise, retire, others, hosts }: Preview,
  hostsPath: string,
  paint: Paint,
): string[] {
  const [add, change, remove] = [paint.good("+"), paint.careful("~"), paint.bad("-")];
  const nameLine = ({ host, change: kind, from, to }: NameChange): string => {
    if (kind === "new") return `  ${add} ${host}  ${to}`;
    return kind === "moved"
      ? `  ${change} ${host}  ${from} -> ${to}`
      : `  ${remove} ${host}  (${from} stays reserved for it)`;
  };
  const listener = ({ url, ip, port }: Listening): string =>
    `${readable(url)}  ${hostPortText({ host: ip, port })}`;
  return [
    ...section("Names:", names.map(nameLine)),
    ...section("Listeners:", [
      ...raise.map((one) => `  ${add} ${listener(one)}`),
      ...retire.map((one) => `  ${remove} ${listener(one)}`),
    ]),
    ...section(
      "For other machines:",
      others.map(({ url, from, to }) => {
        if (from === "") return `  ${add} ${readable(url)}  ${to}`;
        return to === ""
          ? `  ${remove} ${readable(url)}  ${from}`
          : `  ${change} ${readable(url)}  ${from} -> ${to}`;
      }),
    ),
    ...section(`${hostsPath}:`, [
      ...hosts.add.map((line) => `  ${add} ${shown(line)}`),
      ...hosts.remove.map((line) => `  ${remove} ${shown(line)}`),
    ]),
  ];
}

function zoneLines({ add, remove }: Preview["zones"], resolver: string, paint: Paint): string[] {
  return section(`Resolver (${resolver}):`, [
    ...add.map((zone) => `  ${paint.good("+")} *.${zone}`),
    ...remove.map((zone) => `  ${paint.bad("-")} *.${zone}`),
  ]);
}

const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : [title, ...lines];

/**
 * A line of the hosts file without control characters, since other programs
 * write this file too.
 */
const shown = (line: string): string => readable(line.trimEnd().replaceAll("\t", "  "));
