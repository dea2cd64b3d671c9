import { printable } from "../model/parsed.ts";
import { bytesText } from "../terminal/say.ts";
import { countsText } from "./head.ts";
import { type Look, nameOf } from "./look.ts";
import { rowsOf } from "./rows.ts";
import { type Style, shortBytes, shortCount, shortMs } from "./style.ts";

/** Endpoints of a block of lines. */
const mostRows = 10;

/**
 * Pure: a look as lines, for a place without cursor movement: one about the
 * daemon, and one for each of the busiest endpoints.
 */
export function lookLines({ at, status, items, traffic }: Look, { paint }: Style): string {
  const { phase, reason, connections } = status;
  const last = (values: readonly number[]): string => `${bytesText(values.at(-1) ?? 0)}/s`;
  const state = reason === "" ? phase : `${phase}: ${reason}`;
  const facts = [
    `${state}; ${countsText(status)}`,
    `${connections.active} open`,
    `${last(traffic.total.up)} up`,
    `${last(traffic.total.down)} down`,
  ];
  const busy = rowsOf(items, { sort: "traffic", isReversed: false, search: "" })
    .slice(0, mostRows)
    .filter(({ connections, per_second }) => connections.active > 0 || isMoving(per_second));
  const lines = busy.map((item) => {
    const { connections, per_second, latency_ms } = item;
    return (
      `  ${paint.name(nameOf(item))} ${connections.active} open, ` +
      `${shortCount(per_second?.connections ?? 0)} new/s, ` +
      `${shortBytes(per_second?.bytes_up ?? 0)}/s up, ${shortBytes(per_second?.bytes_down ?? 0)}/s down, ` +
      `p99 ${shortMs(latency_ms.first_byte?.p99)}`
    );
  });
  return [`${at.wall.toTimeString().slice(0, 8)} ${printable(facts.join(", "))}`, ...lines].join(
    "\n",
  );
}

const isMoving = (rates: Look["items"][number]["per_second"]): boolean =>
  rates !== null && rates.connections + rates.bytes_up + rates.bytes_down + rates.failures > 0;

/** Pure: the same for programs. */
export const lookValue = ({ at, status, items, traffic }: Look) => ({
  at: at.wall.toISOString(),
  status,
  total_per_second: {
    bytes_up: traffic.total.up.at(-1) ?? 0,
    bytes_down: traffic.total.down.at(-1) ?? 0,
  },
  endpoints: items,
});
