/** The heads of HTTP/1 messages. All of it is pure. */

/** How the end of a body is found (RFC 9112, section 6). */
export type Framing =
  | { readonly kind: "length"; readonly n: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "close" }
  /** Another protocol follows. */
  | { readonly kind: "opaque" };

export type RawField = readonly [name: string, value: string];

export interface RequestHead {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  readonly fields: readonly RawField[];
  readonly framing: Framing;
  /** The connection may speak another protocol after the reply. */
  readonly switches: "connect" | "upgrade" | undefined;
}

export interface ReplyHead {
  readonly version: string;
  readonly status: number;
  readonly reason: string;
  readonly fields: readonly RawField[];
}

/**
 * The head of a request, from its lines without the empty one. A text is the
 * reason if it is not understood.
 */
export function readRequest(text: string): RequestHead | string {
  const [first = "", ...lines] = text.split("\r\n");
  if (first === "PRI * HTTP/2.0") return isHttp2;
  const line = requestLine.exec(first);
  if (line === null) return "the first line of a request is not valid";
  const [, method = "", target = "", version = ""] = line;
  const fields = fieldsIn(lines);
  if (fields === undefined) return "a line in the head of a request is not valid";
  const framing = framingOf(fields);
  if (typeof framing === "string") return `a request has ${framing}`;
  if (framing?.kind === "close")
    return "a request has a Transfer-Encoding that does not end with chunked";
  const upgrade = fields.some(([name]) => isNamed(name, "upgrade"));
  const switches = method === "CONNECT" ? "connect" : upgrade ? "upgrade" : undefined;
  return { method, target, version, fields, framing: framing ?? noBody, switches };
}

/** The same for a reply. */
export function readReply(text: string): ReplyHead | string {
  const [first = "", ...lines] = text.split("\r\n");
  const line = statusLine.exec(first);
  if (line === null) return "the first line of a reply is not valid";
  const fields = fieldsIn(lines);
  if (fields === undefined) return "a line in the head of a reply is not valid";
  const [, version = "", status = "", reason = ""] = line;
  return { version, status: Number(status), reason, fields };
}

/**
 * How the body of a final reply ends. It depends on the request (RFC 9112,
 * section 6.3).
 */
export function replyFraming(
  { status, fields }: ReplyHead,
  { method, switches }: Pick<RequestHead, "method" | "switches">,
): Framing | string {
  if (status === 101)
    return switches === "upgrade" ? opaque : "a reply switches protocols without being asked";
  if (method === "CONNECT" && status >= 200 && status < 300) return opaque;
  if (method === "HEAD" || status === 204 || status === 304) return noBody;
  const framing = framingOf(fields);
  return typeof framing === "string" ? `a reply has ${framing}` : (framing ?? untilClose);
}

/** The reason that ends the reading of a connection with HTTP/2. */
export const isHttp2 = "it is HTTP/2";

export const noBody: Framing = { kind: "length", n: 0 };
const untilClose: Framing = { kind: "close" };
const opaque: Framing = { kind: "opaque" };

const requestLine = /^([!#$%&'*+\-.^_`|~\w]{1,32}) ([\x21-\x7e\x80-\xff]+) (HTTP\/1\.[01])$/;
const statusLine = /^(HTTP\/1\.[01]) ([1-9]\d\d)(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?$/;
/** Values are trimmed afterwards: here that would take quadratic time. */
const fieldLine = /^[!#$%&'*+\-.^_`|~\w]+:[^\x00-\x08\x0a-\x1f\x7f]*$/;

function fieldsIn(lines: readonly string[]): RawField[] | undefined {
  const fields: RawField[] = [];
  for (const line of lines) {
    if (!fieldLine.test(line)) return undefined;
    const colon = line.indexOf(":");
    fields.push([line.slice(0, colon), trimmed(line.slice(colon + 1))]);
  }
  return fields;
}

/** Spaces and tabs only; trim() knows more. */
function trimmed(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

const isNamed = (name: string, wanted: string): boolean =>
  name.length === wanted.length && name.toLowerCase() === wanted;

/** Undefined if neither field is there. A text is the fault. */
function framingOf(fields: readonly RawField[]): Framing | string | undefined {
  let codings = "";
  let length: string | undefined;
  for (const [name, value] of fields) {
    if (isNamed(name, "transfer-encoding")) codings += `,${value}`;
    else if (isNamed(name, "content-length")) {
      if (length !== undefined && length !== value) return "several values of Content-Length";
      length = value;
    }
  }
  // Programs differ in which of the two counts.
  if (codings !== "" && length !== undefined)
    return "both a Transfer-Encoding and a Content-Length";
  if (codings !== "") {
    const list = codings.slice(1).toLowerCase().split(",").map(trimmed);
    const first = list.indexOf("chunked");
    if (first >= 0 && first < list.length - 1) return "a coding behind chunked";
    return first < 0 ? untilClose : { kind: "chunked" };
  }
  if (length === undefined) return undefined;
  return /^\d{1,15}$/.test(length)
    ? { kind: "length", n: Number(length) }
    : "a Content-Length that is not a number";
}
