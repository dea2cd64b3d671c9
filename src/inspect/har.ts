import { version } from "../version.ts";
import { redacted } from "./redact.ts";
import type { ExchangeReport, MessageReport } from "./report.ts";

/**
 * Pure: exchanges as an HTTP archive (HAR 1.2), which browsers and many
 * programs can open. Connections that were not read have no request, and are
 * left out.
 */
export function harOf(exchanges: readonly ExchangeReport[]): object {
  return {
    log: {
      version: "1.2",
      creator: { name: "ngrokd", version },
      entries: exchanges.filter(({ method }) => method !== "").map(entryOf),
    },
  };
}

function entryOf(exchange: ExchangeReport): object {
  const { started_at, times_ms, request, reply, note, id, client, end } = exchange;
  const { send, wait, receive, total } = times_ms;
  return {
    startedDateTime: started_at,
    time: total,
    request: {
      method: exchange.method,
      url: urlOf(exchange),
      httpVersion: request.version,
      cookies: [],
      headers: headersOf(request),
      queryString: queryOf(exchange.target),
      headersSize: request.head_bytes,
      bodySize: request.body_bytes,
      ...(request.body_bytes > 0 && { postData: postDataOf(request) }),
    },
    response: {
      status: exchange.status,
      statusText: exchange.reason,
      httpVersion: reply?.version ?? "",
      cookies: [],
      headers: reply === null ? [] : headersOf(reply),
      content: contentOf(reply),
      redirectURL: fieldOf(reply, "location"),
      headersSize: reply?.head_bytes ?? -1,
      bodySize: reply?.body_bytes ?? -1,
    },
    cache: {},
    timings: { send, wait, receive },
    ...(note !== "" && { comment: note }),
    _ngrokd: { id, client, end },
  };
}

const headersOf = ({ headers }: MessageReport): object[] =>
  headers.map(([name, value]) => ({ name, value: value ?? redacted }));

/** The target is a path, a whole URL, a host and a port, or `*`. */
function urlOf({ endpoint, host, target }: ExchangeReport): string {
  if (/^[a-z][a-z\d+.-]*:\/\//i.test(target)) return target;
  const authority = endpoint === `${host}:80` ? host : endpoint;
  return target.startsWith("/") ? `http://${authority}${target}` : `http://${authority}/`;
}

function queryOf(target: string): object[] {
  const at = target.indexOf("?");
  if (at < 0) return [];
  return [...new URLSearchParams(target.slice(at + 1))].map(([name, value]) => ({ name, value }));
}

function postDataOf(request: MessageReport): object {
  const { text, encoding } = textOf(request);
  return {
    mimeType: fieldOf(request, "content-type"),
    params: [],
    text: text ?? "",
    // HAR has no encoding here; a name of our own begins with a low line.
    ...(encoding !== undefined && { _encoding: encoding }),
    ...commentOf(request),
  };
}

function contentOf(reply: MessageReport | null): object {
  if (reply === null) return { size: 0, mimeType: "" };
  return {
    size: reply.body_bytes,
    mimeType: fieldOf(reply, "content-type"),
    ...textOf(reply),
    ...commentOf(reply),
  };
}

const commentOf = ({ body, body_whole, body_bytes }: MessageReport): { comment?: string } =>
  body_whole || body_bytes === 0
    ? {}
    : { comment: body === null ? "the body was not kept" : "only the first bytes were kept" };

/** As text if it is UTF-8, and else in base64. */
function textOf({ body }: MessageReport): { text?: string; encoding?: string } {
  if (body === null) return {};
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(body, "base64")) };
  } catch {
    return { text: body, encoding: "base64" };
  }
}

const fieldOf = (message: MessageReport | null, wanted: string): string =>
  message?.headers.find(([name]) => name.toLowerCase() === wanted)?.[1] ?? "";
