import { dlopen, FFIType, ptr } from "bun:ffi";
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { registered } from "../support/cloud.ts";
import { freshMachine, stories, until } from "../support/story.ts";
import { dial, echo } from "../support/tcp.ts";

/**
 * Linux's constants: syscall(2), the same on every architecture since 5.6;
 * tcp(7); socket(7).
 */
const [pidfdOpen, pidfdGetfd] = [434, 438];
const [ipprotoTcp, tcpNoDelay, tcpKeepIdle, tcpKeepInterval, tcpKeepCount] = [6, 1, 4, 5, 6];
const [solSocket, soKeepAlive] = [1, 9];

/**
 * Borrows a descriptor of another process, with the same socket and options.
 */
interface Borrowed extends Disposable {
  option(level: number, name: number): number;
}

function borrow(pid: number, descriptor: number): Borrowed {
  const { symbols: libc, close } = dlopen("libc.so.6", {
    syscall: { args: [FFIType.i64, FFIType.i64, FFIType.i64, FFIType.i64], returns: FFIType.i64 },
    getsockopt: {
      args: [FFIType.i32, FFIType.i32, FFIType.i32, FFIType.ptr, FFIType.ptr],
      returns: FFIType.i32,
    },
    close: { args: [FFIType.i32], returns: FFIType.i32 },
  });
  const checked = (what: string, result: number | bigint): number => {
    if (Number(result) < 0)
      throw new Error(`${what} failed for descriptor ${descriptor} of process ${pid}`);
    return Number(result);
  };
  const process = checked("pidfd_open", libc.syscall(pidfdOpen, pid, 0, 0));
  const own = checked("pidfd_getfd", libc.syscall(pidfdGetfd, process, descriptor, 0));
  return {
    option(level, name) {
      const [value, length] = [new Int32Array(1), new Uint32Array([4])];
      checked("getsockopt", libc.getsockopt(own, level, name, ptr(value), ptr(length)));
      return value[0] ?? 0;
    },
    [Symbol.dispose]() {
      libc.close(own);
      libc.close(process);
      close();
    },
  };
}

interface Leg {
  readonly descriptor: number;
  readonly local: string;
  readonly remote: string;
}

/** A process's established TCP connections over IPv4; proc(5), net/tcp. */
function legsOf(pid: number): Leg[] {
  const byInode = new Map<string, number>();
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    const inode = /^socket:\[(\d+)\]$/.exec(targetOf(`/proc/${pid}/fd/${name}`))?.[1];
    if (inode !== undefined) byInode.set(inode, Number(name));
  }
  const established = "01";
  return readFileSync(`/proc/${pid}/net/tcp`, "utf8")
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [, local = "", remote = "", state, , , , , , inode = ""] = line.trim().split(/\s+/);
      const descriptor = byInode.get(inode);
      return state === established && descriptor !== undefined
        ? [{ descriptor, local: text(local), remote: text(remote) }]
        : [];
    });
}

/**
 * The target of a link; empty if it has gone. The descriptors of a busy process
 * come and go.
 */
function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

/** `0100007F:1B58` is 127.0.0.1:7000. */
function text(hex: string): string {
  const [ip = "", port = ""] = hex.split(":");
  return `${[...Buffer.from(ip, "hex")].reverse().join(".")}:${Number.parseInt(port, 16)}`;
}

stories("the sockets of a connection, as the kernel knows them", () => {
  test.each([
    { runtime: "the binary", deno: false, withinSeconds: 120 },
    // Deno lets a program set the start of the keepalive probes. The kernel
    // sets their interval: 9 probes, one every 75 s.
    { runtime: "Deno", deno: true, withinSeconds: 15 * 60 },
  ])(
    "under $runtime: no delay for small writes; a vanished peer is noticed",
    async ({ deno, withinSeconds }) => {
      freshMachine();
      const { cloud, daemon } = await registered({ deno });
      await cloud.add("tcp://echo.demo:7000", (await echo()).address);
      const { ip } = await daemon.becomes("echo.demo", "listening");
      const client = await dial("echo.demo", 7000);
      await client.write("x");
      await client.read(1);
      // The client's connections and the ready ones. A new one may be in the
      // kernel before the daemon has set it up.
      const { near, far } = await until("no connection is being made", async () => {
        const { ready } = (await daemon.status()).pool;
        const legs = legsOf(daemon.pid);
        const far = legs.filter(({ remote }) => remote === cloud.ingress);
        return (
          ready > 0 &&
          far.length === 1 + ready && {
            near: legs.filter(({ local }) => local === `${ip}:7000`),
            far,
          }
        );
      });
      expect(near).toHaveLength(1);
      for (const { descriptor } of [...near, ...far]) {
        using socket = borrow(daemon.pid, descriptor);
        expect(socket.option(ipprotoTcp, tcpNoDelay)).toBe(1);
        expect(socket.option(solSocket, soKeepAlive)).toBe(1);
        const [idle = 0, interval = 0, count = 0] = [
          tcpKeepIdle,
          tcpKeepInterval,
          tcpKeepCount,
        ].map((name) => socket.option(ipprotoTcp, name));
        expect(
          idle + interval * count,
          `${idle} s, then ${count} times every ${interval} s`,
        ).toBeWithin(1, withinSeconds + 1);
      }
      client.end();
      await client.rest();
      await daemon.stop();
      await cloud.stop();
    },
  );
});
