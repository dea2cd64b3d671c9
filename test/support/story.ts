import { afterAll, beforeAll, describe, setDefaultTimeout } from "bun:test";
import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { onOwnMachine, whyNot } from "./machine.ts";

/**
 * A chapter of stories about the compiled binary, on a machine of their own
 * (machine.ts). It begins as if ngrokd had never been installed. At its end no
 * process of it is left, also if a story fails half way. Without such a machine
 * it is skipped, with the reason in its title.
 */
export function stories(title: string, tell: () => void): void {
  if (!onOwnMachine) {
    describe.skip(`${title} (skipped: ${whyNot()})`, tell);
    return;
  }
  describe(title, () => {
    setDefaultTimeout(120_000);
    beforeAll(freshMachine);
    afterAll(endAll);
    tell();
  });
}

/**
 * The hosts file of {@link freshMachine}, with the oddities of real ones:
 * comments, odd spacing, no line end at the end.
 */
export const foreignHosts =
  "127.0.0.1\tlocalhost\n::1  localhost ip6-localhost\n\n# mine, do not touch\n192.0.2.7   db.internal db  # office";

/** Makes the machine one on which ngrokd has never been installed. */
export function freshMachine(): void {
  const ours = ["/etc/ngrokd", "/etc/ssl/certs/ngrok", "/run/ngrokd.sock", "/run/story"];
  const temporary = readdirSync("/run/tmp").map((name) => `/run/tmp/${name}`);
  for (const path of [...ours, ...temporary]) rmSync(path, { recursive: true, force: true });
  writeFileSync("/etc/hosts", foreignHosts);
  chmodSync("/etc/hosts", 0o644);
  writeFileSync("/etc/nsswitch.conf", nameSources);
}

/** The first contents, in case a failed story leaves its own. */
const nameSources = onOwnMachine ? readFileSync("/etc/nsswitch.conf", "utf8") : "";

const undo: (() => unknown)[] = [];

/** Registers a step for the chapter's end. The latest step runs first. */
export function atEnd(step: () => unknown): void {
  undo.push(step);
}

/**
 * Ends the chapter early, as for a test that must leave nothing behind. A step
 * that fails keeps no other from its turn. Then the processes are ended that no
 * step knows, such as one that a script has started.
 */
export async function endAll(): Promise<void> {
  const failures: unknown[] = [];
  for (const step of undo.splice(0).reverse()) {
    try {
      await step();
    } catch (error) {
      failures.push(error);
    }
  }
  await until("all processes have ended", () => {
    const left = strangers();
    for (const pid of left) kill(pid);
    return left.length === 0;
  });
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) throw new AggregateError(failures, `${failures.length} steps failed`);
}

/**
 * The processes of this machine, other than the run itself and those above it.
 * A machine has its own process ids (machine.ts), so they are all the stories'.
 */
export function strangers(): number[] {
  const own = new Set<number>();
  for (let pid = process.pid; pid > 0 && !own.has(pid); pid = parentOf(pid)?.pid ?? 0) own.add(pid);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => !own.has(pid) && (parentOf(pid)?.isAlive ?? false));
}

/** The process above this one; undefined if there is no such process. */
function parentOf(pid: number): { pid: number; isAlive: boolean } | undefined {
  try {
    const [, state, parent] =
      /^.*\) (\S) (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
    return { pid: Number(parent), isAlive: state !== "Z" && state !== "X" };
  } catch {
    return undefined;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

const logs = new Map<string, () => string>();

/** Adds a log to the error of a failed {@link until}. Returns the removal. */
export function keepLog(name: string, log: () => string): () => void {
  logs.set(name, log);
  return () => logs.delete(name);
}

/**
 * Waits until `probe` returns a value other than false or undefined, and
 * returns that. An exception counts as "not yet". `within` and `every` are
 * milliseconds. Rejects with the last value and the tails of the logs.
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T> | T,
  { within = 60_000, every = 30 }: { within?: number; every?: number } = {},
): Promise<Exclude<T, false | undefined>> {
  const deadline = performance.now() + within;
  let last: unknown;
  for (;;) {
    try {
      const seen = await probe();
      if (seen !== false && seen !== undefined) return seen as Exclude<T, false | undefined>;
      last = seen;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) break;
    await Bun.sleep(every);
  }
  const tails = [...logs].map(([name, log]) => `--- log of ${name}\n${log().slice(-4000)}`);
  throw new Error(
    [`waited ${within} ms in vain until ${what}; last seen: ${Bun.inspect(last)}`, ...tails].join(
      "\n",
    ),
  );
}
