import { dlopen, ptr } from "bun:ffi";
import { closeSync, readFileSync, rmSync } from "node:fs";
import {
  controlLengthIn,
  controlSize,
  descriptorsIn,
  messageHeader,
} from "../../src/linux/rights.ts";
import { libcIn, socketAddress } from "../../src/net/bun-libc.ts";
import { atEnd } from "./story.ts";

/**
 * A small stand-in for systemd: it takes the notifications of a service, knows
 * its main process, and keeps its descriptors.
 */
export interface ServiceManager {
  /** For the service. */
  readonly env: Readonly<Record<string, string>>;
  readonly texts: () => readonly string[];
  /** The main process, if the service has named one. */
  readonly mainPid: () => number | undefined;
  /** The names of the descriptors that it keeps. */
  readonly kept: () => readonly string[];
  /** Keeps a copy of a descriptor, as a socket unit has one. */
  keep(name: string, fd: number): void;
  /**
   * The words in front of a program that gets the kept descriptors, and their
   * numbers in the order of {@link kept}: they become 3, 4, and so on.
   */
  passing(): { readonly words: readonly string[]; readonly fds: readonly number[] };
}

export function startServiceManager(path = "/run/manager.sock"): ServiceManager {
  const { symbols } = dlopen(libcIn(readFileSync("/proc/self/maps", "utf8")), {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
    recvmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
    close: { args: ["i32"], returns: "i32" },
    fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
  });
  rmSync(path, { force: true });
  const address = socketAddress(path);
  const [unix, datagrams, nonBlocking, closeOnExec] = [1, 2, 0o4000, 0x40000000];
  const duplicateClosed = 1030;
  const socket = symbols.socket(unix, datagrams | nonBlocking, 0);
  if (symbols.bind(socket, address, address.length) !== 0) throw new Error(`cannot bind ${path}`);
  const texts: string[] = [];
  const kept = new Map<string, number>();
  const [bytes, control] = [new Uint8Array(4096), new Uint8Array(controlSize(8))];
  const parts = new BigUint64Array([BigInt(ptr(bytes)), BigInt(bytes.length)]);

  const read = (): void => {
    for (;;) {
      const header = messageHeader({
        name: 0,
        nameLength: 0,
        parts: ptr(parts),
        control: ptr(control),
        controlLength: control.length,
      });
      const size = Number(symbols.recvmsg(socket, header, closeOnExec));
      if (size < 0) return;
      const text = new TextDecoder().decode(bytes.subarray(0, size));
      take(text, descriptorsIn(control.subarray(0, controlLengthIn(header))));
    }
  };
  const take = (text: string, fds: readonly number[]): void => {
    texts.push(text);
    const name = /^FDNAME=(.*)$/m.exec(text)?.[1] ?? "";
    if (text.startsWith("FDSTOREREMOVE=1")) drop(name);
    else if (!text.startsWith("FDSTORE=1")) for (const fd of fds) closeSync(fd);
    else if (fds[0] !== undefined) {
      if (!/^[\x20-\x39\x3b-\x7e]{1,255}$/.test(name)) throw new Error(`a bad name: ${name}`);
      drop(name);
      kept.set(name, high(fds[0]));
      closeSync(fds[0]);
    }
  };
  /**
   * The same file at a number that is no target of a child's descriptors: Bun
   * 1.4.5 puts them into place one by one.
   */
  const high = (fd: number): number => symbols.fcntl(fd, duplicateClosed, 500);
  const drop = (name: string): void => {
    const fd = kept.get(name);
    if (fd !== undefined) closeSync(fd);
    kept.delete(name);
  };
  const timer = setInterval(read, 5);
  atEnd(() => {
    clearInterval(timer);
    symbols.close(socket);
    for (const name of [...kept.keys()]) drop(name);
  });
  return {
    env: { NOTIFY_SOCKET: path, FDSTORE: "4096" },
    texts: () => texts,
    mainPid() {
      const named = texts.flatMap((text) => /^MAINPID=(\d+)$/m.exec(text)?.[1] ?? []);
      return named.length === 0 ? undefined : Number(named.at(-1));
    },
    kept: () => [...kept.keys()],
    keep: (name, fd) => void kept.set(name, high(fd)),
    passing() {
      read();
      const names = [...kept.keys()].join(":");
      const count = kept.size;
      const set = `LISTEN_PID=$$ LISTEN_FDS=${count} LISTEN_FDNAMES='${names}'`;
      return { words: ["sh", "-c", `${set} exec "$0" "$@"`], fds: [...kept.values()] };
    },
  };
}
