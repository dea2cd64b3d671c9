import { describe, expect, test } from "bun:test";
import { readdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import fc from "fast-check";
import { stateFiles } from "../../src/files/state-folder.ts";
import {
  type Change,
  forgetChange,
  parseJournal,
  readJournal,
  recordChange,
  recordFile,
  sha256,
} from "../../src/journal/journal.ts";
import { temporaryFolder } from "../machine/support.ts";
import { memoryLog } from "../support/memory-log.ts";

const journalIn = (folder: string): string => stateFiles(folder).journal;

const hosts: Change = { kind: "hosts", path: "/etc/hosts" };
const unit: Change = {
  kind: "file",
  path: "/etc/systemd/system/ngrokd.service",
  sha256: sha256("[Unit]\n"),
};

describe("the journal", () => {
  test("is empty before the first change, and forgetting creates no file", async () => {
    await using folder = await temporaryFolder();
    expect(await readJournal(folder.path)).toEqual([]);
    await forgetChange(folder.path, hosts);
    expect(await readdir(folder.path)).toEqual([]);
  });

  test("keeps each change in order until it is forgotten, in a private file", async () => {
    await using folder = await temporaryFolder();
    await recordChange(folder.path, hosts);
    await recordFile(folder.path, unit.path, "[Unit]\n");
    expect(await readJournal(folder.path)).toEqual([hosts, unit]);
    expect((await stat(journalIn(folder.path))).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(journalIn(folder.path), "utf8"))).toEqual({
      version: 1,
      changes: [hosts, unit],
    });
    await forgetChange(folder.path, hosts);
    expect(await readJournal(folder.path)).toEqual([unit]);
    expect(await readdir(folder.path)).toEqual(["journal.json"]);
  });

  test("has only the latest entry of a path, and writes only a new one", async () => {
    await using folder = await temporaryFolder();
    await recordChange(folder.path, unit);
    const before = await stat(journalIn(folder.path));
    await recordChange(folder.path, unit);
    expect((await stat(journalIn(folder.path))).ino).toBe(before.ino);
    await recordFile(folder.path, unit.path, "[Unit]\n# newer\n");
    expect(await readJournal(folder.path)).toEqual([
      { ...unit, sha256: sha256("[Unit]\n# newer\n") },
    ]);
  });

  test("needs no lock if there is nothing to record", async () => {
    await using folder = await temporaryFolder();
    await recordChange(folder.path, hosts);
    // The lock of another process, too young to be stale.
    const lock = `${journalIn(folder.path)}.lock`;
    await writeFile(lock, "");
    await recordChange(folder.path, hosts);
    await forgetChange(folder.path, unit);
    expect((await readdir(folder.path)).sort()).toEqual(["journal.json", "journal.json.lock"]);
  });

  test("loses nothing if several write at once", async () => {
    await using folder = await temporaryFolder();
    const files = ["/a", "/b", "/c"].map(
      (path): Change => ({ kind: "file", path, sha256: sha256(path) }),
    );
    await Promise.all(files.map((file) => recordChange(folder.path, file)));
    expect((await readJournal(folder.path)).map(({ path }) => path).sort()).toEqual([
      "/a",
      "/b",
      "/c",
    ]);
  });

  test("loses nothing if several find the lock of a crash", async () => {
    for (let round = 0; round < 20; round += 1) {
      await using folder = await temporaryFolder();
      const lock = `${journalIn(folder.path)}.lock`;
      await writeFile(lock, "");
      await utimes(lock, 1, 1);
      const files = ["/a", "/b", "/c", "/d", "/e", "/f"].map(
        (path): Change => ({ kind: "hosts", path }),
      );
      await Promise.all(files.map((file) => recordChange(folder.path, file)));
      expect(await readJournal(folder.path)).toHaveLength(files.length);
    }
  });

  test.each([
    ["a later version", '{"version": 2, "changes": {}}', "its format has the version 2, not 1"],
    ["no JSON", "{", "it is not JSON"],
    ["another file", "{}", "it has no version"],
    [
      "an unknown kind",
      '{"version": 1, "changes": [{"kind": "dns", "path": "/x"}]}',
      "its change 1 has an unknown kind",
    ],
    [
      "a relative path",
      '{"version": 1, "changes": [{"kind": "hosts", "path": "x"}]}',
      "its change 1 has an unknown kind",
    ],
  ])("with %s is refused by a reader, and kept by a writer", async (_, text, reason) => {
    await using folder = await temporaryFolder();
    await writeFile(journalIn(folder.path), text);
    await expect(readJournal(folder.path)).rejects.toThrow(reason);
    expect(await readFile(journalIn(folder.path), "utf8")).toBe(text);

    const log = memoryLog();
    await recordChange(folder.path, hosts, log);
    expect(await readJournal(folder.path)).toEqual([hosts]);
    expect(log.lines[0]).toContain(`cannot be understood, since ${reason}; it is kept as "`);
    const [kept = ""] = (await readdir(folder.path)).filter((name) =>
      name.startsWith("journal.json.old-"),
    );
    expect(await readFile(`${folder.path}/${kept}`, "utf8")).toBe(text);
  });

  test("never throws for any JSON", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(typeof parseJournal(text).ok).toBe("boolean");
      }),
    );
  });
});
