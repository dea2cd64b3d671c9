import { readFile } from "node:fs/promises";
import process from "node:process";
import { onAbort } from "../model/abort.ts";
import { accessHint, groupIn, socketGroup, userIn } from "../model/access.ts";
import { errorCodes, isNgrokdError, NgrokdError } from "../model/error.ts";
import { dialWithRoom, isFullQueue, longestFullMs } from "../net/full-queue.ts";
import type { Conn, Net } from "../net/types.ts";
import { type Request, replySchema } from "./protocol.ts";
import { checkSocket } from "./safe-place.ts";

export interface AskOptions {
  /** Milliseconds for the whole exchange; default 30 s. */
  readonly timeoutMs?: number;
  /** The limit of the reply; default 256 MiB. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

/**
 * Sends one request to a running daemon. Returns the reply's `data`; rejects
 * with `not-running`, `permission`, `timeout`, `protocol`, or the daemon's own
 * error.
 */
export async function askDaemon(
  net: Net,
  path: string,
  request: Request,
  options: AskOptions = {},
): Promise<unknown> {
  const { timeoutMs = 30_000, maxBytes = 256 * 1024 * 1024 } = options;
  await checkSocket(path);
  const deadline = new AbortController();
  const late = new NgrokdError(
    "timeout",
    `No answer from the daemon on "${path}" within ${timeoutMs / 1000} s`,
    {
      hint: "see its log; `ngrokd health` shows whether it makes progress",
    },
  );
  const timer = setTimeout(() => deadline.abort(late), timeoutMs);
  const signal =
    options.signal === undefined
      ? deadline.signal
      : AbortSignal.any([deadline.signal, options.signal]);
  try {
    const conn = await dial(net, path, signal);
    const text = await exchange(conn, JSON.stringify(request), signal, maxBytes);
    return readReply(text, path);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Sends a request that a stream follows. Returns the reply's `data` and the
 * connection, whose next bytes are the stream's. Rejects as {@link askDaemon}.
 */
export async function openStream(
  net: Net,
  path: string,
  request: Request,
  signal: AbortSignal,
): Promise<{ data: unknown; conn: Conn }> {
  await checkSocket(path);
  const conn = await dial(net, path, signal);
  const unhook = onAbort(signal, () => conn.abort());
  try {
    await conn.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
    const { line, rest } = await readLine(conn);
    const data = readReply(line, path);
    conn.unread(rest);
    return { data, conn };
  } catch (error) {
    conn.abort();
    if (signal.aborted) throw signal.reason;
    throw error;
  } finally {
    unhook();
  }
}

/** A reply in front of a stream is short. */
const longestLine = 64 * 1024;

async function readLine(conn: Conn): Promise<{ line: string; rest: Uint8Array }> {
  let bytes: Uint8Array = new Uint8Array(0);
  for (;;) {
    const end = bytes.indexOf(0x0a);
    if (end >= 0)
      return {
        line: new TextDecoder().decode(bytes.subarray(0, end)),
        rest: bytes.subarray(end + 1),
      };
    const next = await conn.read();
    if (next === null) return { line: new TextDecoder().decode(bytes), rest: new Uint8Array(0) };
    if (bytes.length > longestLine) throw endless(longestLine);
    bytes = Buffer.concat([bytes, next]);
  }
}

async function dial(net: Net, path: string, signal: AbortSignal): Promise<Conn> {
  try {
    return await dialWithRoom(() => net.dial({ path }, { signal }));
  } catch (error) {
    throw await dialFailed(path, error);
  }
}

async function dialFailed(path: string, error: unknown): Promise<unknown> {
  if (isNgrokdError(error, "permission")) {
    return new NgrokdError(
      "permission",
      `Cannot use the control socket "${path}": permission denied`,
      {
        cause: error,
        hint: await accessHintHere(),
      },
    );
  }
  if (!isNgrokdError(error, "network")) return error;
  if (isFullQueue(error)) {
    return new NgrokdError(
      "timeout",
      `The daemon on "${path}" accepts no connection: its queue has been full for ${longestFullMs / 1000} s`,
      {
        cause: error,
        hint:
          "it is stopped or hangs: see its log, and end it if this continues; " +
          "`ss -xlp` names its process",
      },
    );
  }
  return new NgrokdError("not-running", `No daemon answers on the control socket "${path}"`, {
    cause: error,
    hint:
      "start it with `sudo ngrokd service start` or `sudo ngrokd serve`, " +
      "or name its socket with --socket or NGROKD_SOCKET",
  });
}

/** The advice for this user. Bun's os.userInfo() knows no name without USER. */
async function accessHintHere(): Promise<string> {
  const read = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");
  const name = userIn(await read("/etc/passwd"), process.geteuid?.() ?? 0);
  const group = groupIn(await read("/etc/group"), socketGroup);
  const isMember = group?.members.includes(name ?? "") ?? false;
  return accessHint(name, isMember && !(process.getgroups?.() ?? []).includes(group?.gid ?? -1));
}

async function exchange(
  conn: Conn,
  request: string,
  signal: AbortSignal,
  maxBytes: number,
): Promise<string> {
  const unhook = onAbort(signal, () => conn.abort());
  try {
    await conn.write(new TextEncoder().encode(`${request}\n`));
    const decoder = new TextDecoder();
    let text = "";
    let size = 0;
    for (;;) {
      const bytes = await conn.read();
      if (bytes === null) return text;
      size += bytes.length;
      if (size > maxBytes) throw endless(maxBytes);
      text += decoder.decode(bytes, { stream: true });
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error;
  } finally {
    unhook();
    conn.close();
  }
}

const endless = (maxBytes: number): NgrokdError =>
  new NgrokdError(
    "protocol",
    `The program on the control socket answered with more than ${maxBytes} bytes`,
    { hint: "is it ngrokd? see `server.socket_path`" },
  );

function readReply(text: string, path: string): unknown {
  if (text === "") {
    throw new NgrokdError(
      "aborted",
      `The daemon on "${path}" closed the connection without an answer`,
      {
        hint: "it may be stopping; see its log",
      },
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new NgrokdError(
      "protocol",
      `The daemon on "${path}" answered with something that is not JSON`,
      { cause },
    );
  }
  const reply = replySchema.safeParse(value);
  if (!reply.success)
    throw new NgrokdError(
      "protocol",
      `The daemon on "${path}" answered with something that is not a reply`,
      { cause: reply.error },
    );
  if (reply.data.success) return reply.data.data;
  const { error, code: sent, hint } = reply.data;
  // The Go program sends no code, and a later ngrokd may send a new one.
  const code = errorCodes.find((known) => known === sent) ?? "refused";
  throw new NgrokdError(code, error, hint === undefined ? {} : { hint });
}
