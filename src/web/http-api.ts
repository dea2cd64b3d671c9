import { Hono } from "hono";
import type { Feed } from "../desk/feed.ts";
import type { Input, OperationName } from "../desk/operations.ts";
import { type Operation, operations, webOperationNames } from "../desk/operations.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { type Parsed, parsed, printable, quote, unparsed } from "../model/parsed.ts";
import { inPieces } from "../observe/pieces.ts";
import { version } from "../version.ts";
import { eventStream } from "./event-stream.ts";
import { jsonSchema, openApi, pathOf } from "./openapi.ts";

/** What the API needs of the daemon. */
export interface ApiDeps {
  /** Runs an operation; the input is not validated yet. */
  readonly run: (name: OperationName, input: unknown) => Promise<unknown>;
  readonly feed: Feed;
}

/** What the client of a request may do. */
export interface Client {
  readonly mayRun: (name: OperationName) => boolean;
  /** Whether a reply without end may go on. */
  readonly isWelcome: () => boolean;
}

/** Streams without end, of all clients. */
const mostStreams = 16;

/** The operations over HTTP, for clients that have been let in. */
export function createHttpApi({ run, feed }: ApiDeps): Hono<{ Bindings: Client }> {
  const app = new Hono<{ Bindings: Client }>();
  let streams = 0;
  for (const name of webOperationNames) {
    const operation: Operation = operations[name];
    const path = pathOf(name);
    const read = readerOf(operation);
    const answered = async (client: Client, input: Parsed<unknown>): Promise<Response> => {
      if (!client.mayRun(name)) return failed(notAllowed(name));
      if (!input.ok) return failed(new NgrokdError("usage", input.reason));
      return await run(name, input.value).then(succeeded, failed);
    };
    if (operation.kind === "read")
      app.get(path, async ({ env, req }) => {
        const input = read(new URL(req.url).searchParams);
        // The body of a reply to HEAD is dropped, so a stream would never end.
        const isStream =
          name === "events" &&
          req.raw.method !== "HEAD" &&
          !req.header("accept")?.includes("application/json");
        if (!isStream || !input.ok || !env.mayRun(name)) return await answered(env, input);
        return streamed(env, input.value as Input<"events">, req.header("last-event-id"));
      });
    else app.post(path, async ({ env, req }) => await answered(env, await bodyOf(req.raw)));
    const allow = operation.kind === "read" ? "GET" : "POST";
    app.all(path, () => refused(405, `this needs ${allow}`, { allow }));
  }
  app.get("/api/openapi.json", () => succeeded(openApi(version)));
  app.notFound(() => refused(404, "there is nothing here; see /api/openapi.json"));
  app.onError((error) => failed(error));
  return app;

  function streamed(
    { isWelcome }: Client,
    input: Input<"events">,
    lastId: string | undefined,
  ): Response {
    const after = lastId ?? input.after;
    if (streams >= mostStreams)
      return refused(503, `${mostStreams} clients follow the events already`);
    try {
      const ended = (): void => {
        streams -= 1;
      };
      const body = eventStream(feed, { wanted: input, after, isWelcome, ended });
      streams += 1;
      return new Response(body, {
        headers: { "content-type": "text/event-stream", "x-accel-buffering": "no" },
      });
    } catch (error) {
      return failed(error);
    }
  }
}

/**
 * Pure: reads the input of an operation from a query. Each argument may be
 * there once, and no other.
 */
export function readerOf({ input }: Operation): (query: URLSearchParams) => Parsed<unknown> {
  const { properties = {} } = jsonSchema(input, "input");
  const isFlag = (name: string): boolean =>
    (properties[name] as { type?: string }).type === "boolean";
  return (query) => {
    const values = new Map<string, string | boolean>();
    for (const [name, text] of query) {
      if (!Object.hasOwn(properties, name)) return unparsed(`There is no argument ${quote(name)}`);
      if (values.has(name)) return unparsed(`The argument ${quote(name)} is there twice`);
      if (isFlag(name) && text !== "true" && text !== "false")
        return unparsed(`The argument ${quote(name)} is true or false, and not ${quote(text)}`);
      values.set(name, isFlag(name) ? text === "true" : text);
    }
    return parsed(Object.fromEntries(values));
  };
}

async function bodyOf(request: Request): Promise<Parsed<unknown>> {
  try {
    const text = await request.text();
    const value: unknown = text.trim() === "" ? {} : JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return parsed(value);
    return unparsed("The body is not a JSON object");
  } catch (error) {
    return unparsed(`The body is not JSON: ${reasonOf(error)}`);
  }
}

/** Items of a list that are written at a time. */
const itemsOfPiece = 200;

/** Long lists come in pieces, so that connections need not wait for them. */
function succeeded(value: unknown): Response {
  if (Array.isArray(value) && value.length > itemsOfPiece)
    return inPieces(piecesOf(value), "application/json");
  const shown = typeof value === "string" ? printable(value) : value;
  return json(200, shown);
}

function* piecesOf(items: readonly unknown[]): Generator<string, void, undefined> {
  for (let i = 0; i < items.length; i += itemsOfPiece)
    yield `${i === 0 ? "[" : ","}${JSON.stringify(items.slice(i, i + itemsOfPiece)).slice(1, -1)}`;
  yield "]";
}

function failed(error: unknown): Response {
  if (!isNgrokdError(error))
    return json(500, { error: { code: "internal", message: reasonOf(error) } });
  const { code, message, hint } = error;
  const status = statuses[code] ?? 500;
  return json(status, { error: { code, message, ...(hint === undefined ? {} : { hint }) } });
}

const statuses: Readonly<Partial<Record<NgrokdError["code"], number>>> = {
  usage: 400,
  config: 400,
  permission: 403,
  "not-found": 404,
  refused: 409,
  "rate-limited": 429,
  unauthorized: 502,
  api: 502,
  network: 502,
  tls: 502,
  timeout: 504,
};

/** A refusal that is no error of an operation. */
export const refused = (
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): Response => json(status, { error: { code: "refused", message } }, headers);

const json = (
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): Response =>
  new Response(`${JSON.stringify(value)}\n`, {
    status,
    headers: { "content-type": "application/json", ...headers },
  });

const notAllowed = (name: OperationName): NgrokdError =>
  new NgrokdError("permission", `This client may not use "${name}"`, {
    hint:
      operations[name].kind === "read"
        ? "root and the group of the socket may"
        : "a page that may change something is opened with `ngrokd dashboard --write`",
  });
