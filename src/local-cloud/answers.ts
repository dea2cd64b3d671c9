/** Parts of all responses: refusals in ngrok's form, and request bodies. */
import type { Context } from "hono";
import type { z } from "zod";
import { newId } from "./store.ts";

/** For refusals whose code at ngrok is unknown. */
export const noNumber = "ERR_NGROK_0";

/**
 * An error response in ngrok's form (docs/protocol.md, "ngrok's API"). The
 * codes are from ngrok's public error reference.
 */
export function refusal(
  status: number,
  code: string,
  msg: string,
  headers: Record<string, string> = {},
): Response {
  const body = {
    error_code: code,
    status_code: status,
    msg,
    details: { operation_id: newId("op") },
  };
  return Response.json(body, { status, headers });
}

/**
 * For a path or a method that the API does not have. ngrok sends this reply
 * before it checks the key, without a code and an operation.
 */
export const noRoute = (path: string): Response =>
  Response.json({ status_code: 404, msg: "Not Found", details: { path } }, { status: 404 });

/** For an id that there is not, or that is another account's. */
export function noResource(): Response {
  const details = { operation_id: newId("op") };
  return Response.json({ status_code: 404, msg: "Resource not found", details }, { status: 404 });
}

/**
 * Returns the parsed body, or a refusal. Unknown fields are refused, and nulls
 * count as absent, as at ngrok.
 */
export async function readBody<T extends z.ZodType>(
  c: Context,
  schema: T,
): Promise<z.output<T> | Response> {
  const type = c.req.header("content-type");
  if (type === undefined)
    return refusal(400, "ERR_NGROK_216", "You did not provide a Content-Type with your request.");
  if (!/^application\/json\b/i.test(type))
    return refusal(400, "ERR_NGROK_210", `The content type '${type}' is not supported by the API.`);
  const json: unknown = await c.req.json().catch(() => undefined);
  if (json === undefined)
    return refusal(400, "ERR_NGROK_213", `The ${type} request body could not be parsed.`);
  const body = schema.safeParse(withoutNulls(json));
  if (body.success) return body.data;
  const [issue] = body.error.issues;
  const field = (issue?.path ?? []).join(".");
  if (issue?.code === "unrecognized_keys") {
    const unknown = [...issue.path, issue.keys[0]].join(".");
    return refusal(
      400,
      "ERR_NGROK_214",
      `The request parameter '${unknown}' is unknown and not expected.`,
    );
  }
  return refusal(
    400,
    "ERR_NGROK_215",
    `The value provided for the request parameter '${field}' is invalid: ${issue?.message}`,
  );
}

/** Fields that are null are left out, at every depth; items of lists stay. */
function withoutNulls(json: unknown): unknown {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return json;
  return Object.fromEntries(
    Object.entries(json)
      .filter(([, value]) => value !== null)
      .map(([field, value]) => [field, withoutNulls(value)]),
  );
}
