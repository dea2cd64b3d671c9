/** The API's check of keys and versions, with ngrok's own refusals. */
import type { Context, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import { quote } from "../model/parsed.ts";
import { noRoute, refusal } from "./answers.ts";

/**
 * `keys`: the accepted keys, each with its account. As at ngrok, a request that
 * no route is for is refused before its key is looked at.
 */
export function authorized(keys: ReadonlyMap<string, string>): MiddlewareHandler {
  return async (c, next) => {
    const hasRoute = matchedRoutes(c).some(({ method }) => method !== "ALL");
    if (!hasRoute) return noRoute(c.req.path);
    const refused = keyRefusal(c, keys) ?? versionRefusal(c);
    if (refused === undefined) await next();
    return refused;
  };
}

/** The account of the request's key; undefined if the key is not accepted. */
export const accountOf = (c: Context, keys: ReadonlyMap<string, string>): string | undefined =>
  keys.get(keyIn(c) ?? "");

/**
 * The token of Bearer, or the password of Basic authentication; undefined if
 * the header has neither.
 */
function keyIn(c: Context): string | undefined {
  const [, scheme, value = ""] =
    /^(Bearer|Basic) (\S+)$/i.exec(c.req.header("authorization") ?? "") ?? [];
  if (scheme?.toLowerCase() !== "basic") return scheme === undefined ? undefined : value;
  return /^[^:]*:(.+)$/.exec(Buffer.from(value, "base64").toString())?.[1];
}

/** ngrok replies with 403, also without a key, and quotes a refused key. */
function keyRefusal(c: Context, keys: ReadonlyMap<string, string>): Response | undefined {
  if (c.req.header("authorization") === undefined)
    return refusal(
      403,
      "ERR_NGROK_200",
      "The ngrok API requires that you set the Authorization header.",
    );
  const key = keyIn(c);
  if (key === undefined)
    return refusal(
      403,
      "ERR_NGROK_201",
      "The ngrok API requires Basic or Bearer authentication in the Authorization header.",
    );
  return keys.has(key)
    ? undefined
    : refusal(
        403,
        "ERR_NGROK_203",
        `The API authentication you specified is properly formed, but it is invalid. Your credential: '${key}'.`,
      );
}

function versionRefusal(c: Context): Response | undefined {
  const version = c.req.header("ngrok-version");
  if (version === undefined)
    return refusal(
      400,
      "ERR_NGROK_218",
      "Your request has not specified an API version: set Ngrok-Version to 2.",
    );
  return version === "2"
    ? undefined
    : refusal(
        400,
        "ERR_NGROK_217",
        `The provided API version ${quote(version)} is not supported; 2 is.`,
      );
}
