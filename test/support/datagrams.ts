import { dlopen } from "bun:ffi";
import { readFileSync, rmSync } from "node:fs";
import { libcIn, socketAddress } from "../../src/net/bun-libc.ts";

/**
 * The receiver of a service's notifications, in place of systemd: a unix
 * datagram socket. `texts` returns all datagrams so far.
 */
export interface Receiver {
  readonly texts: () => readonly string[];
  close(): void;
}

/** Binds to a path, or to `@name` in Linux's abstract namespace. */
export function receive(path: string): Receiver {
  const { symbols } = dlopen(libcIn(readFileSync("/proc/self/maps", "utf8")), {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
    recv: { args: ["i32", "ptr", "usize", "i32"], returns: "i64" },
    close: { args: ["i32"], returns: "i32" },
  });
  const address = socketAddress(path);
  const [unix, datagrams, nonBlocking] = [1, 2, 0o4000];
  const descriptor = symbols.socket(unix, datagrams | nonBlocking, 0);
  if (symbols.bind(descriptor, address, address.length) !== 0)
    throw new Error(`cannot bind to ${path}`);
  const received: string[] = [];
  const buffer = new Uint8Array(4096);
  const texts = (): readonly string[] => {
    for (;;) {
      const size = Number(symbols.recv(descriptor, buffer, buffer.length, 0));
      if (size < 0) return received;
      received.push(new TextDecoder().decode(buffer.subarray(0, size)));
    }
  };
  // Reads all the time, as systemd does. The kernel keeps ten datagrams, and
  // the sender loses the rest.
  const timer = setInterval(texts, 20);
  timer.unref();
  return {
    texts,
    close() {
      clearInterval(timer);
      symbols.close(descriptor);
      if (path.startsWith("/")) rmSync(path, { force: true });
    },
  };
}
