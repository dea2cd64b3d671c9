import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { onAbort } from "../model/abort.ts";
import { NgrokdError } from "../model/error.ts";
import type { ChannelMessage, Conn, Enclosure, Net } from "../net/types.ts";
import { createExecNames } from "./exec-names.ts";
import {
  directHosts,
  type ExecPlan,
  hostsText,
  nsswitchText,
  resolvConfText,
} from "./exec-plan.ts";
import { type InsidePlan, insideMessageSchema, insideVariable, planFile } from "./inside.ts";
import { obstacleText } from "./obstacle.ts";

type Receive = (conn: Conn) => void;

/** A listener, or the name server. */
export interface Closable {
  close(): void;
}

export interface EnclosedOptions {
  readonly net: Net;
  readonly plan: ExecPlan;
  /** The absolute path of the user's program, and its words. */
  readonly program: string;
  readonly command: readonly string[];
  /** Receives the clients of a door of the plan. */
  readonly receiver: (door: ExecPlan["doors"][number]) => Receive;
  /** The same for a name below a wildcard. */
  readonly spareReceiver: (name: string, port: number) => Receive;
  /** Undefined without proxies. */
  readonly proxies: { readonly http: Receive; readonly socks: Receive } | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends the start. */
  readonly stop: AbortSignal;
  /** Called at the last moment before the program begins. */
  readonly begins: (child: ChildProcess) => void;
}

/** A new network and the files of a busy machine; in milliseconds. */
const setUpMs = 20_000;

/**
 * Starts a program in namespaces of its own for users, mounts and network. The
 * listeners in there are served by this process. Rejects with NgrokdError
 * `permission` if this machine allows no such namespaces, and `network` or
 * `state` if anything else fails; then the program has not begun. Returns the
 * listeners.
 */
export async function startEnclosed(options: EnclosedOptions): Promise<readonly Closable[]> {
  const { net, env, stop, begins } = options;
  const enclosure = await net.enclosure();
  const unshare = unshareCommand();
  const folder = await mkdtemp(join(tmpdir(), "ngrokd-exec-"));
  try {
    await writePlan(folder, options);
    const [ours, theirs] = enclosure.channel();
    const [file = "", ...words] = [...unshare, ...ownCommand()];
    const child = spawn(file, [...words, "exec"], {
      stdio: ["inherit", "inherit", "inherit", theirs],
      env: { ...env, [insideVariable]: folder },
    });
    closeSync(theirs);
    const failing = new AbortController();
    child.once("error", (error) => failing.abort(error));
    onAbort(stop, () =>
      failing.abort(new NgrokdError("cancelled", "Stopped before the command began")),
    );
    let listeners: readonly Closable[] = [];
    try {
      const descriptors = await handedOut(enclosure, ours, failing.signal);
      listeners = await adoptAll(options, descriptors);
      failing.signal.throwIfAborted();
      begins(child);
      enclosure.send(ours, "go", []);
      // It closes the channel when it becomes the program.
      await gone(enclosure, ours);
      return listeners;
    } catch (error) {
      child.kill("SIGKILL");
      for (const listener of listeners) listener.close();
      throw error;
    } finally {
      closeSync(ours);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * The command that makes the namespaces. This user keeps its number inside, and
 * has the rights there until its program begins. An old unshare(1) can only
 * call it root.
 */
function unshareCommand(): string[] {
  const path = ["/usr/bin/unshare", "/bin/unshare"].find((one) => existsSync(one));
  if (path === undefined)
    throw new NgrokdError(
      "permission",
      obstacleText({ said: "there is no unshare(1)", settings: {} }),
    );
  const spaces = ["--mount", "--net"];
  const ways =
    process.getuid?.() === 0
      ? [spaces]
      : [
          ["--map-current-user", "--keep-caps", ...spaces],
          ["--map-root-user", ...spaces],
        ];
  let said = "";
  for (const flags of ways) {
    const tried = spawnSync(path, [...flags, "true"], { encoding: "utf8", env: { LC_ALL: "C" } });
    if (tried.status === 0) return [path, ...flags];
    said = tried.stderr.trim();
  }
  throw new NgrokdError("permission", obstacleText({ said, settings: settingsNow() }));
}

/** The settings of Linux that forbid namespaces, as far as they are there. */
function settingsNow(): Record<string, string> {
  const paths = [
    "kernel/unprivileged_userns_clone",
    "user/max_user_namespaces",
    "kernel/apparmor_restrict_unprivileged_userns",
  ];
  return Object.fromEntries(
    paths.flatMap((path) => {
      try {
        return [[path.replace("/", "."), readFileSync(`/proc/sys/${path}`, "utf8").trim()]];
      } catch {
        return [];
      }
    }),
  );
}

/** The compiled program, or the source under its runtime. */
function ownCommand(): string[] {
  const [, script = ""] = process.argv;
  return script.startsWith("/$bunfs/") ? [process.execPath] : [process.execPath, script];
}

async function writePlan(
  folder: string,
  { plan, program, command, proxies }: EnclosedOptions,
): Promise<void> {
  const read = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");
  const texts: readonly { over: string; text: string | undefined }[] = [
    { over: "/etc/hosts", text: hostsText(await read("/etc/hosts"), plan) },
    { over: "/etc/nsswitch.conf", text: nsswitchText(await read("/etc/nsswitch.conf")) },
    { over: "/etc/resolv.conf", text: resolvConfText },
  ];
  const covers: { file: string; over: string }[] = [];
  for (const { over, text } of texts) {
    if (text === undefined || !existsSync(over)) continue;
    const file = over.replace("/etc/", "");
    await writeFile(join(folder, file), text, { mode: 0o644 });
    covers.push({ file, over });
  }
  const inside: InsidePlan = {
    doors: [...plan.doors, ...sparesOf(plan)].map(({ ip, port }) => ({ ip, port })),
    proxies: proxies !== undefined,
    nameServer: plan.zones.length > 0,
    covers,
    direct: directHosts(plan),
    program,
    command: [...command],
  };
  await writeFile(join(folder, planFile), JSON.stringify(inside), { mode: 0o600 });
}

/** The listeners of the process inside, in the order of the plan. */
async function handedOut(
  enclosure: Enclosure,
  channel: number,
  signal: AbortSignal,
): Promise<number[]> {
  const descriptors: number[] = [];
  const deadline = performance.now() + setUpMs;
  try {
    for (;;) {
      const message = await nextMessage(enclosure, channel, deadline, signal);
      if (message === null) throw new NgrokdError("network", "The process inside has ended early");
      descriptors.push(...message.descriptors);
      const said = insideMessageSchema.parse(JSON.parse(message.text));
      if (said.kind === "ready") return descriptors;
      if (said.kind === "failed")
        throw new NgrokdError(said.code === "permission" ? "permission" : "network", said.message);
    }
  } catch (error) {
    for (const one of descriptors) closeSync(one);
    throw error;
  }
}

async function nextMessage(
  enclosure: Enclosure,
  channel: number,
  deadline: number,
  signal?: AbortSignal,
): Promise<ChannelMessage | null> {
  for (;;) {
    signal?.throwIfAborted();
    const message = enclosure.receive(channel);
    if (message !== undefined) return message;
    if (performance.now() > deadline)
      throw new NgrokdError("timeout", "The process inside is not ready in time");
    await sleep(2);
  }
}

async function gone(enclosure: Enclosure, channel: number): Promise<void> {
  const message = await nextMessage(enclosure, channel, performance.now() + setUpMs);
  if (message === null) return;
  const said = insideMessageSchema.parse(JSON.parse(message.text));
  if (said.kind === "failed") throw new NgrokdError("network", said.message);
}

/** Each spare address listens at each port of a wildcard. */
const sparesOf = ({ spares, sparePorts }: ExecPlan) =>
  spares.flatMap((ip) => sparePorts.map((port) => ({ ip, port })));

async function adoptAll(
  { net, plan, receiver, spareReceiver, proxies }: EnclosedOptions,
  descriptors: readonly number[],
): Promise<Closable[]> {
  const names = createExecNames(plan);
  const receivers = [
    ...plan.doors.map(receiver),
    ...sparesOf(plan).map(({ ip, port }) => (conn: Conn): void => {
      const name = names.nameOf(ip);
      if (name === undefined) conn.abort();
      else spareReceiver(name, port)(conn);
    }),
    ...(proxies === undefined ? [] : [proxies.http, proxies.socks]),
  ];
  const adopted = await adoptEach(net, receivers, descriptors);
  const [udp, tcp] = descriptors.slice(receivers.length);
  if (udp !== undefined && tcp !== undefined) adopted.push(await names.serve(net, { udp, tcp }));
  return adopted;
}

/**
 * Adopts a listener for each receiver, in their order. If one fails, all
 * descriptors are closed, also those without a receiver.
 */
export async function adoptEach(
  net: Pick<Net, "adopt">,
  receivers: readonly Receive[],
  descriptors: readonly number[],
): Promise<Closable[]> {
  const adopted: Closable[] = [];
  try {
    for (const [i, receive] of receivers.entries())
      adopted.push(await net.adopt(descriptors[i] ?? -1, receive));
    return adopted;
  } catch (error) {
    for (const listener of adopted) listener.close();
    for (const one of descriptors.slice(adopted.length)) closeSync(one);
    throw error;
  }
}
