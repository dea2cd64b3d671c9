import type { Body, Exchange, Message } from "./exchange.ts";
import type { Keeping } from "./reader.ts";
import { withoutValues } from "./redact.ts";

/** Pure: an exchange without what may not be kept any more. */
export function narrowed(exchange: Exchange, keeping: Keeping): Exchange {
  const { request, reply } = exchange;
  const target = keeping.queries ? exchange.target : withoutValues(exchange.target);
  return {
    ...exchange,
    target,
    hidden: exchange.hidden || target !== exchange.target,
    request: narrowedMessage(request, keeping),
    reply: reply && narrowedMessage(reply, keeping),
  };
}

const narrowedMessage = <T extends Message>(message: T, keeping: Keeping): T => ({
  ...message,
  fields: message.fields.map(({ name, value }) => ({
    name,
    value: keeping.keepsField(name) ? value : undefined,
  })),
  body: narrowedBody(message.body, keeping.bodyBytes),
});

function narrowedBody(body: Body | undefined, most: number): Body | undefined {
  if (body === undefined || most === 0) return undefined;
  if (body.bytes.length <= most) return body;
  // A copy: a slice would hold all of it.
  return { bytes: new Uint8Array(body.bytes.subarray(0, most)), whole: false };
}
