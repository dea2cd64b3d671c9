import { STATUS_CODES } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import type { MiddlewareHandler } from "hono";
import { noNumber, refusal } from "./answers.ts";
import type { Faults } from "./faults.ts";

/**
 * Middleware for the faults of the API, which act before the check of the key.
 * The faults of lists are in api-views.ts.
 */
export function misbehaving(faults: Faults, stop: AbortSignal): MiddlewareHandler {
  return async (c, next) => {
    const only = faults.list().find(({ fault }) => fault.name === "only")?.fault.value;
    if (only !== undefined && only !== c.req.method) return await next();
    const late = faults.take("latency");
    if (late !== undefined) await delay(late.value, undefined, { signal: stop });
    const fault = faults.take("status", "html", "empty", "drop", "huge");
    switch (fault?.name) {
      case "status":
        return refusedWith(fault.value, fault.retryAfterSeconds);
      case "html":
        return proxyPage(fault.value);
      case "empty":
        return c.body("", 200);
    }
    const ahead = faults.take("date");
    await next();
    if (ahead !== undefined)
      c.header("date", new Date(Date.now() + ahead.value * 1000).toUTCString());
    if (fault?.name === "drop") c.res = await brokenOff(c.res);
    if (fault?.name === "huge") c.res = await inflated(c.res, fault.value);
    return undefined;
  };
}

function proxyPage(status: number): Response {
  const title = `${status} ${STATUS_CODES[status] ?? "Error"}`;
  const page = `<html><head><title>${title}</title></head><body><h1>${title}</h1></body></html>`;
  return new Response(page, { status, headers: { "content-type": "text/html; charset=UTF-8" } });
}

/** From ngrok's public error reference: an invalid key, and a rate limit. */
const codes: Readonly<Record<number, string>> = {
  401: "ERR_NGROK_203",
  403: "ERR_NGROK_203",
  429: "ERR_NGROK_226",
};

function refusedWith(status: number, retryAfterSeconds: number | undefined): Response {
  const headers: Record<string, string> =
    retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) };
  return refusal(
    status,
    codes[status] ?? noNumber,
    `The local cloud was told to answer ${status}.`,
    headers,
  );
}

/** Sends the first half of the body, then breaks the connection. */
async function brokenOff(response: Response): Promise<Response> {
  const whole = new Uint8Array(await response.arrayBuffer());
  let sent = false;
  const body = new ReadableStream({
    async pull(controller) {
      if (!sent) controller.enqueue(whole.subarray(0, Math.ceil(whole.length / 2)));
      // After a pause, so that the first half is sent.
      else await delay(10).then(() => controller.error(new Error("broken off by a fault")));
      sent = true;
    },
  });
  return new Response(body, { headers: { "content-type": "application/json" } });
}

async function inflated(response: Response, megabytes: number): Promise<Response> {
  if (response.status === 204) return response;
  const json = (await response.json()) as object;
  return Response.json(
    { ...json, padding: "x".repeat(megabytes * 1_000_000) },
    { status: response.status },
  );
}
