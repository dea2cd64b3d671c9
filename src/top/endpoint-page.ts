import type { Connection } from "../desk/history-schemas.ts";
import { printable, readable } from "../model/parsed.ts";
import { isServed } from "../model/state.ts";
import { exchangeLine } from "../terminal/exchange-text.ts";
import { eventLine, ms, timeText } from "../terminal/history-text.ts";
import { tintOf } from "../terminal/list-text.ts";
import { bytesText, plain } from "../terminal/say.ts";
import type { WatchedEndpoint } from "../terminal/watch-text.ts";
import { fitted, wrapped } from "../terminal/width.ts";
import { bytesBySecond, type Look, nameOf, type Part } from "./look.ts";
import {
  cell,
  rightCell,
  type Style,
  shortBytes,
  shortCount,
  shortMs,
  sparkline,
} from "./style.ts";

/** Pure: all lines of an endpoint's page; it scrolls if there are too many. */
export function endpointLines(
  item: WatchedEndpoint,
  look: Look,
  columns: number,
  style: Style,
): string[] {
  const { paint } = style;
  const known = look.closer?.name === nameOf(item) ? look.closer : undefined;
  const section = <T>(
    title: string,
    part: Part<T[]> | undefined,
    lines: (all: T[]) => string[],
  ) => [
    "",
    paint.bold(title),
    ...(part === undefined
      ? [paint.dim("  not read yet")]
      : part.kind === "unknown"
        ? [paint.careful(fitted(`  not shown: ${part.reason}`, columns))]
        : part.value.length === 0
          ? [paint.dim("  none")]
          : lines(part.value)),
  ];
  const line = (text: string): string => `  ${fitted(text, columns - 2)}`;
  const isRead = known?.exchanges.kind === "known" && known.exchanges.value.length > 0;
  return [
    `${paint.bold(nameOf(item))}  ${tintOf(item, paint)(item.state)}`,
    ...factLines(item, look, columns, style),
    ...section("LAST CONNECTIONS", known?.connections, (all) => [
      connectionHeading(columns, style),
      ...all.map((one) => connectionRow(one, columns, style)),
    ]),
    ...(isRead
      ? section("HTTP EXCHANGES", known?.exchanges, (all) =>
          all.slice(0, 20).map((one) => line(exchangeLine(one, plain))),
        )
      : []),
    ...section("EVENTS", known?.events, (all) => all.map((one) => line(eventLine(one, plain)))),
  ];
}

function factLines(item: WatchedEndpoint, look: Look, columns: number, style: Style): string[] {
  const { paint, glyphs } = style;
  const { connections, per_second, bytes, latency_ms } = item;
  const { first_byte, upgrade } = latency_ms;
  const quantiles = (of: typeof upgrade): string =>
    of === null
      ? "not measured yet"
      : `${[of.p50, of.p90, of.p99].map(shortMs).join(" / ")} (p50 / p90 / p99)`;
  const rates =
    per_second === null
      ? ""
      : `${bytesText(per_second.bytes_up)}/s up, ${bytesText(per_second.bytes_down)}/s down; `;
  const facts: [string, string][] = [
    ["url", readable(item.url)],
    ["address", addressText(item)],
    ["aliases", (item.aliases ?? []).join(", ")],
    ["profile", item.profile ?? ""],
    ["ids", item.ids.map(readable).join(", ")],
    ["other machines", otherMachinesText(item)],
    ["connections", connectionsText(item)],
    ["traffic", `${rates}${bytesText(bytes.up)} up, ${bytesText(bytes.down)} down in all`],
    ["first byte", quantiles(first_byte)],
    ["opening", quantiles(upgrade)],
    ["failures", countsText({ ...item.errors_by_kind, ...item.refused_by_code })],
    ["last failure", connections.last_error === "" ? "" : printable(connections.last_error)],
    ["last notice", printable(connections.last_notice)],
  ];
  const width = Math.min(60, columns - keyWidth);
  const bars = sparkline(bytesBySecond(look.traffic, item), width, glyphs);
  return [
    ...remarks(item, columns, style),
    ...facts.flatMap(([key, value]) =>
      value === ""
        ? []
        : [`${paint.dim(key.padEnd(keyWidth))}${fitted(value, columns - keyWidth)}`],
    ),
    ...(bars.trim() === ""
      ? []
      : [`${paint.dim("last minute".padEnd(keyWidth))}${paint.name(bars)}`]),
  ];
}
const keyWidth = 16;

/** The endpoint's fault, and the command that shows more. */
function remarks(item: WatchedEndpoint, columns: number, { paint }: Style): string[] {
  const { reason, warning, state } = item;
  const texts = [reason, warning].filter((text) => text !== "");
  const tint = tintOf(item, paint);
  const fix = `to do: \`ngrokd why ${nameOf(item)}\` shows which step fails`;
  return [
    ...texts.flatMap((text) => wrapped(printable(text), columns).map(tint)),
    ...(isServed(state) && texts.length === 0 ? [] : [paint.name(fitted(fix, columns))]),
  ];
}

function addressText({ ip, ip6, port }: WatchedEndpoint): string {
  const places = [ip === "" ? "" : `${ip}:${port}`, ip6 === "" ? "" : `[${ip6}]:${port}`];
  return places.filter((place) => place !== "").join(", ") || "none";
}

function otherMachinesText({
  network_port: port,
  listen_interface,
  shared_listener_key,
}: WatchedEndpoint) {
  if (port === 0) return "";
  return shared_listener_key === ""
    ? `port ${port} of ${listen_interface}`
    : `${shared_listener_key}, which others share`;
}

function connectionsText({ connections, per_second }: WatchedEndpoint): string {
  const { active, total, errors, refused } = connections;
  const rate = per_second === null ? "" : `, ${shortCount(per_second.connections)} new/s`;
  return `${active} open, ${total} in all${rate}, ${errors} failed, ${refused} refused`;
}

const countsText = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .flatMap(([kind, n]) => (n > 0 ? [`${readable(kind)} ${n}`] : []))
    .join(", ");

/** Columns of a timeline: milliseconds since the accept. */
const steps = [
  ["OPENED", "upgraded"],
  ["UP", "first_up"],
  ["DOWN", "first_down"],
  ["ENDED", "ended"],
] as const;
const stepWidth = 7;
const [clientWidth, stateWidth, bytesWidth] = [21, 8, 9];
const rowWidth =
  2 + 8 + 1 + clientWidth + 1 + stateWidth + 1 + steps.length * stepWidth + 1 + bytesWidth;

function connectionHeading(columns: number, { paint }: Style): string {
  const heads = [cell("ACCEPTED", 8), cell("CLIENT", clientWidth), cell("STATE", stateWidth)];
  const times = steps.map(([title]) => title.padStart(stepWidth)).join("");
  const bar = barWidth(columns) > 0 ? "  TIMELINE" : "";
  return paint.bold(`  ${heads.join(" ")} ${times} ${"UP+DOWN".padStart(bytesWidth)}${bar}`);
}

function connectionRow(one: Connection, columns: number, { paint }: Style): string {
  const { accepted, client, user, state, timeline_ms, bytes, end } = one;
  const who = user === null || user.name === "" ? client : `${client} ${readable(user.name)}`;
  const word = end === null ? state : end.kind;
  const heads = [
    timeText(accepted),
    cell(who, clientWidth),
    (end === null || end.kind === "finished" ? paint.good : paint.careful)(cell(word, stateWidth)),
  ];
  const times = steps.map(([, step]) => rightCell(shortMs(timeline_ms[step]), stepWidth)).join("");
  const moved = rightCell(`${shortBytes(bytes.up)}+${shortBytes(bytes.down)}`, bytesWidth);
  const width = barWidth(columns);
  const bar = width > 0 ? `  ${timelineBar(one, width)}` : "";
  return `  ${heads.join(" ")} ${times} ${moved}${bar}`;
}

const barWidth = (columns: number): number => {
  const room = Math.min(60, columns - rowWidth - 2);
  return room < 20 ? 0 : room;
};

/**
 * Pure: the way of an ended connection in scale: `.` until the ingress accepts
 * it, `-` until the first byte down, `=` until its end.
 */
export function timelineBar({ timeline_ms }: Connection, width: number): string {
  const { upgraded, first_down, ended } = timeline_ms;
  if (ended === null || ended === 0) return "";
  const at = (time: number | null): number =>
    Math.min(width, Math.round(((time ?? ended) / ended) * width));
  const [opened, first] = [at(upgraded), Math.max(at(upgraded), at(first_down))];
  const bar = ".".repeat(opened) + "-".repeat(first - opened) + "=".repeat(width - first);
  return `${bar} ${ms(ended)}`.slice(0, width + 12);
}
