import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { agentLine, lineFor, type Said } from "./agent.ts";
import { commandOf, type Disks, type Kind } from "./kinds.ts";

/**
 * A virtual machine: a whole Debian with its own kernel and systemd. Its
 * standard input and output are the serial port of guest/agent.sh.
 */
export interface Machine {
  /** Runs a command of the shell as root; its output is of both streams. */
  run(command: string, seconds?: number): Promise<Said>;
  /** The same; rejects with the output unless the exit code is 0. */
  sh(command: string, seconds?: number): Promise<string>;
  /**
   * Runs a command again and again, until its exit code is 0. Rejects with its
   * last output after `seconds`.
   */
  until(what: string, command: string, seconds?: number): Promise<string>;
  /** Shuts the system down, and starts it again. */
  reboot(): Promise<void>;
  /** Takes the power away, and starts the system again. */
  cutPower(): Promise<void>;
  end(): Promise<void>;
}

/** One life of the machine, between power on and power off. */
interface Boot {
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
  readonly ready: Promise<void>;
  ask(command: string, seconds: number): Promise<Said>;
}

/**
 * Ends all processes of a machine with its first one, and that one with these
 * tests, also if they are killed. User-Mode Linux has many processes.
 */
const lifeline: [string, ...string[]] = [
  "setpriv",
  ..."--pdeathsig KILL unshare --pid --fork --kill-child=KILL".split(" "),
];

const secondsToStart = 240;
const secondsToStop = 120;
/** The agent ends a command in time; beyond this the machine itself hangs. */
const secondsToAnswer = 30;

export async function startMachine(kind: Kind, disks: Disks, console: string): Promise<Machine> {
  let boot = await start(kind, disks, console);
  const run: Machine["run"] = (command, seconds = 60) => boot.ask(command, seconds);
  const sh: Machine["sh"] = async (command, seconds) => {
    const { code, out } = await run(command, seconds);
    if (code !== 0) throw new Error(`"${command}" ended with exit code ${code}:\n${out}`);
    return out;
  };
  return {
    run,
    sh,
    async until(what, command, seconds = 60) {
      const loop = `end=$((SECONDS + ${seconds}))
until said=$({ ${command}; } 2>&1); do
  if ((SECONDS >= end)); then printf '%s\\n' "$said"; exit 1; fi
  sleep 0.3
done
printf '%s\\n' "$said"`;
      const { code, out } = await run(loop, seconds + 60);
      if (code !== 0) throw new Error(`waited ${seconds} s in vain until ${what}; last:\n${out}`);
      return out;
    },
    async reboot() {
      // The agent may be ended before it has answered.
      await run("systemctl poweroff --no-block").catch(() => undefined);
      await within(secondsToStop, "the system shuts down", boot.ended).catch((error) => {
        power(boot.child);
        throw error;
      });
      boot = await start(kind, disks, console);
    },
    async cutPower() {
      power(boot.child);
      await boot.ended;
      boot = await start(kind, disks, console);
    },
    async end() {
      power(boot.child);
      await boot.ended;
    },
  };
}

async function start(kind: Kind, disks: Disks, console: string): Promise<Boot> {
  const boot = turnOn(kind, disks, console);
  try {
    await within(secondsToStart, "the system is up", boot.ready);
    await boot.ask("systemctl is-system-running --wait; mount -r -L share /mnt", secondsToStart);
    return boot;
  } catch (error) {
    power(boot.child);
    throw error;
  }
}

function turnOn(kind: Kind, disks: Disks, console: string): Boot {
  const [program, ...args] = [...lifeline, ...commandOf(kind, disks)];
  const log = openSync(console, "a");
  // A group of its own, so that Ctrl-C is for the tests alone.
  const child = spawn(program, args, { stdio: ["pipe", "pipe", log], detached: true });
  closeSync(log);
  const ready = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const questions = new Map<number, PromiseWithResolvers<Said>>();
  const finish = (reason: string): void => {
    const error = new Error(`${reason}; its console is in "${console}"`);
    ready.reject(error);
    for (const { reject } of questions.values()) reject(error);
    ended.resolve();
  };
  child.once("error", ({ message }) => finish(`it did not start: ${message}`));
  child.once("close", () => finish("the machine is off"));
  // Nobody may wait for it at the moment.
  ready.promise.catch(() => undefined);
  eachLine(child, (text) => {
    const line = agentLine(text);
    if (line?.kind === "ready") ready.resolve();
    if (line?.kind === "said") questions.get(line.number)?.resolve(line.said);
  });
  let count = 0;
  return {
    child,
    ended: ended.promise,
    ready: ready.promise,
    ask(command, seconds) {
      count += 1;
      const number = count;
      const question = Promise.withResolvers<Said>();
      questions.set(number, question);
      if (child.exitCode !== null || child.signalCode !== null)
        question.reject(new Error("the machine is off"));
      child.stdin?.write(lineFor(number, command, seconds));
      return within(seconds + secondsToAnswer, `"${command}" has run`, question.promise).finally(
        () => questions.delete(number),
      );
    },
  };
}

function eachLine(child: ChildProcess, tell: (line: string) => void): void {
  let rest = "";
  child.stdin?.on("error", () => undefined);
  child.stdout?.on("data", (bytes: Buffer) => {
    const lines = (rest + bytes.toString("latin1")).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) tell(line);
  });
}

/** Ends all processes of a machine at once, as if its power failed. */
function power({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It is off.
  }
}

async function within<T>(seconds: number, what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`waited ${seconds} s in vain until ${what}`)),
    seconds * 1000,
  );
  return await Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}
