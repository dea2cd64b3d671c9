/**
 * The clients of one control socket: who may ask, the request of each, and the
 * reply.
 */
import { setImmediate } from "node:timers/promises";
import { type ErrorCode, NgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { type Parsed, parsed, printable, unparsed } from "../model/parsed.ts";
import { createPlaces, type Places } from "../net/places.ts";
import type { Conn, Net } from "../net/types.ts";
import {
  deadlinesMs,
  type Reply,
  type Request,
  requestLimitBytes,
  requestSchema,
} from "./protocol.ts";
import { createGate, type Rights } from "./rights.ts";

/**
 * A further client takes the place of the one that has rested for the longest
 * time: before its request, or while it does not read the reply.
 */
const mostConnections = 64;
/** Clients that may only read have places of their own, and take no other. */
const mostStrangers = 32;

export interface AnswerOptions {
  readonly net: Net;
  readonly log: Log;
  /** Returns the reply's `data`. Its error becomes the error reply. */
  readonly handle: (request: Request, client: Client) => Promise<unknown>;
  /** The commands that take the connection over, and reply themselves. */
  readonly takers?: Readonly<Record<string, Taker>>;
  /**
   * Takes a client that speaks HTTP. `onMove` is to be called whenever bytes
   * have moved.
   */
  readonly web?: (conn: Conn, rights: Rights, onMove: () => void) => void;
  /** Deadlines for clients; default: the protocol's. */
  readonly deadlinesMs?: { readonly request: number; readonly reply: number };
}

/**
 * Takes a connection over, until its end. Those of the owner are for the
 * daemon's own user and root; to others the command is unknown.
 */
export type Taker =
  | { readonly who: "owner"; readonly take: Take }
  | {
      readonly who: "anybody";
      readonly take: (conn: Conn, args: readonly string[], rights: Rights) => Promise<void> | void;
    };

export type Take = (conn: Conn, args: readonly string[]) => Promise<void>;

/** Who asks. */
export interface Client {
  readonly rights: Rights;
  /** Whether it is the daemon's own user, or root; asks the kernel. */
  readonly isOwner: () => Promise<boolean>;
}

export interface Answering {
  readonly gate: ReturnType<typeof createGate>;
  /** Serves one connection to its end. */
  readonly onConn: (conn: Conn) => Promise<void>;
}

/** Admits and serves the clients of one socket. */
export function createAnswering(options: AnswerOptions): Answering {
  const gate = createGate(options.net);
  const [places, strangers] = [createPlaces(mostConnections), createPlaces(mostStrangers)];
  const onConn = (conn: Conn): Promise<void> =>
    gate.admit(conn, (rights) =>
      serve(conn, rights, rights === "all" ? places : strangers, options),
    );
  return { gate, onConn };
}

async function serve(
  conn: Conn,
  rights: Rights | "turned away",
  places: Places,
  options: AnswerOptions,
): Promise<void> {
  const { log, handle, deadlinesMs: limits = deadlinesMs } = options;
  const place = places.enter(() => conn.abort());
  void conn.closed.then(() => place?.leave());
  try {
    if (place === undefined) return await send(conn, refusal(busyText), limits.reply);
    const away = rights === "turned away";
    const ms = away ? turnedAwayMs : limits.request;
    const speech = await within(ms, conn, () => firstBytes(conn));
    if (speech === "http" && options.web !== undefined && !away) {
      options.web(conn, rights, () => place.rest());
      return;
    }
    const text = await within(ms, conn, () => readRequest(conn));
    if (text === undefined) return conn.close();
    const isOwner = (): Promise<boolean> => isOwnUser(options.net, conn);
    const wish = takerFor(text, options);
    if (wish?.taker.who === "anybody" && rights !== "turned away") {
      // A stream may last for days, so it has no place here.
      place.leave();
      return await wish.taker.take(conn, wish.args, rights);
    }
    place.work();
    if (wish?.taker.who === "owner" && !away && (await isOwner()))
      return await wish.taker.take(conn, wish.args);
    const reply = away
      ? refusal("Too many other users ask the daemon at the moment", "refused")
      : text.ok
        ? await answer(text.value, (request) => handle(request, { rights, isOwner }))
        : refusal(text.reason);
    place.rest();
    await send(conn, reply, limits.reply);
  } catch (error) {
    log.debug(`A client of the control socket went away: ${reasonOf(error)}`);
    conn.abort();
  }
}

/** Root, and the user of this process. */
async function isOwnUser(net: Net, conn: Conn): Promise<boolean> {
  const user = await net.userOf(conn);
  return user !== undefined && (user.uid === 0 || user.uid === process.getuid?.());
}

/** The taker of a request's connection, and the request. */
function takerFor(
  text: Parsed<string>,
  { takers = {} }: AnswerOptions,
): { readonly taker: Taker; readonly args: readonly string[] } | undefined {
  const request = text.ok ? parseRequest(text.value) : undefined;
  if (request?.ok !== true) return undefined;
  const { command, args } = request.value;
  const taker = Object.hasOwn(takers, command) ? takers[command] : undefined;
  return taker && { taker, args: args ?? [] };
}

async function send(conn: Conn, reply: Reply, ms: number): Promise<void> {
  await within(ms, conn, async () => {
    for (const piece of piecesOf(reply)) {
      await conn.write(new TextEncoder().encode(piece));
      await setImmediate();
    }
  });
  conn.close();
}

/** Items of a list that are written at a time. */
const itemsOfPiece = 200;

/**
 * The text of a reply. A long list comes in pieces: the whole takes tens of
 * milliseconds, and connections must not wait for that.
 */
function* piecesOf(reply: Reply): Generator<string, void, undefined> {
  const items: unknown = reply.success ? reply.data : undefined;
  if (!Array.isArray(items) || items.length <= itemsOfPiece)
    return yield `${JSON.stringify(reply)}\n`;
  yield '{"success":true,"data":[';
  for (let i = 0; i < items.length; i += itemsOfPiece) {
    const text = JSON.stringify(items.slice(i, i + itemsOfPiece)).slice(1, -1);
    yield i === 0 ? text : `,${text}`;
  }
  yield "]}\n";
}

/** How long a client that is turned away may take to send its request. */
const turnedAwayMs = 500;

/**
 * Runs one step of the exchange. After `ms` milliseconds the connection is
 * aborted, and the step rejects.
 */
async function within<T>(ms: number, conn: Conn, step: () => Promise<T> | T): Promise<T> {
  const timer = setTimeout(() => conn.abort(), ms);
  try {
    return await step();
  } finally {
    clearTimeout(timer);
  }
}

async function answer(
  text: string,
  handle: (request: Request) => Promise<unknown>,
): Promise<Reply> {
  const request = parseRequest(text);
  if (!request.ok) return refusal(request.reason);
  try {
    const data = await handle(request.value);
    return { success: true, data: typeof data === "string" ? printable(data) : data };
  } catch (error) {
    return errorReply(error);
  }
}

/** Pure: the reply for an error. */
export function errorReply(error: unknown): Reply {
  if (!(error instanceof NgrokdError))
    return { success: false, error: reasonOf(error), code: "internal" };
  // Sentences for people; some clients print them as they are.
  return {
    success: false,
    error: printable(error.message),
    code: error.code,
    ...(error.hint === undefined ? {} : { hint: printable(error.hint) }),
  };
}

const busyText = `The daemon works on ${mostConnections} requests; try again in a minute`;

const refusal = (error: string, code: ErrorCode = "protocol"): Reply => ({
  success: false,
  error,
  code,
});

function parseRequest(text: string): Parsed<Request> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return unparsed('The request is not JSON; send one object such as {"command":"status"}');
  }
  const request = requestSchema.safeParse(value);
  return request.success
    ? parsed(request.data)
    : unparsed('The request is not {"command": "…", "args": ["…"]}');
}

/**
 * Reads until the text is one whole JSON value, a line ends, or the connection
 * ends: the Go client sends no newline and does not close its half. Returns
 * undefined if the client sent nothing.
 */
async function readRequest(conn: Conn): Promise<Parsed<string> | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for (;;) {
    const bytes = await conn.read();
    if (bytes !== null) {
      size += bytes.length;
      if (size > requestLimitBytes)
        return unparsed(`The request is larger than ${requestLimitBytes / 1024} KiB`);
      text += decoder.decode(bytes, { stream: true });
      if (!text.endsWith("\n") && !isWholeJson(text)) continue;
    }
    return text.trim() === "" ? undefined : parsed(text);
  }
}

/**
 * Looks at the first bytes. A request of ours begins with a brace, and one of
 * HTTP with its method.
 */
async function firstBytes(conn: Conn): Promise<"http" | "ours"> {
  const bytes = await conn.read();
  if (bytes === null) return "ours";
  conn.unread(bytes);
  const [first = 0] = bytes;
  return first >= 0x41 && first <= 0x5a ? "http" : "ours";
}

function isWholeJson(text: string): boolean {
  if (!text.trimEnd().endsWith("}")) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
