import type { Status } from "../desk/reply-schemas.ts";
import { bytesText, durationText } from "../terminal/say.ts";
import { fitted, padded, widthOf } from "../terminal/width.ts";
import type { Look } from "./look.ts";
import { cell, type Style, shortCount, sparkline } from "./style.ts";

/** Warnings that the head has room for. */
const mostWarnings = 2;

/** Pure: the lines above every page. */
export function headLines(look: Look, isPaused: boolean, columns: number, style: Style): string[] {
  const { status } = look;
  const { paint } = style;
  const warnings = warningsOf(status);
  const shown = warnings.length > mostWarnings ? mostWarnings - 1 : mostWarnings;
  const more = warnings.length - shown;
  return [
    titleLine(look, isPaused, columns, style),
    ...factPairs(
      [
        ["endpoints", countsText(status), "certificate", certificateText(status)],
        ["connections", connectionsText(look), "pool", poolText(status)],
      ],
      columns,
    ),
    trafficLine(look, columns, style),
    ...warnings.slice(0, shown).map((text) => paint.careful(fitted(`warning: ${text}`, columns))),
    ...(more > 0 ? [paint.careful(`and ${more} more warnings: \`ngrokd status\` has them`)] : []),
  ];
}

function titleLine(
  { at, status, trouble }: Look,
  isPaused: boolean,
  columns: number,
  style: Style,
) {
  const { paint } = style;
  const time = at.wall.toTimeString().slice(0, 8);
  const { version, phase, reason, uptime_seconds } = status;
  const state = reason === "" ? phase : `${phase}: ${reason}`;
  const up = `up ${durationText(uptime_seconds * 1000)}`;
  const text = trouble === "" ? `ngrokd ${version}  ${state}, ${up}` : `waiting: ${trouble}`;
  const right = isPaused ? `paused  ${time}` : time;
  const tint =
    trouble !== "" || phase === "degraded"
      ? paint.bad
      : phase === "serving"
        ? paint.good
        : paint.careful;
  return `${tint(cell(text, columns - right.length - 2))}  ${paint.bold(right)}`;
}

type FactPair = readonly [key: string, value: string, otherKey: string, other: string];

/**
 * Two facts side by side in each line. The second ones begin in the middle, or
 * later if the first ones are long and the second ones short.
 */
function factPairs(pairs: readonly FactPair[], columns: number): string[] {
  const texts = pairs.map(([key, value, otherKey, other]): [string, string] => [
    `${key.padEnd(keyWidth)}${value}`,
    `${otherKey.padEnd(keyWidth)}${other}`,
  ]);
  const longest = (i: 0 | 1): number => Math.max(...texts.map((pair) => widthOf(pair[i])));
  const latest = Math.min(longest(0) + 1, columns - longest(1));
  const start = Math.max(Math.floor(columns / 2), latest);
  return texts.map(([left, right]) => `${cell(left, start - 1)} ${fitted(right, columns - start)}`);
}
const keyWidth = 13;

/** Pure: `3 listening, 1 failed`. */
export function countsText({ endpoints }: Status): string {
  const { warned = 0, ...states } = endpoints;
  const counts = Object.entries(states).flatMap(([state, n = 0]) =>
    n > 0 ? [`${n} ${state}`] : [],
  );
  const remarks = warned > 0 ? [`${warned} with a warning`] : [];
  return [...counts, ...remarks].join(", ") || "none";
}

function certificateText({ certificate, profiles = [] }: Status): string {
  const all = profiles.length === 0 ? [certificate] : profiles.map((one) => one.certificate);
  const known = all.flatMap((one) => one ?? []);
  const [first] = known.toSorted((a, b) => a.days_left - b.days_left);
  if (first === undefined) return "none yet";
  const left = durationText(Math.max(0, first.days_left) * 86_400_000);
  return first.renewal_trouble === null ? `${left} left` : `${left} left, not renewed`;
}

function connectionsText({ status, items }: Look): string {
  const { active, limit } = status.connections;
  const known = items.flatMap(({ per_second }) => per_second ?? []);
  const sum = known.reduce((total, rates) => total + rates.connections, 0);
  const of = limit === null ? "" : ` of ${limit}`;
  return `${active} open${of}, ${known.length === 0 ? "-" : shortCount(sum)} new/s`;
}

function poolText({ pool: { ready, hits, misses } }: Status): string {
  const share = hits + misses === 0 ? "" : `, ${Math.round((100 * hits) / (hits + misses))} % used`;
  return `${ready} ready${share}`;
}

function trafficLine({ traffic: { total } }: Look, columns: number, { glyphs, paint }: Style) {
  const last = (values: readonly number[]): string => `${bytesText(values.at(-1) ?? 0)}/s`;
  const text = `${"traffic".padEnd(keyWidth)}${last(total.up)} up, ${last(total.down)} down`;
  const left = `${padded(text, Math.floor(columns / 2) - 2)}  `;
  const both = total.up.map((up, i) => up + (total.down[i] ?? 0));
  const width = Math.min(60, columns - widthOf(left));
  return left + paint.name(sparkline(both, width, glyphs));
}

function warningsOf(status: Status): string[] {
  const { insecure_skip_verify, warnings, hint, phase } = status;
  return [
    ...(insecure_skip_verify ? ["the ingress's certificate is NOT verified"] : []),
    ...(hint !== "" && phase !== "serving" ? [`to do: ${hint}`] : []),
    ...warnings,
  ];
}
