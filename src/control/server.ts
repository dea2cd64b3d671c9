import { randomBytes } from "node:crypto";
import { chmod, chown, link, lstat, readFile, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setImmediate } from "node:timers/promises";
import * as z from "zod/mini";
import { fileError, rootHint } from "../files/atomic.ts";
import { groupIn } from "../model/access.ts";
import { errnoOf } from "../model/errno.ts";
import { type ErrorCode, isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { type Parsed, parsed, printable, unparsed } from "../model/parsed.ts";
import { createPlaces, type Places } from "../net/places.ts";
import type { Conn, Listener, Net } from "../net/types.ts";
import { isAlive } from "./alive.ts";
import { askDaemon } from "./client.ts";
import {
  deadlinesMs,
  type Reply,
  type Request,
  requestLimitBytes,
  requestSchema,
} from "./protocol.ts";
import { createGate, type Rights } from "./rights.ts";
import { checkPlace } from "./safe-place.ts";
import { inTurn } from "./turn.ts";

/**
 * A further client takes the place of the one that has rested for the longest
 * time: before its request, or while it does not read the reply.
 */
const mostConnections = 64;
/** Clients that may only read have places of their own, and take no other. */
const mostStrangers = 32;

export interface ControlOptions {
  readonly net: Net;
  readonly path: string;
  /**
   * The group that may use the socket, as root may. Ignored if the machine has
   * no such group.
   */
  readonly group: string;
  /** Whether users outside the group may ask, too; default: the group alone. */
  readonly readers?: "group" | "all";
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

export interface ControlServer {
  /** The listening descriptor; undefined if the runtime does not tell it. */
  readonly fd: number | undefined;
  /** No new clients, and the path is removed if it is ours. */
  close(): Promise<void>;
  /** No new clients; another process goes on with the socket. */
  leave(): void;
}

/**
 * Opens the control socket. It is also the lock that prevents a second daemon:
 * the socket is made under another name, and link(2) gives it its own once mode
 * and group are final. That fails if another daemon has the name. Rejects with
 * `already-running`, `permission`, `state` or `address-in-use`.
 */
export async function startControlServer(options: ControlOptions): Promise<ControlServer> {
  const { net, path, log } = options;
  await checkPlace(path);
  const name = randomBytes(4).toString("hex");
  const birthplace = join(dirname(path), `.ngrokd-${name}`);
  const { gate, onConn } = createDesk(options);
  const listener = await listen(net, birthplace, path, onConn);
  try {
    const gid = await groupId(options.group);
    if (gid !== undefined)
      await chown(birthplace, process.getuid?.() ?? 0, gid).catch((error: unknown) =>
        log.warn(
          `Cannot give the control socket to the group "${options.group}": ${reasonOf(error)}`,
        ),
      );
    await chmod(birthplace, 0o660);
    if (options.readers === "all") {
      if (await gate.open(birthplace, gid)) await chmod(birthplace, 0o666);
      else log.warn(notOpened);
    }
    const outcome = await inTurn({ net, path, socket: birthplace, name }, () =>
      publish(options, birthplace),
    );
    if (outcome !== "published") throw await alreadyRunning(net, path);
    return await serverOf(listener, path);
  } catch (error) {
    listener.close();
    throw error instanceof NgrokdError
      ? error
      : fileError(`Cannot open the control socket "${path}"`, error);
  }
}

/**
 * Goes on with a control socket that another process has opened: systemd, whose
 * path it stays, or the daemon before this one. Rejects as {@link Net.adopt}
 * does.
 */
export async function adoptControlServer(
  options: ControlOptions,
  fd: number,
  of: "systemd" | "a daemon",
): Promise<ControlServer> {
  const { net, path, readers, log } = options;
  const { gate, onConn } = createDesk(options);
  // Before the first client: the mode of the socket is that of another process,
  // or of a unit, and may let every user in. The kernel tells who they are.
  const isOpen = await gate.open(path, await groupId(options.group)).catch(() => false);
  if (of === "systemd") {
    const listener = await net.adopt(fd, onConn);
    const leave = (): void => listener.close();
    return { fd: listener.fd, leave, close: async () => leave() };
  }
  await checkPlace(path);
  if (readers === "all" && !isOpen) log.warn(notOpened);
  // Never wider: the daemon before this one may not tell its clients apart.
  if (readers !== "all" || !isOpen) await chmod(path, 0o660);
  else if (((await lstat(path)).mode & forOthers) !== forOthers) log.warn(notYetOpened, later);
  const listener = await net.adopt(fd, onConn);
  return await serverOf(listener, path);
}

async function serverOf(listener: Listener, path: string): Promise<ControlServer> {
  const own = await lstat(path);
  return {
    fd: listener.fd,
    async close() {
      const there = await lstat(path).catch(() => undefined);
      if (there !== undefined && there.ino === own.ino && there.dev === own.dev)
        await unlink(path).catch(() => undefined);
      listener.close();
    },
    leave: () => listener.close(),
  };
}

/** Admits and serves the clients of one socket. */
function createDesk(options: ControlOptions): {
  gate: ReturnType<typeof createGate>;
  onConn: (conn: Conn) => Promise<void>;
} {
  const gate = createGate(options.net);
  const [places, strangers] = [createPlaces(mostConnections), createPlaces(mostStrangers)];
  const onConn = (conn: Conn): Promise<void> =>
    gate.admit(conn, (rights) =>
      serve(conn, rights, rights === "all" ? places : strangers, options),
    );
  return { gate, onConn };
}

/** The mode's bits of all users. */
const forOthers = 0o006;
const notYetOpened =
  "`server.socket_read: all` has no effect yet: a handover opens no socket wider";
const later = { hint: "`sudo ngrokd service restart --full` opens it again" };

const notOpened =
  "`server.socket_read: all` has no effect: this system does not tell who uses the control socket";

async function listen(
  net: Net,
  birthplace: string,
  path: string,
  onConn: (conn: Conn) => Promise<void>,
): Promise<Listener> {
  try {
    return await net.listen({ path: birthplace }, onConn);
  } catch (error) {
    const code = isNgrokdError(error, "permission") ? "permission" : "state";
    // The error names the birthplace, which is no path that the user knows.
    const reason = code === "permission" ? "permission denied" : reasonOf(error);
    throw new NgrokdError(code, `Cannot open the control socket "${path}": ${reason}`, {
      cause: error,
      hint:
        code === "permission"
          ? process.getuid?.() === 0
            ? rootHint(dirname(path))
            : "run the daemon as root, or name another path with --socket or `server.socket_path`"
          : "does its folder exist? `server.socket_path` or --socket names another path",
    });
  }
}

/**
 * Links the finished socket to its name. A dead socket there is replaced, one
 * with a living listener never.
 */
async function publish(
  { net, path, log }: ControlOptions,
  birthplace: string,
): Promise<"published" | "in use"> {
  const there = await lstat(path).catch((error: unknown) => {
    if (errnoOf(error) !== "ENOENT") throw error;
  });
  if (there !== undefined) {
    if (!there.isSocket()) {
      throw new NgrokdError(
        "address-in-use",
        `Cannot open the control socket "${path}": something that is not a socket has this name`,
        {
          hint: "move it away, or name another path with --socket or `server.socket_path`",
        },
      );
    }
    if (await isAlive(net, path)) return "in use";
    await unlink(path);
    log.info(`Took over the control socket "${path}" of a daemon that has ended`);
  }
  await link(birthplace, path);
  await unlink(birthplace);
  return "published";
}

/**
 * The field of a status that identifies the process; the Go program has none.
 */
const pidSchema = z.object({ pid: z.number() });

async function alreadyRunning(net: Net, path: string): Promise<NgrokdError> {
  const { pid, silent } = await askDaemon(
    net,
    path,
    { command: "status" },
    { timeoutMs: 2000 },
  ).then(
    (data) => ({ pid: pidSchema.safeParse(data).data?.pid, silent: false }),
    (error: unknown) => ({ pid: undefined, silent: isNgrokdError(error, "timeout") }),
  );
  const [who, how] = [
    pid === undefined ? "" : ` (pid ${pid})`,
    silent ? ", and does not answer" : "",
  ];
  return new NgrokdError(
    "already-running",
    `Another daemon${who} is already running on the control socket "${path}"${how}`,
    {
      hint: "stop it first, or start this one with another --socket and another state folder",
      details: { pid },
    },
  );
}

async function serve(
  conn: Conn,
  rights: Rights | "turned away",
  places: Places,
  options: ControlOptions,
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
  { takers = {} }: ControlOptions,
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

/** The group's number from /etc/group: neither runtime has a call for it. */
const groupId = async (name: string): Promise<number | undefined> =>
  groupIn(await readFile("/etc/group", "utf8").catch(() => ""), name)?.gid;
