import type { HostPort } from "../model/host-port.ts";
import { hostPortText } from "../model/host-port.ts";
import type { Asked } from "../observe/http-server.ts";

/** Why a request is not looked at any further. */
export interface Refusal {
  readonly status: 400 | 403 | 405 | 415 | 421;
  readonly reason: string;
}

/**
 * Headers that may be there only once, since programs disagree about a second
 * one.
 */
const single = [
  "host",
  "origin",
  "cookie",
  "content-length",
  "content-type",
  "transfer-encoding",
  "upgrade",
  "last-event-id",
  "sec-fetch-site",
  "sec-fetch-mode",
];

/** Nothing is encoded, and nothing is relative. */
const plainTarget =
  /^(?:\/(?:[a-z0-9_-][a-z0-9._-]*(?:\/[a-z0-9_-][a-z0-9._-]*)*)?)(?:\?[\x21-\x7e]*)?$/i;

/**
 * Pure: why a request is not served, for any sender; undefined if it is. A
 * request that two programs may read differently is refused.
 */
export function formRefusal({ method, target, version, headers }: Asked): Refusal | undefined {
  const has = (name: string): boolean => headers.some(([one]) => one === name);
  if (!["GET", "HEAD", "POST"].includes(method))
    return { status: 405, reason: "only GET, HEAD and POST are served" };
  if (version !== "1.1" && version !== "1.0")
    return { status: 400, reason: "only HTTP/1.1 and HTTP/1.0 are served" };
  if (!plainTarget.test(target) || target.includes("#"))
    return { status: 400, reason: "the path is not a plain one" };
  const twice = single.find((name) => headers.filter(([one]) => one === name).length > 1);
  if (twice !== undefined) return { status: 400, reason: `the header ${twice} is there twice` };
  if (has("transfer-encoding"))
    return { status: 400, reason: "a body has to come with its length" };
  if (has("upgrade")) return { status: 400, reason: "no other protocol is served here" };
  return undefined;
}

/**
 * Pure: why a request is not from a page of ours; undefined if it is, or from a
 * program that is no browser. A page of another site cannot forge these
 * headers: not by DNS rebinding, not by a form, not by a script.
 */
export function originRefusal(
  { method, target, headers }: Asked,
  hosts: readonly string[],
): Refusal | undefined {
  const header = (name: string): string | undefined => headers.find(([one]) => one === name)?.[1];
  const host = header("host");
  if (host === undefined || !hosts.includes(host))
    return { status: 421, reason: "this is not a name of this server" };
  const origin = header("origin");
  if (origin !== undefined && origin !== `http://${host}`)
    return { status: 403, reason: "the request comes from a page of another site" };
  const site = header("sec-fetch-site");
  const isLink = target.startsWith(`${openPath}?`) && header("sec-fetch-mode") === "navigate";
  if (site !== undefined && site !== "same-origin" && site !== "none" && !isLink)
    return { status: 403, reason: "the request comes from a page of another site" };
  if (method !== "POST") return undefined;
  if (origin === undefined) return { status: 403, reason: "a change needs the header Origin" };
  return isJson(header("content-type"))
    ? undefined
    : { status: 415, reason: "the body has to be application/json" };
}

const isJson = (type = ""): boolean => /^application\/json(?:;\s*charset=utf-8)?$/i.test(type);

/** Where the one-time link leads. */
export const openPath = "/open";

/** Pure: the values of Host that mean this server. */
export function hostsOf(address: HostPort): string[] {
  const { port } = address;
  return [...new Set([hostPortText(address), hostPortText({ host: "localhost", port })])];
}

/** Pure: the value of a cookie; undefined if there is none, or two. */
export function cookieIn({ headers }: Asked, name: string): string | undefined {
  const text = headers.find(([one]) => one === "cookie")?.[1] ?? "";
  const values = text
    .split(";")
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1));
  return values.length === 1 ? values[0] : undefined;
}
