import { describe, expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { type Passage, startWorker } from "../../src/workers/process.ts";

/** Descriptors that nothing is passed through. */
const passage: Passage = {
  channel: () => [openSync("/dev/null", "r"), openSync("/dev/null", "r")],
  send() {},
  close: closeSync,
};

const workerOf = (path: string, ...args: string[]) =>
  startWorker({ path, args }, passage, () => {});

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe("a worker's process", () => {
  test("says why the system could not start it", async () => {
    expect(await workerOf("/nowhere/ngrokd").ended).toStartWith("at once: ENOENT");
  });

  test("says how it has ended, also if an order meets the end", async () => {
    const worker = workerOf("/bin/sleep", "1000");
    worker.kill();
    worker.send({ kind: "ping", number: 1 });
    expect(await worker.ended).toBe("by SIGKILL");
    expect(await workerOf("/bin/sh", "-c", "exit 3").ended).toBe("with exit code 3");
  });

  test("that no longer takes orders has ended only when it is gone", async () => {
    // The runtime's channel is descriptor 3. An order after this is an error.
    const worker = workerOf("/bin/sh", "-c", "exec 3>&- && exec sleep 1000");
    const orders = setInterval(() => worker.send({ kind: "ping", number: 1 }), 10);
    expect(await worker.ended).toBe("by SIGKILL");
    clearInterval(orders);
    expect(isAlive(worker.pid)).toBe(false);
  });
});
