import { parseHostPort } from "../../model/host-port.ts";
import { readHead } from "./request-head.ts";

/** The first request of a connection to an HTTP proxy. */
export type ProxyRequest =
  | { readonly kind: "more" }
  /** The reason fits after "the request was refused, since". */
  | { readonly kind: "bad"; readonly reason: string }
  /** A tunnel: what follows the head is the client's stream. */
  | {
      readonly kind: "tunnel";
      readonly used: number;
      readonly host: string;
      readonly port: number;
    }
  /** A request to pass on, with `head` in the place of its own. */
  | {
      readonly kind: "request";
      readonly used: number;
      readonly host: string;
      readonly port: number;
      readonly head: Uint8Array;
    }
  /** A request to the proxy itself. */
  | {
      readonly kind: "own";
      readonly used: number;
      readonly path: string;
      readonly authority: string;
    };

/**
 * Pure: CONNECT, a request in absolute form, or one to the proxy itself. A
 * request that is passed on gets the origin's form, and `Connection: close`:
 * the next one of the connection may be for another host.
 */
export function proxyRequestIn(bytes: Uint8Array): ProxyRequest {
  const head = readHead(bytes);
  if (head.kind === "more") return { kind: "more" };
  if (head.kind === "bad") return head;
  const text = Buffer.from(bytes.subarray(0, head.end))
    .toString("latin1")
    .replace(/^[\r\n]+/, "");
  const [first = "", ...lines] = text.split("\r\n");
  const [method = "", target = "", http = ""] = first.split(" ");
  const used = head.end;
  if (method === "CONNECT") {
    const place = parseHostPort(target);
    return place.ok ? { kind: "tunnel", used, ...place.value } : bad(place.reason);
  }
  if (target.startsWith("/"))
    return { kind: "own", used, path: target, authority: head.authority ?? "" };
  const [, scheme = "", authority = "", path = ""] =
    /^([a-z][a-z\d+.-]*):\/\/(?:[^/?#@]*@)?([^/?#]*)([^#]*)/i.exec(target) ?? [];
  if (scheme.toLowerCase() !== "http")
    return bad("a proxy takes http://… and CONNECT, and nothing else");
  const place = parseHostPort(authority, 80);
  if (!place.ok) return bad(place.reason);
  const line = `${method} ${path.startsWith("/") ? path : `/${path}`} ${http}`;
  const passed = [line, `Host: ${authority}`, ...fieldsFor(lines, head.switches === "upgrade")];
  return {
    kind: "request",
    used,
    ...place.value,
    head: Buffer.from(`${passed.join("\r\n")}\r\n\r\n`, "latin1"),
  };
}

/** Without the fields that are between the client and its proxy. */
function fieldsFor(lines: readonly string[], switches: boolean): string[] {
  const kept = lines.filter(
    (line) => line !== "" && !/^(?:host|proxy-[a-z-]+|connection|keep-alive):/i.test(line),
  );
  return [...kept, `Connection: ${switches ? "Upgrade" : "close"}`];
}

const bad = (reason: string): ProxyRequest => ({ kind: "bad", reason });

/** Pure: a page of the proxy itself. */
export function proxyPage(status: string, text: string, type = "text/plain"): Uint8Array {
  const body = Buffer.from(text);
  const head = [
    `HTTP/1.1 ${status}`,
    `Content-Type: ${type}; charset=utf-8`,
    `Content-Length: ${body.length}`,
    "Cache-Control: no-store",
    "Connection: close",
  ];
  return Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), body]);
}

export const tunnelOpen: Uint8Array = Buffer.from("HTTP/1.1 200 Connection established\r\n\r\n");
