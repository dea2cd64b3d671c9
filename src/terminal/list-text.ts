import type { ListItem } from "../desk/reply-schemas.ts";
import { urlOf } from "../model/endpoint.ts";
import { hostPortText } from "../model/host-port.ts";
import { readable } from "../model/parsed.ts";
import { isServed } from "../model/state.ts";
import type { Paint } from "./say.ts";
import { table } from "./table.ts";
import { widthOf, wrapped } from "./width.ts";

/**
 * Pure: the text of `ngrokd list`: a line for each endpoint, and remarks below
 * it. A URL that would make the table wider than `width` has a line of its own,
 * so that the other lines stay short.
 */
export function listText(items: readonly ListItem[], paint: Paint, width: number): string {
  const hasProfiles = items.some(({ profile }) => profile !== undefined);
  const rows = items.map((item) => [
    readable(urlOf(item)),
    ...(hasProfiles ? [item.profile ?? ""] : []),
    item.ip === "" ? "-" : hostPortText({ host: item.ip, port: item.port }) + forOthers(item),
    tintOf(item, paint)(item.state),
    connectionsText(item),
  ]);
  const headings = ["URL", ...(hasProfiles ? ["PROFILE"] : []), "ADDRESS", "STATE", "CONNECTIONS"];
  const others = [headings, ...rows].map(([, ...cells]) => cells.map(widthOf));
  const taken = headings
    .slice(1)
    .map((_, i) => 2 + others.reduce((columns, widths) => Math.max(columns, widths[i] ?? 0), 0));
  const room = taken.reduce((left, columns) => left - columns, width);
  const isLong = (url = ""): boolean => widthOf(url) > Math.max(30, room);
  const short = rows.map(([url = "", ...cells]) => [isLong(url) ? "" : url, ...cells]);
  const [head = "", ...lines] = table(headings, short, paint).split("\n");
  const ownLine = ([url = ""]: readonly string[] = []): string[] => (isLong(url) ? [url] : []);
  return [
    head,
    ...items.flatMap((item, i) => [
      ...ownLine(rows[i]),
      lines[i] ?? "",
      ...remarkLines(item, width),
    ]),
  ].join("\n");
}

/** The address for other machines. */
const forOthers = ({ listen_interface: listen, network_port: port }: ListItem): string =>
  port === 0 ? "" : `, ${hostPortText({ host: listen, port })}`;

/** Pure: the colour of an endpoint's state. */
export function tintOf({ state }: ListItem, paint: Paint): Paint["good"] {
  if (isServed(state)) return paint.good;
  return state === "failed" ? paint.bad : paint.careful;
}

function remarkLines({ reason, warning, aliases, connections }: ListItem, width: number): string[] {
  const { last_error: error, last_notice: notice } = connections;
  const failure = error === "" ? "" : `the latest connection failed: ${error}`;
  // A refusal has its notices already.
  const said = notice === "" || error.includes(notice) ? "" : `ngrok says: ${notice}`;
  const also = aliases === undefined ? "" : `also ${aliases.join(", ")}`;
  return [reason, warning, also, said, failure]
    .flatMap((remark) => wrapped(remark, width - 4))
    .map((line) => `    ${line}`);
}

function connectionsText({ connections, ip }: ListItem): string {
  if (ip === "") return "-";
  const { active, total, errors, refused } = connections;
  const failed = errors + refused > 0 ? `, ${errors + refused} failed` : "";
  return `${active} open, ${total} total${failed}`;
}
