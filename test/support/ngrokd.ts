import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ListItem, ReloadReport, Status } from "../../src/desk/reply-schemas.ts";
import { denoRights, underDeno } from "./deno.ts";
import { atEnd, keepLog, until } from "./story.ts";

/**
 * The path of the binary on the stories' machine (machine.ts), readable for
 * every user.
 */
export function binary(): string {
  const path = "/run/bin/ngrokd";
  if (existsSync(path)) return path;
  throw new Error(
    `There is no binary "${process.env.NGROKD_BINARY}": run \`make build\`, or name one in NGROKD_BINARY`,
  );
}

export const defaultSocket = "/var/run/ngrokd.sock";
export const defaultConfig = "/etc/ngrokd/config.yml";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  // biome-ignore lint/suspicious/noExplicitAny: any output of the command, which the story then checks
  readonly json: any;
}

export interface RunOptions {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Another user than root. */
  readonly as?: "nobody";
  readonly cwd?: string;
  /** Further descriptors of a program that keeps running, from 3 on. */
  readonly fds?: readonly number[];
}

/**
 * Runs `ngrokd WORDS…` to its end, as a shell would. Spaces separate words. The
 * tests' own environment does not count.
 */
export async function ngrokd(words: string, options: RunOptions = {}): Promise<Ran> {
  return await run([binary(), ...words.split(" ").filter((word) => word !== "")], options);
}

/** Whether a step of doctor or why has missed its deadline. */
export const missedDeadline = (text: string): boolean =>
  /(?:no|not) answer(?: from the daemon on "\S+")? within [\d.]+ s/i.test(
    text.replaceAll(/\s+/g, " "),
  );

/**
 * Runs doctor or why, again if a step has missed its deadline. On a busy
 * machine that says nothing about the daemon.
 */
export async function examine(words: string, options: RunOptions = {}): Promise<Ran> {
  let ran = await ngrokd(words, options);
  for (let tries = 1; tries < 5 && missedDeadline(ran.out); tries += 1)
    ran = await ngrokd(words, options);
  return ran;
}

/** Runs a program to its end. */
export async function run(
  command: readonly string[],
  { stdin = "", env = {}, as, cwd = "/" }: RunOptions = {},
): Promise<Ran> {
  const child = Bun.spawn({
    cmd: [
      ...(as === undefined ? [] : ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]),
      ...command,
    ],
    cwd,
    env: { ...plainEnv(), ...env },
    stdin: new TextEncoder().encode(stdin),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { code, out, err, get json() { return JSON.parse(out); } }; // biome-ignore format: one line
}

const plainEnv = (): Record<string, string> => ({
  PATH: process.env.PATH ?? "",
  HOME: "/root",
  TERM: "xterm",
  TMPDIR: "/run/tmp",
});

/** A process that keeps running: the daemon, the local cloud, the demo. */
export interface Running {
  readonly pid: number;
  readonly out: () => string;
  /** Its output on stderr so far. */
  readonly log: () => string;
  /** The complete JSON lines of the log. */
  readonly lines: () => {
    level: string;
    message: string;
    hint?: string;
    [field: string]: unknown;
  }[];
  /**
   * Resolves to the exit code when the process has ended and all its output is
   * here.
   */
  readonly exited: Promise<number>;
  kill(signal: NodeJS.Signals): void;
  /**
   * Sends SIGTERM or `signal`, then waits as `exited` does. Resolves to the
   * exit code, or 128 after a signal.
   */
  stop(signal?: NodeJS.Signals): Promise<number>;
}

/** Starts a program that keeps running. The end of the chapter kills it. */
export function start(
  name: string,
  command: readonly string[],
  { env = {}, cwd = "/", fds = [] }: RunOptions = {},
): Running {
  const child = Bun.spawn({
    cmd: [...command],
    cwd,
    env: { ...plainEnv(), ...env },
    stdio: ["ignore", "pipe", "pipe", ...fds],
  });
  const out = collect(child.stdout);
  const log = collect(child.stderr);
  const forget = keepLog(`${name} (pid ${child.pid})`, log.text);
  let ended = false;
  // The last output may arrive after the exit event.
  const exited = Promise.all([child.exited, out.whole, log.whole]).then(([code]) => {
    ended = true;
    return code;
  });
  atEnd(async () => {
    child.kill("SIGKILL");
    await child.exited;
    forget();
  });
  return {
    pid: child.pid,
    out: out.text,
    log: log.text,
    lines: () =>
      log
        .text()
        .split("\n")
        .slice(0, -1)
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line)),
    exited,
    kill: (signal) => child.kill(signal),
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      return await until(`${name} has ended`, () => ended && (child.exitCode ?? 128), {
        within: 40_000,
      });
    },
  };
}

/** The text so far, and a promise of its end. */
function collect(stream: ReadableStream<Uint8Array>): { text: () => string; whole: Promise<void> } {
  let text = "";
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) text += decoder.decode(chunk, { stream: true });
  };
  return { text: () => text, whole: read() };
}

export interface ServeOptions extends RunOptions {
  /** Words after `ngrokd serve`. */
  readonly args?: string;
  readonly socket?: string;
  /**
   * Runs the source under Deno instead of the binary, with few rights or all.
   */
  readonly deno?: boolean | "all rights";
  /** The limit of open files; the machine's by default. */
  readonly files?: number;
  /**
   * A command that runs the binary with the words after it, for example one
   * that drops rights first.
   */
  readonly inside?: readonly string[];
}

export interface Daemon extends Running {
  readonly socket: string;
  status(): Promise<Status>;
  list(): Promise<ListItem[]>;
  /** Polls now, instead of within a second. */
  refresh(): Promise<void>;
  /** Reads the configuration again, instead of within two seconds. */
  reload(): Promise<ReloadReport>;
  /** The endpoint of this host name; undefined if there is none. */
  endpoint(hostname: string): Promise<ListItem | undefined>;
  /** Waits until this host name's endpoint is in this state. */
  becomes(hostname: string, state: ListItem["state"] | "gone"): Promise<ListItem>;
}

/** The living daemons of {@link serve}, by socket. */
const daemons = new Map<string, Running>();

/**
 * Starts the daemon and waits until its socket answers. A daemon that a failed
 * story has left on this socket is ended first: it would refuse this one.
 */
export async function serve({
  args = "",
  socket = defaultSocket,
  deno = false,
  files,
  inside = [binary()],
  ...options
}: ServeOptions = {}): Promise<Daemon> {
  const program =
    deno === false ? inside : underDeno(deno === true ? denoRights() : ["--allow-all"]);
  await daemons.get(socket)?.stop("SIGKILL");
  const limit = files === undefined ? [] : ["sh", "-c", `ulimit -n ${files} && exec "$0" "$@"`];
  const running = start(
    "the daemon",
    [...limit, ...program, "serve", ...args.split(" ").filter((word) => word !== "")],
    options,
  );
  let ended = false;
  daemons.set(socket, running);
  void running.exited.then(() => {
    ended = true;
    if (daemons.get(socket) === running) daemons.delete(socket);
  });
  const request = async (command: string): Promise<unknown> =>
    (await askSocket(socket, { command })).data;
  const list = async () => (await request("list")) as ListItem[];
  const endpoint = async (hostname: string) =>
    (await list()).find((item) => item.hostname === hostname);
  // Deno first reads hundreds of source files: half a minute on a busy machine.
  const within = deno ? 90_000 : 60_000;
  await until("the daemon answers on its socket", async () => ended || (await request("status")), {
    within,
  });
  if (ended) throw new Error(`the daemon ended at once: ${running.log()}`);
  return {
    ...running,
    socket,
    status: async () => (await request("status")) as Status,
    list,
    refresh: async () => void (await request("refresh")),
    reload: async () => (await request("reload")) as ReloadReport,
    endpoint,
    becomes: async (hostname, state) =>
      await until(`${hostname} is ${state}`, async () => {
        const item = await endpoint(hostname);
        if (state === "gone") return item === undefined ? ({} as ListItem) : false;
        return item?.state === state ? item : false;
      }),
  };
}

/** Writes a configuration; YAML reads JSON. */
export function writeConfig(config: object, path = defaultConfig): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
}

// biome-ignore lint/suspicious/noExplicitAny: the reply as it was sent, which the story then checks
type AnyReply = any;

/**
 * One request in the Go client's form (docs/protocol.md, "The control socket"):
 * no line end, our half left open, one object back.
 */
export async function askSocket(path: string, request: object | string): Promise<AnyReply> {
  return JSON.parse(
    await tellSocket(path, typeof request === "string" ? request : JSON.stringify(request)),
  );
}

/**
 * Sends any text to a unix socket. Resolves to the reply when the other side
 * has closed.
 */
export function tellSocket(path: string, text: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const timer = setTimeout(
    () => reject(new Error(`no answer on ${path} to ${text.slice(0, 100)} within 20 s`)),
    20_000,
  );
  const reply: Uint8Array[] = [];
  Bun.connect({
    unix: path,
    socket: {
      open: (socket) => void socket.write(text),
      data: (_socket, bytes) => {
        reply.push(Uint8Array.from(bytes));
      },
      // A character's bytes can arrive in two pieces.
      close: () => resolve(Buffer.concat(reply).toString("utf8")),
      error: (_socket, error) => reject(error),
      connectError: (_socket, error) => reject(error),
    },
  }).catch(reject);
  return promise.finally(() => clearTimeout(timer));
}
