import type { Conn } from "../../net/types.ts";
import type { Courtesy, OpeningFailure } from "../forward.ts";
import { longestGreeting } from "./greet.ts";
import { proxyPage, proxyRequestIn, tunnelOpen } from "./http-proxy.ts";
import { lastWords } from "./refusal.ts";
import { methodChosen, methodsIn, reply, type SocksReply, targetIn } from "./socks5.ts";

/** What a client wants of a proxy. */
export type Wish =
  | {
      readonly kind: "target";
      /** A name or an address, as the client sent it. */
      readonly host: string;
      readonly port: number;
      /** Tells the client the end of the opening, in its own protocol. */
      readonly courtesy: Courtesy;
      /** Whether the stream is HTTP requests to this one host. */
      readonly speaks?: "http";
    }
  /** A page of the proxy itself. */
  | { readonly kind: "own"; readonly path: string; readonly authority: string }
  /** It got its reply already; `reason` fits after "since". */
  | { readonly kind: "refused"; readonly reason: string };

export type ProxyKind = "socks5" | "http-connect";

/**
 * Reads what a client wants. The bytes behind that are put back. Rejects as
 * {@link Conn.read} does.
 */
export async function wishOf(conn: Conn, kind: ProxyKind): Promise<Wish> {
  return kind === "socks5" ? await socksWish(conn) : await httpWish(conn);
}

async function socksWish(conn: Conn): Promise<Wish> {
  const methods = await readStep(conn, methodsIn);
  if (methods.kind === "bad") return await turnedAway(conn, methods.reply, methods.reason);
  await conn.write(methodChosen);
  const asked = await readStep(conn, targetIn);
  if (asked.kind === "bad") return await turnedAway(conn, asked.reply, asked.reason);
  if (asked.kind !== "target") return await turnedAway(conn, reply("failed"), "it is out of step");
  const { host, port } = asked;
  return { kind: "target", host, port, courtesy: socksCourtesy };
}

const socksCourtesy: Courtesy = {
  accepted: (client) => client.write(reply("connected")),
  failed: (client, failure) => void lastWords(client, reply(socksReplyTo(failure))),
};

function socksReplyTo(failure: OpeningFailure): SocksReply {
  if (failure.kind === "refused") return "unreachable";
  return codeOf(failure.error) === "timeout" ? "late" : "failed";
}

async function httpWish(conn: Conn): Promise<Wish> {
  const asked = await readStep(conn, proxyRequestIn);
  switch (asked.kind) {
    case "bad":
      return await turnedAway(conn, proxyPage("400 Bad Request", said(asked.reason)), asked.reason);
    case "own":
      return asked;
    case "tunnel":
      return { kind: "target", host: asked.host, port: asked.port, courtesy: tunnelCourtesy };
    case "request":
      conn.unread(asked.head);
      return {
        kind: "target",
        host: asked.host,
        port: asked.port,
        courtesy: requestCourtesy,
        speaks: "http",
      };
  }
}

const failedPage = (client: Conn, failure: OpeningFailure): void => {
  const late = failure.kind === "failed" && codeOf(failure.error) === "timeout";
  const status = late ? "504 Gateway Timeout" : "502 Bad Gateway";
  void lastWords(client, proxyPage(status, `ngrokd: ${textOf(failure)}\n`));
};
const tunnelCourtesy: Courtesy = {
  accepted: (client) => client.write(tunnelOpen),
  failed: failedPage,
};
const requestCourtesy: Courtesy = { accepted: () => undefined, failed: failedPage };

/** Tells a client that no endpoint is meant, and ends the connection. */
export async function refuseWish(conn: Conn, kind: ProxyKind, text: string): Promise<void> {
  const answer =
    kind === "socks5" ? reply("refused") : proxyPage("403 Forbidden", `ngrokd: ${text}\n`);
  await lastWords(conn, answer);
}

async function turnedAway(conn: Conn, answer: Uint8Array, reason: string): Promise<Wish> {
  await lastWords(conn, answer);
  return { kind: "refused", reason };
}

type Read<Step> = Exclude<Step, { readonly kind: "more" }>;

/** Reads until `step` is decided, and puts back what it has not used. */
async function readStep<Step extends { readonly kind: string; readonly used?: number }>(
  conn: Conn,
  step: (bytes: Uint8Array) => Step,
): Promise<Read<Step>> {
  let bytes: Uint8Array = new Uint8Array(0);
  for (;;) {
    const next = await conn.read();
    if (next === null) throw new Error("it left before it named a host");
    bytes = bytes.length === 0 ? next : Buffer.concat([bytes, next]);
    const result = step(bytes);
    if (result.kind !== "more") {
      const rest = result.used === undefined ? bytes : bytes.subarray(result.used);
      if (result.used !== undefined && rest.length > 0) conn.unread(rest);
      return result as Read<Step>;
    }
    if (bytes.length > longestGreeting) throw new Error("it names no host in its first 64 KiB");
  }
}

const said = (reason: string): string => `ngrokd: This request was refused, since ${reason}.\n`;
const textOf = (failure: OpeningFailure): string =>
  failure.kind === "refused"
    ? failure.text
    : failure.error instanceof Error
      ? failure.error.message
      : String(failure.error);
const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "";
