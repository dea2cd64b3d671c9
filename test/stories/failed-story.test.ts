import { expect, test } from "bun:test";
import { registered } from "../support/cloud.ts";
import { type Daemon, serve, start } from "../support/ngrokd.ts";
import { atEnd, endAll, stories, strangers, until } from "../support/story.ts";

let left: Daemon;
const isAlive = (pid: number): boolean => strangers().includes(pid);

stories("a story that fails half way", () => {
  test.failing("leaves its daemon, its cloud, and a process that no step knows", async () => {
    ({ daemon: left } = await registered());
    // The shell ends at once, and its child goes on.
    const shell = start("a shell", ["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]);
    await until("the child runs", () => isAlive(Number(shell.out())));
    throw new Error("before its own clean-up");
  });

  test("does not keep the next one from a daemon on the same socket", async () => {
    expect(isAlive(left.pid)).toBe(true);
    const next = await serve();
    expect((await next.status()).pid).toBe(next.pid);
    expect(isAlive(left.pid)).toBe(false);
  });

  test("leaves no process behind its chapter, even if a step of the end fails", async () => {
    let steps = 0;
    const step = (): void => {
      steps += 1;
    };
    atEnd(step);
    atEnd(() => {
      throw new Error("an umount that fails");
    });
    atEnd(step);
    await expect(endAll()).rejects.toThrow("an umount that fails");
    expect({ steps, left: strangers() }).toEqual({ steps: 2, left: [] });
  });
});
