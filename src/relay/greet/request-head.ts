import { parseHostname } from "../../model/hostname.ts";
import { indexOfText, latin1 } from "../../model/latin1.ts";
import type { Named } from "./naming.ts";

/** How the end of a request's body is found (RFC 9112, section 6). */
export type Framing =
  | { readonly kind: "chunked" }
  | { readonly kind: "length"; readonly n: number };

/** The head of one HTTP/1 request, as far as a proxy of bytes needs it. */
export interface RequestHead {
  /** Where the body begins, counted from the start of the head. */
  readonly end: number;
  readonly host: Named;
  /** The same as it was sent; undefined if the request names none. */
  readonly authority: string | undefined;
  readonly framing: Framing;
  /** The connection may speak another protocol after the reply. */
  readonly switches: "upgrade" | "connect" | undefined;
}

export type HeadReading =
  | { readonly kind: "more" }
  | ({ readonly kind: "head" } & RequestHead)
  /** The reason fits after "the request was refused, since". */
  | { readonly kind: "bad"; readonly reason: string };

/** The most bytes of a head. */
export const longestHead = 64 * 1024;

/**
 * Pure: the head at the start of `bytes`. The first `seen` of them are known
 * to have no end of a head. It is strict: what servers understand in different
 * ways is `bad`, since a request must not reach the wrong endpoint.
 */
export function readHead(bytes: Uint8Array, seen = 0): HeadReading {
  const start = skipBlank(bytes);
  const at = indexOfText(bytes, "\r\n\r\n", Math.max(start, seen - 3));
  if ((at < 0 ? bytes.length : at) > longestHead) return bad("its head is longer than 64 KiB");
  if (at < 0)
    return couldBeHead(latin1(bytes, start, start + 33)) ? { kind: "more" } : bad("it is not HTTP");
  const text = latin1(bytes, start, at);
  const request = requestLine.exec(text);
  if (request === null) return bad("its first line is not valid");
  const [line, method = "", target = "", minor = ""] = request;
  const fields = fieldsIn(text.slice(line.length));
  if (fields === undefined) return bad("a line of its head is not valid");
  const codings = fields["transfer-encoding"];
  // Servers differ in whether it counts there.
  if (codings.length > 0 && minor === "0") return bad("it has a Transfer-Encoding in HTTP/1.0");
  const framing = framingOf(codings, fields["content-length"]);
  if (typeof framing === "string") return bad(framing);
  const named = hostOf(method, target, fields.host);
  if (typeof named === "string") return bad(named);
  const { host, authority } = named;
  const switches =
    method === "CONNECT" ? "connect" : fields.upgrade.length > 0 ? "upgrade" : undefined;
  return { kind: "head", end: at + 4, host, authority, framing, switches };
}

const bad = (reason: string): HeadReading => ({ kind: "bad", reason });

const requestLine = /^([!#$%&'*+\-.^_`|~\w]+) ([\x21-\x7e\x80-\xff]+) HTTP\/1\.([01])(?=\r\n|$)/;

/** The values of the fields that count. */
class Fields {
  readonly host: string[] = [];
  readonly "transfer-encoding": string[] = [];
  readonly "content-length": string[] = [];
  readonly upgrade: string[] = [];
}

/**
 * The fields in lines that each begin with a line end; undefined if a line is
 * not valid. Two expressions go through all lines: that is cheaper than to cut
 * them, and new connections pay for it.
 */
function fieldsIn(text: string): Fields | undefined {
  if (invalidLine.test(text)) return undefined;
  const fields = new Fields();
  countingField.lastIndex = 0;
  for (let field = countingField.exec(text); field !== null; field = countingField.exec(text)) {
    const [, name = "", value = ""] = field;
    fields[name.toLowerCase() as keyof Fields].push(trimmed(value));
  }
  return fields;
}

/** Values are trimmed afterwards: here that would take quadratic time. */
const invalidLine = /\r\n(?![!#$%&'*+\-.^_`|~\w]+:[^\x00-\x08\x0a-\x1f\x7f]*(?:\r\n|$))/;
const countingField = /\r\n(host|transfer-encoding|content-length|upgrade):([^\r]*)/gi;

/** Servers skip empty lines before a request. */
function skipBlank(bytes: Uint8Array): number {
  let at = 0;
  while (at < 8 && (bytes[at] === 0x0d || bytes[at] === 0x0a)) at += 1;
  return at;
}

/** Spaces and tabs only; trim() knows more. */
function trimmed(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

/** A method has a few letters, and then there is a space. */
const couldBeHead = (start: string): boolean => /^[!#$%&'*+\-.^_`|~\w]{0,32}(?:$| )/.test(start);

const noBody: Framing = { kind: "length", n: 0 };

function framingOf(codings: readonly string[], lengths: readonly string[]): Framing | string {
  if (codings.length > 0) {
    if (lengths.length > 0) return "it has both a Transfer-Encoding and a Content-Length";
    const list = codings.flatMap((text) => text.toLowerCase().split(",").map(trimmed));
    return list.at(-1) === "chunked" && list.indexOf("chunked") === list.length - 1
      ? { kind: "chunked" }
      : "its Transfer-Encoding does not end with chunked";
  }
  const [length] = lengths;
  if (length === undefined) return noBody;
  if (lengths.some((other) => other !== length)) return "it has several values of Content-Length";
  return /^\d{1,15}$/.test(length)
    ? { kind: "length", n: Number(length) }
    : "its Content-Length is not a number";
}

/**
 * The host of a target such as `http://a.demo/x` counts before the field's. The
 * target of CONNECT is a host and its port.
 */
function hostOf(
  method: string,
  target: string,
  fields: readonly string[],
): Pick<RequestHead, "host" | "authority"> | string {
  if (fields.length > 1) return "it has several Host fields";
  const absolute = method === "CONNECT" ? target : authorityIn(target);
  const [field] = fields;
  const authority = absolute ?? field;
  const host = namedIn(authority);
  if (absolute !== undefined && field !== undefined && namedIn(field) !== host)
    return "its target and its Host field have different hosts";
  return { host, authority };
}

/** Undefined in a path, which nearly all targets are. */
const authorityIn = (target: string): string | undefined =>
  target.startsWith("/")
    ? undefined
    : /^[a-z][a-z\d+.-]*:\/\/(?:[^/?#@]*@)?([^/?#]*)/i.exec(target)?.[1];

/** The host of `host:port`. */
export function namedIn(authority: string | undefined): Named {
  if (authority === undefined || authority === "") return undefined;
  const name = parseHostname(authority.replace(/:\d*$/, ""));
  return name.ok ? name.value : "";
}

/**
 * Pure: the same head with `authority` as the host of its target, and in its
 * only Host field. `head` must have been read by {@link readHead}.
 */
export function withHost(head: Uint8Array, authority: string): Uint8Array {
  const text = latin1(head);
  const [first = "", ...lines] = text.replace(/^[\r\n]+/, "").split("\r\n");
  const line = first.replace(/^(\S+ [a-z][a-z\d+.-]*:\/\/)[^/?# ]*/i, `$1${authority}`);
  const others = lines.filter((field) => !/^host:/i.test(field));
  return Buffer.from([line, `Host: ${authority}`, ...others].join("\r\n"), "latin1");
}
