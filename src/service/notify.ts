import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { oneLine } from "../model/error.ts";
import type { Net } from "../net/types.ts";

/**
 * Reports the daemon's state to systemd (sd_notify(3)). `systemctl start` then
 * returns when the daemon is up, reloads and stops are visible, and a daemon
 * that hangs is restarted. Calls return at once and never fail. Without systemd
 * nothing is sent; undeliverable messages are lost.
 */
export interface Notifier {
  /** The daemon is up, or has finished a reload. */
  ready(): void;
  /** This process is the service's main one from now on, and is up. */
  succeeded(): void;
  /** A reload has started; {@link ready} follows. */
  reloading(): void;
  /**
   * The daemon stops within `withinMs` milliseconds. This extends the limit of
   * the unit.
   */
  stopping(withinMs: number): void;
  /** A line for `systemctl status`; sent only if it has changed. */
  status(text: string): void;
  /**
   * Sends a sign of life three times per watchdog interval of the unit, as long
   * as `live` returns true.
   */
  watch(live: () => boolean): void;
  /**
   * Sends nothing more, and waits for pending messages. A daemon that has
   * handed over must not speak for its successor.
   */
  close(): Promise<void>;
}

export interface NotifierOptions {
  readonly net: Pick<Net, "datagram">;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly pid?: number;
  /** Sends a message if the runtime has no datagram sockets. */
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
  let isOpen = isSocket(socket);

  const send = (text: string): void => {
    if (!isOpen) return;
    // In order, since systemd shows the status that arrives last.
    sending = sending.then(async () => {
      if (!(await net.datagram(socket, text))) await otherwise(text, socket).catch(() => undefined);
    });
  };
  return {
    ready: () => send("READY=1"),
    succeeded: () => send(`MAINPID=${pid}\nREADY=1`),
    reloading: () => send(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    stopping: (withinMs) => send(`STOPPING=1\nEXTEND_TIMEOUT_USEC=${Math.round(withinMs * 1000)}`),
    status(text) {
      const line = oneLine(text);
      if (line !== lastStatus) send(`STATUS=${line}`);
      lastStatus = line;
    },
    watch(live) {
      if (watchdogMs === undefined || timer !== undefined || !isOpen) return;
      const ping = (): void => {
        if (live()) send("WATCHDOG=1");
      };
      timer = setInterval(ping, watchdogMs / 3);
      ping();
    },
    async close() {
      isOpen = false;
      clearInterval(timer);
      await sending;
    },
  };
}

/**
 * A path, or a name in Linux's abstract namespace. systemd's `vsock:` is for
 * virtual machines and not supported.
 */
const isSocket = (text: string): boolean => text.startsWith("/") || text.startsWith("@");

/** The watchdog interval of this process in milliseconds, if it has one. */
export function watchdogIn(env: NotifierOptions["env"], pid: number): number | undefined {
  const ms = Number(env.WATCHDOG_USEC) / 1000;
  const forUs = (env.WATCHDOG_PID ?? "") === "" || Number(env.WATCHDOG_PID) === pid;
  return forUs && Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

const programs = ["/usr/bin/systemd-notify", "/bin/systemd-notify"];
const patienceMs = 5000;

/** With systemd's own program, which the unit allows with NotifyAccess=all. */
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
