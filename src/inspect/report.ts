// The small zod, as for all replies of the control socket.
import * as z from "zod/mini";
import { type Body, exchangeEnds, type Message } from "./exchange.ts";
import type { Kept } from "./store.ts";

/** Null: the value is not kept. */
const fieldSchema = z.tuple([z.string(), z.nullable(z.string())]);

const messageSchema = z.object({
  version: z.string(),
  headers: z.array(fieldSchema),
  head_bytes: z.number(),
  body_bytes: z.number(),
  /** In base64; null if it is not kept, or was not asked for. */
  body: z.nullable(z.string()),
  /** Whether `body` has all bytes. */
  body_whole: z.boolean(),
});
export type MessageReport = z.infer<typeof messageSchema>;

/** An exchange, as the control socket and `--json` show it. */
export const exchangeSchema = z.object({
  id: z.number(),
  endpoint: z.string(),
  host: z.string(),
  client: z.string(),
  started_at: z.string(),
  /** Empty if the request was not read. */
  method: z.string(),
  target: z.string(),
  /** 0 without a reply. */
  status: z.number(),
  reason: z.string(),
  end: z.enum(exchangeEnds),
  note: z.string(),
  times_ms: z.object({
    send: z.number(),
    wait: z.number(),
    receive: z.number(),
    total: z.number(),
  }),
  request: messageSchema,
  reply: z.nullable(messageSchema),
});
export type ExchangeReport = z.infer<typeof exchangeSchema>;

/** Pure. Without `bodies` they are left out. */
export function reportOf({ id, exchange }: Kept, bodies: boolean): ExchangeReport {
  const { startedAt, times, request, reply, hidden: _, ...same } = exchange;
  return {
    id,
    endpoint: same.endpoint,
    host: same.host,
    client: same.client,
    started_at: startedAt.toISOString(),
    method: same.method,
    target: same.target,
    status: reply?.status ?? 0,
    reason: reply?.reason ?? "",
    end: same.end,
    note: same.note,
    times_ms: {
      send: rounded(times.send),
      wait: rounded(times.wait),
      receive: rounded(times.receive),
      total: rounded(times.total),
    },
    request: messageReport(request, bodies),
    reply: reply === undefined ? null : messageReport(reply, bodies),
  };
}

const messageReport = (message: Message, bodies: boolean): MessageReport => ({
  version: message.version,
  headers: message.fields.map(({ name, value }) => [name, value ?? null]),
  head_bytes: message.headBytes,
  body_bytes: message.bodyBytes,
  ...bodyReport(bodies ? message.body : undefined),
});

const bodyReport = (body: Body | undefined): Pick<MessageReport, "body" | "body_whole"> =>
  body === undefined
    ? { body: null, body_whole: false }
    : { body: Buffer.from(body.bytes).toString("base64"), body_whole: body.whole };

const rounded = (ms: number): number => Math.round(ms * 1000) / 1000;
