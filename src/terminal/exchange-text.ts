import type { Exchanges } from "../desk/exchange-schemas.ts";
import { hostPortText, parseHostPort } from "../model/host-port.ts";
import { readable } from "../model/parsed.ts";
import { ms, timeText } from "./history-text.ts";
import { bytesText, type Paint } from "./say.ts";

type Exchange = Exchanges["exchanges"][number];

/** Pure: an exchange on one line. */
export function exchangeLine(exchange: Exchange, paint: Paint): string {
  const { id, started_at, status, note, times_ms, request, reply } = exchange;
  const first = `${paint.dim(timeText(started_at))} ${String(id).padStart(5)}`;
  const remark = note === "" ? "" : `; ${readable(note)}`;
  if (exchange.method === "")
    return `${first} ${paint.careful("---")} ${paint.name(exchange.endpoint)} not read${remark}`;
  const what = `${exchange.method} ${paint.name(placeOf(exchange))}`;
  const sizes = `${bytesText(request.body_bytes)} up, ${bytesText(reply?.body_bytes ?? 0)} down`;
  return `${first} ${statusText(status, paint)} ${what} ${sizes}, ${ms(times_ms.total)}${remark}`;
}

/** `hello.demo/path`; the port only if it is not 80. */
function placeOf({ endpoint, host, target }: Exchange): string {
  if (!target.startsWith("/")) return readable(target);
  const address = parseHostPort(endpoint, 80);
  const isUsual = !address.ok || address.value.port === 80;
  return readable(`${isUsual ? host : hostPortText(address.value)}${target}`);
}

function statusText(status: number, paint: Paint): string {
  if (status === 0) return paint.bad("---");
  if (status >= 500) return paint.bad(String(status));
  return (status >= 400 ? paint.careful : paint.good)(String(status));
}
