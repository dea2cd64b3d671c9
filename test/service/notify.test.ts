import { afterEach, describe, expect, jest, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBunNet } from "../../src/net/bun.ts";
import { libcIn, socketAddress } from "../../src/net/bun-libc.ts";
import { createNodeNet } from "../../src/net/node.ts";
import { createNotifier, watchdogIn } from "../../src/service/notify.ts";
import { type Receiver, receive } from "../support/datagrams.ts";

const nodeNet = createNodeNet();

const bunNet = createBunNet();

const undo: (() => void)[] = [];
afterEach(() => {
  jest.useRealTimers();
  for (const step of undo.splice(0)) step();
});

/** A notifier that puts its datagrams into a list and needs no fallback. */
function recorded(env: Record<string, string>, taken = true) {
  const sent: string[] = [];
  const otherwise: string[] = [];
  const net = {
    datagram: async (_path: string, text: string) => {
      sent.push(text);
      return taken;
    },
  };
  const notifier = createNotifier({
    net,
    env,
    pid: 7,
    otherwise: async (text) => void otherwise.push(text),
  });
  return { sent, otherwise, notifier };
}

describe("a notifier", () => {
  const env = { NOTIFY_SOCKET: "/run/systemd/notify" };

  test("sends systemd's messages in the order of its calls", async () => {
    const { sent, otherwise, notifier } = recorded(env);
    notifier.status("Starting");
    notifier.ready();
    notifier.reloading();
    notifier.ready();
    notifier.stopping(45_000);
    await notifier.close();
    expect(sent).toEqual([
      "STATUS=Starting",
      "READY=1",
      expect.stringMatching(/^RELOADING=1\nMONOTONIC_USEC=\d+$/),
      "READY=1",
      "STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000",
    ]);
    expect(otherwise).toEqual([]);
  });

  test("sends nothing after its end: a successor speaks then", async () => {
    const { sent, notifier } = recorded({ ...env, WATCHDOG_USEC: "3000000" });
    notifier.status("Serving 1 endpoint");
    await notifier.close();
    notifier.status("Stopping");
    notifier.ready();
    notifier.watch(() => true);
    await notifier.close();
    expect(sent).toEqual(["STATUS=Serving 1 endpoint"]);
  });

  test("sends a status only if it has changed, and on one line", async () => {
    const { sent, notifier } = recorded(env);
    for (const text of [
      "Serving 1 endpoint",
      "Serving 1 endpoint",
      "bad\nREADY=1",
      "Serving 1 endpoint",
    ])
      notifier.status(text);
    await notifier.close();
    expect(sent).toEqual([
      "STATUS=Serving 1 endpoint",
      "STATUS=bad READY=1",
      "STATUS=Serving 1 endpoint",
    ]);
  });

  test("is silent without systemd, and if systemd uses another kind of socket", async () => {
    for (const NOTIFY_SOCKET of ["", "vsock:2:1234"]) {
      const { sent, notifier } = recorded({ NOTIFY_SOCKET, WATCHDOG_USEC: "1000" });
      notifier.ready();
      notifier.watch(() => true);
      await notifier.close();
      expect(sent).toEqual([]);
    }
  });

  test("uses the other way if a datagram is not accepted", async () => {
    const { otherwise, notifier } = recorded(env, false);
    notifier.ready();
    await notifier.close();
    expect(otherwise).toEqual(["READY=1"]);
  });

  test("gives three signs of life per interval of systemd, and none while it hangs", async () => {
    jest.useFakeTimers();
    const { sent, notifier } = recorded({ ...env, WATCHDOG_USEC: "90000" });
    let live = true;
    notifier.watch(() => live);
    jest.advanceTimersByTime(89);
    live = false;
    jest.advanceTimersByTime(900);
    await notifier.close();
    expect(sent).toEqual(["WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);
  });
});

test("the watchdog's time is for one process", () => {
  expect(watchdogIn({ WATCHDOG_USEC: "60000000" }, 7)).toBe(60_000);
  expect(watchdogIn({ WATCHDOG_USEC: "60000000", WATCHDOG_PID: "7" }, 7)).toBe(60_000);
  for (const env of [
    {},
    { WATCHDOG_USEC: "60000000", WATCHDOG_PID: "8" },
    { WATCHDOG_USEC: "0" },
    { WATCHDOG_USEC: "soon" },
  ])
    expect(watchdogIn(env, 7)).toBeUndefined();
});

describe("a datagram", () => {
  const folder = (): string => {
    const path = mkdtempSync(join(tmpdir(), "ngrokd-notify-"));
    undo.push(() => rmSync(path, { recursive: true, force: true }));
    return path;
  };
  const receiver = (path: string): Receiver => {
    const made = receive(path);
    undo.push(made.close);
    return made;
  };

  test("reaches a unix socket of the file system and of the abstract namespace whole", async () => {
    for (const path of [join(folder(), "notify"), `@ngrokd-test-${process.pid}`]) {
      const { texts } = receiver(path);
      expect(await bunNet.datagram(path, "STATUS=Grüße")).toBe(true);
      expect(await bunNet.datagram(path, "READY=1")).toBe(true);
      expect(texts()).toEqual(["STATUS=Grüße", "READY=1"]);
    }
  });

  test("without a receiver returns false at once: no socket, too long a path, no room", async () => {
    expect(await bunNet.datagram(join(folder(), "nobody"), "READY=1")).toBe(false);
    expect(await bunNet.datagram("", "READY=1")).toBe(false);
    expect(await bunNet.datagram(`/${"x".repeat(200)}`, "READY=1")).toBe(false);
    const path = join(folder(), "full");
    receiver(path);
    let taken = 0;
    while (taken < 100_000 && (await bunNet.datagram(path, "x"))) taken += 1;
    expect(taken).toBeWithin(1, 100_000);
  });

  test.skipIf(!existsSync("/usr/bin/systemd-notify"))(
    "is sent by systemd-notify if the runtime has none, as under Deno",
    async () => {
      const path = join(folder(), "notify");
      const { texts } = receiver(path);
      const notifier = createNotifier({ net: nodeNet, env: { NOTIFY_SOCKET: path } });
      notifier.ready();
      notifier.stopping(1000);
      // The sender waits until its datagrams are read.
      const reading = setInterval(texts, 10);
      await notifier.close();
      clearInterval(reading);
      const told = texts().filter((text) => !text.startsWith("BARRIER="));
      expect(told.map((text) => text.trim())).toEqual([
        "READY=1",
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000",
      ]);
    },
  );

  test("is nothing that node: can send", async () => {
    expect(await nodeNet.datagram("/run/systemd/notify", "READY=1")).toBe(false);
  });

  test("goes through the C library that is mapped, whichever it is", () => {
    const line = (path: string): string =>
      `7ff34d082000-7ff34d0a8000 r--p 00000000 fe:00 339380    ${path}\n`;
    for (const path of [
      "/usr/lib/x86_64-linux-gnu/libc.so.6",
      "/lib64/libc-2.17.so",
      "/lib/ld-musl-x86_64.so.1",
      "/lib/libc.musl-aarch64.so.1",
    ])
      expect(libcIn(line("/usr/local/bin/ngrokd") + line(path) + line("/usr/lib/libm.so.6"))).toBe(
        path,
      );
    expect(() => libcIn(line("/usr/lib/libcrypt.so.1"))).toThrow();
  });

  test("has an address with a zero byte: behind a path, before an abstract name", () => {
    expect([...socketAddress("/a")].slice(2)).toEqual([47, 97, 0]);
    expect([...socketAddress("@a")].slice(2)).toEqual([0, 97]);
  });
});
