/** A daemon whose queue of connections is full. */
import { expect } from "bun:test";
import { join } from "node:path";
import { NgrokdError } from "../../src/model/error.ts";
import { net } from "./conns.ts";

/**
 * A control server in a separate process that is stopped, with a full queue of
 * connections.
 */
export async function crowdedDaemon(path: string) {
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dirname, "crowded-daemon.child.ts"), path],
    {
      stdout: "pipe",
      stderr: "inherit",
    },
  );
  const { value } = await child.stdout.getReader().read();
  expect(new TextDecoder().decode(value)).toBe("listening\n");
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await child.exited;
  };
  child.kill("SIGSTOP");
  await crowd(path);
  return {
    pid: child.pid,
    goOn: () => child.kill("SIGCONT"),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

/**
 * Dials until the queue is full. Closed connections keep their places in it.
 */
async function crowd(path: string): Promise<void> {
  for (let i = 0; i < 10_000; i += 1) {
    const conn = await net.dial({ path }).catch((error: unknown) => error as NgrokdError);
    if (conn instanceof NgrokdError) return expect(conn.details.errno).toBe("EAGAIN");
    conn.close();
  }
  throw new Error("there is always room");
}
