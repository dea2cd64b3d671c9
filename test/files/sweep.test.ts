import { describe, expect, test } from "bun:test";
import { mkdir, readdir, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sweepTemporaries } from "../../src/files/sweep.ts";
import { temporaryFolder } from "../machine/support.ts";

const old = new Date(Date.now() - 60_000);

describe("sweepTemporaries", () => {
  test("removes only old temporary files of this user", async () => {
    await using folder = await temporaryFolder();
    const file = async (name: string, time = old): Promise<void> => {
      await writeFile(join(folder.path, name), "x");
      await utimes(join(folder.path, name), time, time);
    };
    await file(".0123456789ab.ngrokd.tmp");
    await file(".fedcba987654.ngrokd.tmp");
    const stays = [
      ".aaaaaaaaaaaa.ngrokd.tmp",
      ".0123456789AB.ngrokd.tmp",
      ".0123.ngrokd.tmp",
      "0123456789ab.ngrokd.tmp",
      "hosts.original",
    ];
    await file(stays[0] ?? "", new Date());
    for (const name of stays.slice(1)) await file(name);
    await mkdir(join(folder.path, ".bbbbbbbbbbbb.ngrokd.tmp"));
    await symlink("hosts.original", join(folder.path, ".cccccccccccc.ngrokd.tmp"));
    expect(await sweepTemporaries(folder.path, 30_000)).toBe(2);
    expect((await readdir(folder.path)).sort()).toEqual(
      [...stays, ".bbbbbbbbbbbb.ngrokd.tmp", ".cccccccccccc.ngrokd.tmp"].sort(),
    );
  });

  test("does nothing in a missing folder", async () => {
    expect(await sweepTemporaries("/nowhere/at/all", 0)).toBe(0);
  });
});
