import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A process of the benchmark. It ends with the benchmark in every case. */
export interface Running {
  readonly pid: number;
  /**
   * The next line of its stdout. Rejects with its log if it ends before that.
   */
  line(): Promise<string>;
  /** Ends its stdin. */
  endInput(): void;
  /** SIGTERM, and SIGKILL if that is not enough. */
  stop(): Promise<void>;
}

const running = new Set<Bun.Subprocess>();

/** Starts a program whose stderr goes to `NAME.log` in `folder`. */
export function start(
  folder: string,
  name: string,
  command: readonly string[],
  env: Record<string, string> = {},
): Running {
  const log = join(folder, `${name}.log`);
  const stderr = openSync(log, "a");
  // If the benchmark is killed, the kernel ends this process.
  const child = Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...command], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? "", HOME: folder, ...env },
    stdin: "pipe",
    stdout: "pipe",
    stderr,
  });
  closeSync(stderr);
  running.add(child);
  void child.exited.then(() => running.delete(child));
  const lines = linesOf(child.stdout);
  return {
    pid: child.pid,
    async line() {
      const { value, done } = await lines.next();
      if (done !== true) return value;
      throw new Error(
        `${name} ended with code ${await child.exited}: ${readFileSync(log, "utf8").slice(-2000)}`,
      );
    },
    endInput: () => void child.stdin.end(),
    stop: () => stop(child),
  };
}

export async function stopAll(): Promise<void> {
  await Promise.all([...running].map(stop));
}

/**
 * Runs a program to its end and returns its output, stderr included. Undefined
 * if it is missing or fails.
 */
export function outputOf(
  command: readonly string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): string | undefined {
  if (Bun.which(command[0] ?? "") === null) return undefined;
  const { env = {}, cwd } = options;
  const ended = Bun.spawnSync([...command], {
    cwd,
    env: { ...process.env, ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  return ended.exitCode === 0 ? `${ended.stdout}${ended.stderr}` : undefined;
}

/**
 * User and system time of all its threads so far, in seconds. The kernel counts
 * in steps of 10 ms.
 */
export function cpuSeconds(pid: number): number {
  // The second field is the name in brackets, which may have any character.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/**
 * Waits until a process has used no CPU for a while, at most 10 s. So its work
 * after a load does not slow down the next contender.
 */
export async function atRest(pid: number): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (let used = Number.NaN; performance.now() < deadline && used !== cpuSeconds(pid); ) {
    used = cpuSeconds(pid);
    await Bun.sleep(300);
  }
}

export function rssKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

export const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/**
 * A port of 127.0.0.1 without a listener, for programs that cannot choose one
 * themselves.
 */
export function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}

/** Waits until `probe` returns true. Rejects after `seconds`. */
export async function until(
  what: string,
  probe: () => Promise<boolean> | boolean,
  seconds = 30,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!(await probe())) {
    if (performance.now() > deadline) throw new Error(`Waited ${seconds} s in vain until ${what}`);
    await Bun.sleep(20);
  }
}

async function stop(child: Bun.Subprocess): Promise<void> {
  child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await child.exited;
  clearTimeout(force);
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of stream) {
    const lines = (text + decoder.decode(bytes, { stream: true })).split("\n");
    text = lines.pop() ?? "";
    yield* lines;
  }
  return undefined;
}
