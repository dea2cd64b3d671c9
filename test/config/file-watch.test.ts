import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { watchFile } from "../../src/config/file-watch.ts";
import { ownFolder } from "./support.ts";

const folder = ownFolder();
let files = 0;

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

/** Lets the fake time pass, with a turn for promises in each millisecond. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 1) {
    jest.advanceTimersByTime(1);
    await Promise.resolve();
  }
}

/**
 * A new file, absent unless `prepare` writes it, and the number of changes that
 * a watch reports when it checks every `everyMs`.
 */
function watched(
  prepare: (path: string) => void = (path) => writeFileSync(path, "one"),
  { everyMs = 20, settleMs = 10 } = {},
) {
  files += 1;
  const path = join(folder, `config-${files}.yml`);
  prepare(path);
  let told = 0;
  const count = async (): Promise<void> => {
    told += 1;
  };
  const watch = watchFile(path, count, { settleMs });
  const timer = setInterval(watch.check, everyMs);
  /**
   * Waits for a check, for the file to rest, and for some more checks, which
   * would show a report too many.
   */
  const tells = async (times: number): Promise<void> => {
    await pass(everyMs + settleMs + 60);
    expect(told).toBe(times);
  };
  return {
    path,
    tells,
    told: () => told,
    close: watch.close,
    [Symbol.dispose]() {
      clearInterval(timer);
      watch.close();
    },
  };
}

describe("a watch over a file", () => {
  test("reports the file once, and then each change, however it is saved", async () => {
    using file = watched();
    const { path, tells } = file;
    await tells(1);
    writeFileSync(path, "in place");
    await tells(2);
    writeFileSync(`${path}.new`, "renamed");
    renameSync(`${path}.new`, path);
    await tells(3);
    // As vim does with a backup: it renames the old file and writes a new one.
    renameSync(path, `${path}~`);
    writeFileSync(path, "in its place");
    await tells(4);
    unlinkSync(path);
    await tells(5);
    writeFileSync(path, "back");
    await tells(6);
  });

  test("reports a link that is replaced, also one in the middle of the path", async () => {
    // Kubernetes replaces a mounted file in this way.
    const at = join(folder, "mount");
    using file = watched((path) => {
      for (const [name, text] of [
        ["one", "1"],
        ["two", "22"],
      ] as const) {
        // biome-ignore format: two lines
        mkdirSync(join(at, name), { recursive: true });
        writeFileSync(join(at, name, "config.yml"), text);
      }
      symlinkSync("one", join(at, "..data"));
      symlinkSync(join(at, "..data", "config.yml"), path);
    });
    await file.tells(1);
    symlinkSync("two", join(at, "..data_tmp"));
    renameSync(join(at, "..data_tmp"), join(at, "..data"));
    await file.tells(2);
    symlinkSync(join(at, "one", "config.yml"), `${file.path}.new`);
    renameSync(`${file.path}.new`, file.path);
    await file.tells(3);
  });

  test("reports a missing file once it exists, and a link to itself", async () => {
    using file = watched(() => {});
    await file.tells(1);
    writeFileSync(file.path, "made");
    await file.tells(2);
    rmSync(file.path);
    symlinkSync(file.path, file.path);
    await file.tells(3);
  });

  test("waits until a file that is being written rests", async () => {
    using file = watched((path) => writeFileSync(path, ""), { everyMs: 1, settleMs: 80 });
    for (let i = 1; i <= 30; i += 1) {
      writeFileSync(file.path, "x".repeat(i));
      await pass(10);
    }
    expect(file.told()).toBe(0);
    await file.tells(1);
  });

  test("ignores a pipe, which can be read only once", async () => {
    using file = watched((path) => execFileSync("mkfifo", [path]), { everyMs: 5, settleMs: 5 });
    await file.tells(0);
  });

  test("reports nothing after it is closed, even during a check", async () => {
    using file = watched();
    await pass(22);
    file.close();
    writeFileSync(file.path, "later");
    await file.tells(0);
  });
});
