import { matchesGlob } from "../model/glob.ts";
import type { Field } from "./exchange.ts";
import type { RawField } from "./heads.ts";

/** The text for a value that is not kept. */
export const redacted = "***";

/**
 * Fields whose values are about the message and say nothing about its sender.
 */
const plain: ReadonlySet<string> = new Set([
  ...["accept", "accept-encoding", "accept-language", "accept-ranges", "age", "allow"],
  ...["cache-control", "connection", "content-encoding", "content-language", "content-length"],
  ...["content-range", "content-type", "date", "etag", "expect", "expires", "host"],
  ...["if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"],
  ...["keep-alive", "last-modified", "pragma", "range", "retry-after", "server", "te", "trailer"],
  ...["transfer-encoding", "upgrade", "user-agent", "vary", "via"],
  ...["sec-websocket-extensions", "sec-websocket-version"],
]);

/**
 * A pattern never means these: each must be named in full. Browsers can send a
 * token for a WebSocket only as a protocol, as for Kubernetes.
 */
const secret =
  /auth|cookie|token|secret|password|passwd|credential|session|signature|key|^sec-websocket-protocol$/;

/**
 * Pure: whether the value of a field is kept. `patterns` are in lower case; `*`
 * stands for any characters.
 */
export function keepsField(name: string, patterns: readonly string[]): boolean {
  const small = name.toLowerCase();
  if (plain.has(small)) return true;
  if (patterns.length === 0) return false;
  if (patterns.includes(small)) return true;
  return !secret.test(small) && patterns.some((pattern) => matchesGlob(pattern, small));
}

/** Pure: the fields, with the values that `keeps` allows. */
export const keptFields = (
  fields: readonly RawField[],
  keeps: (name: string) => boolean,
): Field[] => fields.map(([name, value]) => ({ name, value: keeps(name) ? value : undefined }));

/**
 * Pure: the target of a request without the values of its query, and without
 * a user and a password.
 */
export function withoutValues(target: string): string {
  const at = target.indexOf("?");
  if (at < 0 && target.startsWith("/")) return target;
  const path = (at < 0 ? target : target.slice(0, at)).replace(
    /^([a-z][a-z\d+.-]*:\/\/)[^/?#]*@/i,
    `$1${redacted}@`,
  );
  if (at < 0) return path;
  const query = target
    .slice(at + 1)
    .split("&")
    .map(withoutValue);
  return `${path}?${query.join("&")}`;
}

/** `name=***`. A word without a name may itself be the secret. */
function withoutValue(part: string): string {
  if (part === "") return part;
  const at = part.indexOf("=");
  return at < 0 ? redacted : `${part.slice(0, at)}=${redacted}`;
}
