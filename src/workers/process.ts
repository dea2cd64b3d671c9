import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import process from "node:process";
import { reasonOf } from "../model/error.ts";
import type { Enclosure } from "../net/types.ts";
import { type Order, type Report, workerCommand } from "./messages.ts";
import type { Line } from "./worker.ts";

/** A program with its words. */
export interface Program {
  readonly path: string;
  readonly args: readonly string[];
}

/**
 * The running program, also if its file has been replaced: a worker must be
 * of the same version as its daemon.
 */
export function ownWorker(): Program {
  const isCompiled = process.argv[1]?.startsWith("/$bunfs/") === true;
  const source = isCompiled ? [] : [process.argv[1] ?? ""];
  return {
    path: isCompiled ? "/proc/self/exe" : process.execPath,
    args: [...source, workerCommand],
  };
}

/** A worker, as its daemon sees it. */
export interface WorkerProcess {
  readonly pid: number;
  /** An order, with descriptors that stay the sender's. */
  send(order: Order, descriptors?: readonly number[]): void;
  /** How it has ended: a sentence's part, such as "by SIGKILL". */
  readonly ended: Promise<string>;
  kill(): void;
}

/** How descriptors reach a worker. */
export interface Passage extends Pick<Enclosure, "channel" | "send"> {
  close(descriptor: number): void;
}

/** The descriptor of the second channel in a worker. The first one is IPC. */
const channel = 4;

/** What a worker needs of the environment; it needs no secret. */
const inherited = ["PATH", "TZ", "LANG", "TMPDIR", "UV_THREADPOOL_SIZE"];

/**
 * Starts a worker. `heard` gets its reports. Orders and reports are messages of
 * the runtime's own channel between processes, which neither has a path nor is
 * seen by others. Throws if the system cannot start it.
 */
export function startWorker(
  { path, args }: Program,
  passage: Passage,
  heard: (report: Report) => void,
): WorkerProcess {
  const [ours, theirs] = passage.channel();
  let child: ChildProcess;
  try {
    // The types do not know both at once: an open channel, and a descriptor.
    const options = {
      argv0: "ngrokd",
      stdio: ["ignore", "inherit", "inherit", "ipc", theirs],
      serialization: "advanced",
      env: Object.fromEntries(
        inherited.flatMap((name) => {
          const value = process.env[name];
          return value === undefined ? [] : [[name, value]];
        }),
      ),
    } as SpawnOptions;
    child = spawn(path, args, options);
  } catch (error) {
    passage.close(ours);
    throw error;
  } finally {
    passage.close(theirs);
  }
  child.on("message", (report) => heard(report as Report));
  const ended = new Promise<string>((resolve) => {
    child.on("error", (error) => {
      if (child.pid === undefined) resolve(`at once: ${reasonOf(error)}`);
      // An order was lost. The next worker gets all, once this one has ended.
      else child.kill("SIGKILL");
    });
    child.once("exit", (code, signal) =>
      resolve(signal === null ? `with exit code ${code}` : `by ${signal}`),
    );
  });
  void ended.then(() => passage.close(ours));
  return {
    pid: child.pid ?? 0,
    send(order, descriptors = []) {
      try {
        if (descriptors.length > 0) passage.send(ours, order.kind, descriptors);
        child.send(order);
      } catch {
        // As for an error that comes later: see above.
        child.kill("SIGKILL");
      }
    },
    ended,
    kill: () => void child.kill("SIGKILL"),
  };
}

/** The same channels in the worker; undefined if no daemon has started it. */
export function lineOfWorker(enclosure: Pick<Enclosure, "await">): Line | undefined {
  const send = process.send?.bind(process) as ((report: Report) => boolean) | undefined;
  if (send === undefined) return undefined;
  const gone = new Promise<void>((resolve) => process.once("disconnect", resolve));
  return {
    send(report) {
      if (process.connected) send(report);
    },
    listen(take) {
      let last: Promise<void> = Promise.resolve();
      process.on("message", (order) => {
        last = last.then(() => take(order as Order));
      });
    },
    gone,
    descriptors: () => enclosure.await(channel)?.descriptors ?? [],
  };
}
