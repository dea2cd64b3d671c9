import type { Columns, Connection, Event, Traffic } from "../desk/history-schemas.ts";
import { readable } from "../model/parsed.ts";
import { bytesText, durationText, type Paint } from "./say.ts";
import { table } from "./table.ts";

/** Pure: connections as a table, the newest first. */
export function connectionsTable(connections: readonly Connection[], paint: Paint): string {
  const rows = connections.map((one) => [
    timeText(one.accepted),
    one.endpoint,
    clientText(one),
    stateText(one, paint),
    openingText(one),
    `${bytesText(one.bytes.up)} up, ${bytesText(one.bytes.down)} down`,
  ]);
  return table(["ACCEPTED", "ENDPOINT", "CLIENT", "STATE", "OPENED", "BYTES"], rows, paint);
}

/** Pure: the line of a connection that has ended. */
export function connectionLine(connection: Connection, paint: Paint): string {
  const { accepted, endpoint, timeline_ms: timeline, bytes, end } = connection;
  const took = timeline.ended === null ? "" : ` after ${durationText(timeline.ended)}`;
  const first = timeline.first_down === null ? "" : `, first byte at ${ms(timeline.first_down)}`;
  const moved = `${bytesText(bytes.up)} up, ${bytesText(bytes.down)} down`;
  const reason = end === null || end.reason === "" ? "" : `: ${end.reason}`;
  return (
    `${paint.dim(timeText(accepted))} ${paint.name(endpoint)} ${clientText(connection)} ` +
    `${stateText(connection, paint)}${took}, ${openingText(connection)}${first}, ${moved}${reason}`
  );
}

const clientText = ({ client, user }: Connection): string =>
  user === null ? client : `${client} (${readable(user.name || `uid ${user.uid}`)})`;

function stateText({ state, end }: Connection, paint: Paint): string {
  if (end === null) return state === "open" ? paint.good("open") : paint.careful("opening");
  return end.kind === "finished" ? "finished" : paint.careful(end.kind);
}

function openingText({ from, timeline_ms: { upgraded } }: Connection): string {
  if (upgraded === null) return "not opened";
  return `${from === "pool" ? "from the pool" : "dialled"} in ${ms(upgraded)}`;
}

export const ms = (value: number): string =>
  `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

/** Pure: the local time of a text of RFC 3339. */
export function timeText(text: string): string {
  const time = new Date(text);
  const two = (number: number): string => String(number).padStart(2, "0");
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(":");
}

/** Pure: one event on a line. */
export function eventLine(event: Event, paint: Paint): string {
  return `${paint.dim(timeText(event.at))} ${event.kind} ${storyOf(event, paint)}`;
}

function storyOf(event: Event, paint: Paint): string {
  switch (event.kind) {
    case "endpoint.raised": {
      const where = event.ip === "" ? "" : ` on ${event.ip}`;
      const warning = event.warning === "" ? "" : `: ${paint.careful(event.warning)}`;
      return `${paint.name(readable(event.url))}${where}${warning}`;
    }
    case "endpoint.failed":
      return `${paint.name(readable(event.url))} is ${event.state}: ${event.reason}`;
    case "endpoint.gone":
      return paint.name(readable(event.url));
    case "connection.opened": {
      const { connection } = event;
      return `${paint.name(connection.endpoint)} ${clientText(connection)} ${openingText(connection)}`;
    }
    case "connection.ended":
      return connectionLine(event.connection, paint).replace(/^\S+ /, "");
    case "poll":
      return event.ok
        ? `succeeded in ${event.took_ms} ms, ${event.endpoints} endpoints`
        : paint.bad(`failed: ${event.reason}`);
    case "certificate":
      return event.reason === ""
        ? `new, until ${event.not_after}`
        : paint.bad(`not renewed: ${event.reason}`);
    case "notice":
      return `${paint.name(event.endpoint)} ngrok says: ${paint.careful(readable(event.text))}`;
    case "warning":
      return event.over ? `over: ${event.text}` : paint.careful(event.text);
    case "phase":
      return event.reason === "" ? event.phase : `${event.phase}: ${event.reason}`;
    case "gap":
      return event.lost === null
        ? "earlier events are those of another run of the daemon"
        : `${event.lost} events are no longer kept`;
  }
}

/** Pure: the traffic of all endpoints together, a line for each slot. */
export function trafficText({ to, step, slots, total, latency_ms }: Traffic, paint: Paint): string {
  const end = Date.parse(to);
  const at = (column: readonly number[], i: number): number => column[i] ?? 0;
  const rows = Array.from({ length: slots }, (_, i) => [
    timeText(new Date(end - (slots - i) * step * 1000).toISOString()),
    String(at(total.active, i)),
    String(at(total.opened, i)),
    String(at(total.failed, i)),
    rateText(total, "up", i, step),
    rateText(total, "down", i, step),
    latencyText(latency_ms.first_byte.p50[i]),
    latencyText(latency_ms.first_byte.p99[i]),
  ]);
  const headings = ["FROM", "OPEN", "NEW", "FAILED", "UP", "DOWN", "FIRST BYTE P50", "P99"];
  return table(headings, rows, paint);
}

const rateText = (columns: Columns, name: "up" | "down", i: number, step: number): string =>
  `${bytesText((columns[name][i] ?? 0) / step)}/s`;

const latencyText = (value: number | null | undefined): string =>
  value === null || value === undefined ? "-" : ms(value);
