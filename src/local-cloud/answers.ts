import type { Context } from "hono";
import type { z } from "zod";
import { newId } from "./store.ts";

/** Where ngrok's own number for a refusal is not known. */
export const noNumber = "ERR_NGROK_0";

/**
 * A refusal in ngrok's shape. Source: docs/protocol.md, "ngrok's API"; the
 * codes are those of ngrok's public error reference.
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
 * The body that `schema` describes, or the refusal to answer with: as strict as
 * ngrok, which takes no field that it does not know.
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
  const body = schema.safeParse(json);
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
