import type { ProfileStatus, Status } from "../desk/reply-schemas.ts";
import { bytesText, durationText, facts, type Paint } from "./say.ts";
import { wrapped } from "./width.ts";

/**
 * Pure: the text of `ngrokd status`. Warnings and hint below the table are
 * wrapped to `width` columns.
 */
export function statusText(status: Status, paint: Paint, now: Date, width = 80): string {
  const { profiles = [] } = status;
  const unverified = status.insecure_skip_verify ? `  ${paint.bad("NOT VERIFIED")}` : "";
  const account = (one: AccountStatus): [string, string][] => [
    ["Registration", registrationText(one, paint)],
    ["Certificate", certificateText(one, paint, now)],
    ["Ingress", one.ingress_endpoint + unverified],
  ];
  const rows: [string, string][] = [
    ["State", phaseText(status, paint)],
    ...(profiles.length === 0 ? account(status) : []),
    ...proxyRows(status),
    ...(profiles.length === 0 ? [lastPoll(status, paint, now)] : []),
    ["Endpoints", endpointsText(status, paint)],
    ["Connections", connectionsText(status)],
    ...failureRows(status),
    ["Traffic", `${bytesText(status.bytes.up)} up, ${bytesText(status.bytes.down)} down`],
    ["Pool", poolText(status)],
    ["Daemon", daemonText(status)],
    ...predecessorRows(status),
    ...workersRows(status),
    ["Configuration", status.config_path],
    ["Hosts file", status.hosts_path],
    ...networkRows(status),
    ...dnsRows(status),
  ];
  const marked = (mark: string, tint: (text: string) => string, text: string): string[] =>
    wrapped(text, width - mark.length - 1).map(
      (line, i) => `${i === 0 ? tint(mark) : " ".repeat(mark.length)} ${line}`,
    );
  const warnings = status.warnings.flatMap((warning) => marked("warning:", paint.careful, warning));
  const hint = marked("hint:", paint.name, status.hint);
  const blocks = profiles.map((one) => {
    const state: [string, string][] = [["State", phaseText(one, paint)]];
    const counts: [string, string] = ["Endpoints", endpointsText(one, paint)];
    const lines = facts([...state, ...account(one), lastPoll(one, paint, now), counts], paint);
    return `\n${paint.name(`Profile ${one.name}`)}\n${lines.replaceAll(/^/gm, "  ")}`;
  });
  return [
    facts(rows, paint),
    ...blocks,
    ...(warnings.length + hint.length > 0 ? [""] : []),
    ...warnings,
    ...hint,
  ].join("\n");
}

/** What a status of all and the status of one profile have in common. */
type AccountStatus = Omit<ProfileStatus, "name">;

const lastPoll = (status: AccountStatus, paint: Paint, now: Date): [string, string] => [
  "Last poll",
  pollText(status, paint, now),
];

function daemonText({ version, pid, uptime_seconds }: Status): string {
  return `ngrokd ${version}, pid ${pid}, up ${durationText(uptime_seconds * 1000)}`;
}

function predecessorRows({ predecessor }: Status): [string, string][] {
  if (predecessor === undefined) return [];
  const { pid, connections } = predecessor;
  const what = connections === 1 ? "connection continues" : "connections continue";
  return [["Before it", `pid ${pid}, whose ${connections} ${what}`]];
}

function workersRows({ workers = [] }: Status): [string, string][] {
  if (workers.length === 0) return [];
  const open = workers.map((one) => one.open).join(", ");
  return [["Workers", `${workers.length} processes, with ${open} connections`]];
}

function proxyRows({ proxy: { api, ingress } }: Status): [string, string][] {
  if (api === ingress) return api === "" ? [] : [["Proxy", api]];
  return [["Proxy", api === "" ? `${ingress}, for the ingress only` : `${api}, for the API only`]];
}

/** Loopback needs no row. */
function networkRows({ network }: Status): [string, string][] {
  if (network.kind === "loopback") return [];
  const subnets = [network.subnet, network.subnet6].filter((text) => text !== "").join(", ");
  return [["Network", `${network.interface}, ${subnets}`]];
}

function phaseText({ phase, reason }: AccountStatus, paint: Paint): string {
  const word =
    phase === "serving"
      ? paint.good(phase)
      : phase === "degraded"
        ? paint.bad(phase)
        : paint.careful(phase);
  return reason === "" ? word : `${word}: ${reason}`;
}

function registrationText({ registration, operator_id }: AccountStatus, paint: Paint): string {
  switch (registration) {
    case "registered":
      return `registered as ${operator_id}`;
    case "waiting-for-key":
      return paint.careful("waiting for an API key");
    case "registering":
      return "registering with ngrok";
    case "failed":
      return paint.bad("failed");
  }
}

function certificateText({ certificate }: AccountStatus, paint: Paint, now: Date): string {
  if (certificate === null) return "none yet";
  const { not_after, renewal_trouble } = certificate;
  const end = not_after.slice(0, 10);
  // `days_left` is rounded, and 0 for the last seven minutes.
  const leftMs = Date.parse(not_after) - now.getTime();
  if (leftMs <= 0) return paint.bad(`expired on ${end}`);
  const trouble = renewal_trouble === null ? "" : `; ${paint.bad("could not be renewed")}`;
  const left =
    leftMs < 2 * 86_400_000
      ? durationText(Math.max(1000, leftMs))
      : `${Math.floor(leftMs / 86_400_000)} days`;
  return `valid for ${left}, until ${end}${trouble}`;
}

/** The times count if an older daemon does not say the seconds. */
function pollText(status: AccountStatus, paint: Paint, now: Date): string {
  const { last_poll } = status;
  if (last_poll === null) return "none yet";
  const { seconds_ago = secondsTo(now, last_poll.time) } = last_poll;
  const ago = `${durationText(seconds_ago * 1000)} ago`;
  if (last_poll.ok) return `${paint.good("ok")}, ${ago}, took ${last_poll.took_ms} ms`;
  // The state has the same reason. It stands there once.
  const reason = last_poll.reason === status.reason ? "" : `: ${last_poll.reason}`;
  return `${paint.bad("failed")} ${ago}${reason}${nextText(status, now)}`;
}

/** The number of failures in a row, and the time of the next attempt. */
function nextText(
  { failed_polls, next_poll, next_poll_seconds }: AccountStatus,
  now: Date,
): string {
  const times = failed_polls > 1 ? `${failed_polls} times in a row` : "";
  const inSeconds =
    next_poll_seconds === undefined && next_poll !== ""
      ? -secondsTo(now, next_poll)
      : (next_poll_seconds ?? null);
  const next = inSeconds === null ? "" : `next attempt in ${durationText(inSeconds * 1000)}`;
  const parts = [times, next].filter((part) => part !== "");
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`;
}

const secondsTo = (now: Date, time: string): number => (now.getTime() - Date.parse(time)) / 1000;

function dnsRows({ dns }: Status): [string, string][] {
  if (dns === undefined) return [];
  if (dns.listening === "") return [["DNS server", "not listening"]];
  const zones = dns.zones.map((zone) => `*.${zone}`).join(", ");
  const whole = zones === "" ? dns.listening : `${dns.listening}, for ${zones}`;
  return [["DNS server", whole]];
}

function endpointsText({ endpoints }: AccountStatus, paint: Paint): string {
  const {
    listening,
    wildcard = 0,
    failed,
    unsupported,
    refused = 0,
    paused = 0,
    draining,
    warned = 0,
  } = endpoints;
  const parts = [`${listening} listening`];
  if (wildcard > 0) parts.push(wildcard === 1 ? "1 wildcard" : `${wildcard} wildcards`);
  if (failed > 0) parts.push(paint.bad(`${failed} failed`));
  if (unsupported > 0) parts.push(paint.careful(`${unsupported} not supported`));
  if (refused > 0) parts.push(paint.careful(`${refused} refused`));
  if (paused > 0) parts.push(paint.careful(`${paused} paused`));
  if (draining > 0) parts.push(`${draining} draining`);
  if (warned > 0) parts.push(paint.careful(`${warned} with a warning (see \`ngrokd list\`)`));
  return parts.join(", ");
}

/** The limit is shown if more than half of it is used. */
function connectionsText({ connections: { active, total, limit } }: Status): string {
  const most = limit !== null && active * 2 > limit ? ` of at most ${limit}` : "";
  return `${active} open${most}, ${total} in all`;
}

function failureRows({ connections: { refused }, errors_by_kind }: Status): [string, string][] {
  const counts = Object.entries({ refused, ...errors_by_kind }).filter(([, n]) => n > 0);
  return counts.length === 0
    ? []
    : [["Failures", counts.map(([kind, n]) => `${n} ${kind}`).join(", ")]];
}

function poolText({ pool }: Status): string {
  const { ready, hits, misses } = pool;
  const share =
    hits + misses === 0
      ? ""
      : `; ${Math.floor((100 * hits) / (hits + misses))} % of connections found one`;
  return `${ready} ready${share}`;
}
