import { quote } from "../../model/parsed.ts";
import type { Conn } from "../../net/types.ts";
import type { Greeted } from "./greet.ts";
import { settingsFrame } from "./http2.ts";

/** A fatal alert `unrecognized_name` (RFC 6066). */
const unrecognizedName = new Uint8Array([21, 3, 3, 0, 2, 2, 112]);

/** How long a refused client may take to read the reply. */
const lingerMs = 2000;

/**
 * Tells a client that no endpoint has the name, in the client's own protocol,
 * and ends the connection.
 */
export async function refuse(conn: Conn, naming: Greeted["naming"]): Promise<void> {
  const reply = replyTo(naming);
  if (reply === undefined) return conn.abort();
  await lastWords(conn, reply);
}

/** Sends a reply, and ends the connection when the client has read it. */
export async function lastWords(conn: Conn, reply: Uint8Array): Promise<void> {
  const timer = setTimeout(() => conn.abort(), lingerMs);
  try {
    await conn.write(reply);
    conn.closeWrite();
    // A close with bytes unread would be a reset, and the reply might be lost.
    while ((await conn.read()) !== null);
  } catch {
    // The client is gone.
  } finally {
    clearTimeout(timer);
    conn.close();
  }
}

function replyTo(naming: Greeted["naming"]): Uint8Array | undefined {
  switch (naming.kind) {
    case "tls":
      return unrecognizedName;
    case "http":
      return page(421, "Misdirected Request", reasonOf(naming.host));
    case "http2":
      return goAway(reasonOf(naming.host));
    case "unreadable":
      return naming.http === undefined
        ? undefined
        : page(400, "Bad Request", `This request was refused, since ${naming.reason}.`);
  }
}

/** The server's SETTINGS, and a GOAWAY: no request was processed. */
function goAway(reason: string): Uint8Array {
  const text = Buffer.from(`ngrokd: ${reason}`).subarray(0, 200);
  const head = [0, 0, 8 + text.length, 7, 0, 0, 0, 0, 0];
  const lastStreamAndCode = [0, 0, 0, 0, 0, 0, 0, 0];
  return Buffer.concat([settingsFrame, Buffer.from([...head, ...lastStreamAndCode]), text]);
}

const reasonOf = (host: string | undefined): string =>
  host === undefined
    ? "The request names no host, and this port has several endpoints."
    : host === ""
      ? "The request names no endpoint. It has to use the endpoint's host name."
      : `No endpoint at this port has the name ${quote(host)}.`;

function page(status: number, title: string, text: string): Uint8Array {
  const body = `ngrokd: ${text}\nThe machine with ngrokd lists its endpoints with \`ngrokd list\`.\n`;
  const head = [
    `HTTP/1.1 ${status} ${title}`,
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Cache-Control: no-store",
    "Connection: close",
  ];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`);
}
