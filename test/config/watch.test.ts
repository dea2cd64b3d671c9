import { describe, expect, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { watchFile } from "../../src/config/watch.ts";
import { run } from "../support/ngrokd.ts";
import { ownFolder } from "./support.ts";

const folder = ownFolder();
let files = 0;

/** A watch, and a timer that makes it look. */
function looking(path: string, changed: () => Promise<void>, { everyMs, settleMs }: { everyMs: number; settleMs: number }) {
  const watch = watchFile(path, changed, { settleMs });
  const timer = setInterval(watch.look, everyMs);
  return {
    close() {
      clearInterval(timer);
      watch.close();
    },
  };
}

/** A file of its own (absent until it is written), and how often a watch has told of a change. */
function watched(prepare: (path: string) => void = (path) => writeFileSync(path, "one")) {
  files += 1;
  const path = join(folder, `config-${files}.yml`);
  prepare(path);
  let told = 0;
  const count = async (): Promise<void> => {
    told += 1;
  };
  const watch = looking(path, count, { everyMs: 20, settleMs: 10 });
  const tells = async (times: number): Promise<void> => {
    for (let i = 0; i < 200 && told < times; i += 1) await sleep(5);
    // Some looks more, so that one too many would show.
    await sleep(60);
    expect(told).toBe(times);
  };
  return { path, tells, [Symbol.dispose]: watch.close };
}

describe("a watch over a file", () => {
  test("tells of the file once, and then of each change, whatever way it is saved in", async () => {
    using file = watched();
    const { path, tells } = file;
    await tells(1);
    writeFileSync(path, "in place");
    await tells(2);
    writeFileSync(`${path}.new`, "renamed");
    renameSync(`${path}.new`, path);
    await tells(3);
    // As vim does with a backup: the old one goes aside, and another is made.
    renameSync(path, `${path}~`);
    writeFileSync(path, "in its place");
    await tells(4);
    unlinkSync(path);
    await tells(5);
    writeFileSync(path, "back");
    await tells(6);
  });

  test("tells of a link that leads elsewhere, and of one on the way, as Kubernetes swaps them", async () => {
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

  test("says nothing of a file that is not there until it is, and of one whose links go in circles", async () => {
    using file = watched(() => {});
    await file.tells(1);
    writeFileSync(file.path, "made");
    await file.tells(2);
    rmSync(file.path);
    symlinkSync(file.path, file.path);
    await file.tells(3);
  });

  test("waits until a file that is being written lies still", async () => {
    files += 1;
    const path = join(folder, `config-${files}.yml`);
    writeFileSync(path, "");
    let told = 0;
    const count = async (): Promise<void> => {
      told += 1;
    };
    const watch = looking(path, count, { everyMs: 1, settleMs: 80 });
    for (let i = 0; i < 30; i += 1) {
      writeFileSync(path, "x".repeat(i));
      await sleep(10);
    }
    expect(told).toBe(0);
    for (let i = 0; i < 100 && told < 1; i += 1) await sleep(10);
    expect(told).toBe(1);
    watch.close();
  });

  test("leaves a pipe alone, which can be read once", async () => {
    files += 1;
    const path = join(folder, `config-${files}.yml`);
    await run(["mkfifo", path]);
    let told = 0;
    const count = async (): Promise<void> => {
      told += 1;
    };
    const watch = looking(path, count, { everyMs: 5, settleMs: 5 });
    await sleep(60);
    watch.close();
    expect(told).toBe(0);
  });

  test("is not there any more once it is closed, in the middle of a look too", async () => {
    const file = watched();
    await sleep(22);
    file[Symbol.dispose]();
    writeFileSync(file.path, "later");
    await file.tells(0);
  });
});
