/** The control socket: how it is opened, inherited, passed on and closed. */
import { chmod, chown, link, lstat, readFile, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as z from "zod/mini";
import { fileError, rootHint } from "../files/atomic.ts";
import { absent } from "../files/sweep.ts";
import { groupIn } from "../model/access.ts";
import { errnoOf } from "../model/errno.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { randomHex } from "../model/random.ts";
import type { Conn, Listener, Net } from "../net/types.ts";
import { isAlive } from "./alive.ts";
import { type AnswerOptions, createAnswering } from "./answering.ts";
import { askDaemon } from "./client.ts";
import { checkPlace } from "./safe-place.ts";
import { inTurn } from "./turn.ts";

export interface ControlOptions extends AnswerOptions {
  readonly path: string;
  /**
   * The group that may use the socket, as root may. Ignored if the machine has
   * no such group.
   */
  readonly group: string;
  /** Whether users outside the group may ask, too; default: the group alone. */
  readonly readers?: "group" | "all";
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
  const name = randomHex(4);
  const birthplace = join(dirname(path), `.ngrokd-${name}`);
  const { gate, onConn } = createAnswering(options);
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
  const { gate, onConn } = createAnswering(options);
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
    // Its daemon may remove it at this moment, as its last act.
    const isRemoved = await unlink(path).then(() => true, absent);
    if (isRemoved) log.info(`Took over the control socket "${path}" of a daemon that has ended`);
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
    { timeoutMs: 10_000 },
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

/** The group's number from /etc/group: neither runtime has a call for it. */
const groupId = async (name: string): Promise<number | undefined> =>
  groupIn(await readFile("/etc/group", "utf8").catch(() => ""), name)?.gid;
