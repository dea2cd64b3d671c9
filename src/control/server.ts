import { randomBytes } from "node:crypto";
import { chmod, chown, link, lstat, readFile, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf, fileError } from "../files/atomic.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import type { Conn, Listener, Net } from "../net/types.ts";
import { askDaemon, isAlive } from "./client.ts";
import { type Reply, type Request, requestDeadlineMs, requestLimitBytes, requestSchema, statusSchema } from "./protocol.ts";

export interface ControlOptions {
  readonly net: Net;
  readonly path: string;
  /** The group that may use the socket beside root; ignored where the machine has no such group. */
  readonly group: string;
  readonly log: Log;
  /** Answers one request; what it throws becomes the error reply. */
  readonly handle: (request: Request) => Promise<unknown>;
}

/**
 * Opens the control socket, which is also what makes this daemon the only one: it appears under its name whole, with its final mode and
 * group, by link(2), which fails where another one is. Rejects with `already-running`, `permission`, `state` or `address-in-use`.
 */
export async function startControlServer(options: ControlOptions): Promise<{ close(): Promise<void> }> {
  const { net, path, log } = options;
  const birthplace = join(dirname(path), `.ngrokd-${randomBytes(4).toString("hex")}`);
  const listener = await listen(net, birthplace, path, (conn) => serve(conn, options));
  try {
    const gid = await groupId(options.group);
    if (gid !== undefined)
      await chown(birthplace, process.getuid?.() ?? 0, gid).catch((error: unknown) =>
        log.warn(`Cannot give the control socket to the group "${options.group}": ${reasonOf(error)}`),
      );
    await chmod(birthplace, 0o660);
    await publish(net, birthplace, path, log);
    const own = await lstat(path);
    return {
      async close() {
        const there = await lstat(path).catch(() => undefined);
        if (there !== undefined && there.ino === own.ino && there.dev === own.dev) await unlink(path).catch(() => undefined);
        listener.close();
      },
    };
  } catch (error) {
    listener.close();
    throw error instanceof NgrokdError ? error : fileError(`Cannot open the control socket "${path}"`, error);
  }
}

async function listen(net: Net, birthplace: string, path: string, onConn: (conn: Conn) => Promise<void>): Promise<Listener> {
  try {
    return await net.listen({ path: birthplace }, onConn);
  } catch (error) {
    const code = isNgrokdError(error) ? error.code : "state";
    throw new NgrokdError(code, `Cannot open the control socket "${path}": ${reasonOf(error)}`, {
      cause: error,
      hint:
        code === "permission"
          ? "run the daemon as root, or name another path with --socket or `server.socket_path`"
          : "does its folder exist? `server.socket_path` or --socket names another path",
    });
  }
}

/** Links the finished socket to its name; a socket that nobody answers on is taken over, a living one never is. */
async function publish(net: Net, birthplace: string, path: string, log: Log): Promise<void> {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    try {
      await link(birthplace, path);
      await unlink(birthplace);
      return;
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
    }
    const there = await lstat(path).catch(() => undefined);
    if (there === undefined) continue;
    if (!there.isSocket()) {
      throw new NgrokdError("address-in-use", `Cannot open the control socket "${path}": something that is not a socket has this name`, {
        hint: "move it away, or name another path with --socket or `server.socket_path`",
      });
    }
    if (await isAlive(net, path)) throw await alreadyRunning(net, path);
    // Between the question and the removal another daemon may have come: move first, ask again, and only then remove.
    const grave = `${birthplace}.old`;
    try {
      await rename(path, grave);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") continue;
      throw error;
    }
    if (await isAlive(net, grave)) {
      await link(grave, path).catch(() => undefined);
      await unlink(grave);
      throw await alreadyRunning(net, path);
    }
    await unlink(grave);
    log.info(`Took over the control socket "${path}" of a daemon that is gone`);
  }
  throw new NgrokdError("already-running", `Cannot open the control socket "${path}": another daemon keeps taking it`);
}

async function alreadyRunning(net: Net, path: string): Promise<NgrokdError> {
  const status = await askDaemon(net, path, { command: "status" }, { timeoutMs: 2000 })
    .then((data) => statusSchema.partial().parse(data))
    .catch(() => undefined);
  const who = status?.pid === undefined ? "" : ` (pid ${status.pid})`;
  return new NgrokdError("already-running", `Another daemon${who} is already running on the control socket "${path}"`, {
    hint: "stop it first, or start this one with another --socket and another state folder",
    details: { pid: status?.pid },
  });
}

async function serve(conn: Conn, options: ControlOptions): Promise<void> {
  const { log, handle } = options;
  const timer = setTimeout(() => conn.abort(), requestDeadlineMs);
  let reply: Reply;
  try {
    const text = await readRequest(conn);
    clearTimeout(timer);
    if (text === undefined) return conn.close();
    reply = await answer(text, handle);
  } catch (error) {
    log.debug(`A client of the control socket went away: ${reasonOf(error)}`);
    return conn.abort();
  } finally {
    clearTimeout(timer);
  }
  try {
    await conn.write(new TextEncoder().encode(`${JSON.stringify(reply)}\n`));
  } catch (error) {
    log.debug(`A client of the control socket did not wait for its answer: ${reasonOf(error)}`);
  }
  conn.close();
}

async function answer(text: string, handle: (request: Request) => Promise<unknown>): Promise<Reply> {
  const request = parseRequest(text);
  if (typeof request === "string") return { success: false, error: request, code: "protocol" };
  try {
    return { success: true, data: await handle(request) };
  } catch (error) {
    if (!(error instanceof NgrokdError)) return { success: false, error: reasonOf(error), code: "internal" };
    return { success: false, error: error.message, code: error.code, ...(error.hint === undefined ? {} : { hint: error.hint }) };
  }
}

function parseRequest(text: string): Request | string {
  if (text === tooLarge) return `The request is larger than ${requestLimitBytes / 1024} KiB`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'The request is not JSON; send one object such as {"command":"status"}';
  }
  const request = requestSchema.safeParse(value);
  return request.success ? request.data : 'The request is not {"command": "…", "args": ["…"]}';
}

const tooLarge = "\u0000too large";

/** Reads until the text is one whole JSON value, a line end, or the end: the Go client sends no newline and keeps its half open. */
async function readRequest(conn: Conn): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for (;;) {
    const bytes = await conn.read();
    if (bytes === null) return text.trim() === "" ? undefined : text;
    size += bytes.length;
    if (size > requestLimitBytes) return tooLarge;
    text += decoder.decode(bytes, { stream: true });
    if (text.endsWith("\n") || isWholeJson(text)) return text.trim() === "" ? undefined : text;
  }
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

/** The group's number from /etc/group; there is no call for it in the runtimes. */
async function groupId(name: string): Promise<number | undefined> {
  const text = await readFile("/etc/group", "utf8").catch(() => "");
  const line = text.split("\n").find((entry) => entry.startsWith(`${name}:`));
  const gid = Number(line?.split(":")[2]);
  return line === undefined || !Number.isInteger(gid) ? undefined : gid;
}
