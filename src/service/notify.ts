import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { oneLine } from "../model/error.ts";
import type { Net } from "../net/types.ts";

/**
 * What the daemon tells systemd of itself (sd_notify(3)), so that
 * `systemctl start` returns when it is up, a reload and a stop are seen as
 * such, and a daemon that hangs is restarted. Every call returns at once and
 * none can fail: without systemd nothing is sent, and what cannot be delivered
 * is lost.
 */
export interface Notifier {
  /** It is up, or it has finished reloading. */
  ready(): void;
  /** It reads its configuration again; {@link ready} follows. */
  reloading(): void;
  /**
   * It takes back what it did, and needs `withinMs` at most, however short the
   * unit's own limit is.
   */
  stopping(withinMs: number): void;
  /** One line for `systemctl status`; told only when it is another one. */
  status(text: string): void;
  /**
   * Tells from now on that the daemon is alive, three times in the time that
   * the unit allows, unless `live` says that it is not.
   */
  watch(live: () => boolean): void;
  /** Settles when everything has been sent. Nothing is sent after it. */
  close(): Promise<void>;
}

export interface NotifierOptions {
  readonly net: Pick<Net, "datagram">;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly pid?: number;
  /** Where the runtime has no such sockets: sends by other means. */
  readonly otherwise?: (text: string, socket: string) => Promise<void>;
}

export function createNotifier({
  net,
  env,
  pid = process.pid,
  otherwise = bySystemdNotify,
}: NotifierOptions): Notifier {
  const socket = env.NOTIFY_SOCKET ?? "";
  const watchdogMs = watchdogIn(env, pid);
  let sending = Promise.resolve();
  let lastStatus = "";
  let timer: ReturnType<typeof setInterval> | undefined;

  const send = (text: string): void => {
    if (!isSocket(socket)) return;
    // One after another: systemd takes the last status for the true one.
    sending = sending.then(async () => {
      if (!(await net.datagram(socket, text))) await otherwise(text, socket).catch(() => undefined);
    });
  };
  return {
    ready: () => send("READY=1"),
    reloading: () => send(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    stopping: (withinMs) => send(`STOPPING=1\nEXTEND_TIMEOUT_USEC=${Math.round(withinMs * 1000)}`),
    status(text) {
      const line = oneLine(text);
      if (line !== lastStatus) send(`STATUS=${line}`);
      lastStatus = line;
    },
    watch(live) {
      if (watchdogMs === undefined || timer !== undefined || !isSocket(socket)) return;
      const ping = (): void => {
        if (live()) send("WATCHDOG=1");
      };
      timer = setInterval(ping, watchdogMs / 3);
      ping();
    },
    async close() {
      clearInterval(timer);
      await sending;
    },
  };
}

/**
 * A path, or a name of Linux's abstract namespace; systemd's `vsock:` is for
 * virtual machines.
 */
const isSocket = (text: string): boolean => text.startsWith("/") || text.startsWith("@");

/**
 * Milliseconds in which systemd wants to hear of this process; undefined where
 * it does not.
 */
export function watchdogIn(env: NotifierOptions["env"], pid: number): number | undefined {
  const ms = Number(env.WATCHDOG_USEC) / 1000;
  const forUs = (env.WATCHDOG_PID ?? "") === "" || Number(env.WATCHDOG_PID) === pid;
  return forUs && Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

const programs = ["/usr/bin/systemd-notify", "/bin/systemd-notify"];
const patienceMs = 5000;

/** systemd's own program does it too, for the unit says `NotifyAccess=all`. */
function bySystemdNotify(text: string, socket: string): Promise<void> {
  const program = programs.find((path) => existsSync(path));
  if (program === undefined) return Promise.resolve();
  return new Promise((resolve) => {
    const child = spawn(program, text.split("\n"), {
      stdio: "ignore",
      timeout: patienceMs,
      env: { NOTIFY_SOCKET: socket },
    });
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  });
}
