import { describe, expect, test } from "bun:test";
import { readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import {
  claimHosts,
  livingOwner,
  type OwnerDeps,
  ownerPath,
} from "../../../src/machine/hosts/owner.ts";
import { until } from "../../support/story.ts";
import { temporaryFolder } from "../support.ts";

const mine = "/run/mine.sock";
const theirs = "/run/theirs.sock";
const nobody: OwnerDeps = { isAlive: async () => false };
/** For a system that does not report the start of a process. */
const untold = (isAlive: boolean): OwnerDeps => ({
  isAlive: async () => isAlive,
  startOf: async () => "",
});

async function place() {
  const folder = await temporaryFolder();
  const hosts = join(folder.path, "hosts");
  await writeFile(hosts, "127.0.0.1 localhost\n");
  return {
    hosts,
    files: async () => (await readdir(folder.path)).sort(),
    owner: await ownerPath(hosts),
    folder: folder.path,
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe("the owner of a hosts file", () => {
  test("is refused to a second daemon while the first lives, also through a link", async () => {
    await using at = await place();
    const release = await claimHosts(at.hosts, theirs, nobody);
    const link = join(at.folder, "link");
    await symlink("hosts", link);
    for (const path of [at.hosts, link])
      await expect(claimHosts(path, mine, nobody)).rejects.toMatchObject({
        code: "already-running",
        message: expect.stringContaining(`pid ${process.pid} on the control socket "${theirs}"`),
        hint: expect.stringContaining("NGROKD_HOSTS_PATH"),
      });
    expect(await livingOwner(at.hosts, nobody)).toMatchObject({ socket: theirs });
    await release();
    await (await claimHosts(at.hosts, mine, nobody))();
    expect(await at.files()).toEqual(["hosts", "link"]);
  });

  test("is replaced if its process has ended, or another process has its pid", async () => {
    for (const owner of [
      { pid: 2 ** 30, started: "5", socket: theirs },
      { pid: process.ppid, started: "5", socket: theirs },
    ]) {
      await using at = await place();
      await writeFile(at.owner, JSON.stringify(owner));
      expect(await livingOwner(at.hosts, nobody), `${owner.pid}`).toBeUndefined();
      await claimHosts(at.hosts, mine, nobody);
      expect(JSON.parse(await readFile(at.owner, "utf8"))).toMatchObject({ socket: mine });
      expect(await at.files()).toEqual([".hosts.ngrokd-owner", "hosts"]);
    }
  });

  test.skipIf(process.platform !== "linux")("is replaced if it is a zombie", async () => {
    await using at = await place();
    // A program that never asks for its children.
    const script = "sleep 0 & echo $!; exec sleep 600";
    await using parent = Bun.spawn(["sh", "-c", script], { stdout: "pipe" });
    const { value } = await parent.stdout.getReader().read();
    const pid = Number(new TextDecoder().decode(value));
    const fields = async (): Promise<string[]> =>
      (await readFile(`/proc/${pid}/stat`, "latin1")).split(") ")[1]?.split(" ") ?? [];
    await until("it has ended", async () => (await fields())[0] === "Z");
    const started = (await fields())[19];
    await writeFile(at.owner, JSON.stringify({ pid, started, socket: theirs }));
    expect(await livingOwner(at.hosts, nobody)).toBeUndefined();
    await (await claimHosts(at.hosts, mine, nobody))();
  });

  test("is proved by its socket if the system reports no start", async () => {
    await using at = await place();
    const text = JSON.stringify({ pid: process.ppid, started: "", socket: theirs });
    await writeFile(at.owner, text);
    await expect(claimHosts(at.hosts, mine, untold(true))).rejects.toMatchObject({
      code: "already-running",
    });
    expect(await readFile(at.owner, "utf8")).toBe(text);
    await claimHosts(at.hosts, mine, untold(false));
    expect(await livingOwner(at.hosts, untold(true))).toMatchObject({ socket: mine });
  });

  test("is dead if the newcomer has its socket, though that seems alive", async () => {
    await using at = await place();
    const text = JSON.stringify({ pid: process.ppid, started: "", socket: mine });
    await writeFile(at.owner, text);
    await claimHosts(at.hosts, mine, untold(true));
    expect(JSON.parse(await readFile(at.owner, "utf8"))).toMatchObject({ pid: process.pid });
  });

  test("is one of many that start at the same time", async () => {
    await using at = await place();
    await writeFile(at.owner, JSON.stringify({ pid: 2 ** 30, started: "5", socket: theirs }));
    const ends = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => claimHosts(at.hosts, `/run/${i}.sock`, nobody)),
    );
    expect(ends.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await at.files()).toEqual([".hosts.ngrokd-owner", "hosts"]);
  });

  test("may not be a link, and damage is replaced", async () => {
    await using at = await place();
    const target = join(at.folder, "target");
    await writeFile(target, "untouched");
    await symlink("target", at.owner);
    await claimHosts(at.hosts, mine, nobody);
    expect(await readFile(target, "utf8")).toBe("untouched");

    await using damaged = await place();
    await writeFile(damaged.owner, "no JSON");
    await claimHosts(damaged.hosts, mine, nobody);
    expect(await livingOwner(damaged.hosts, nobody)).toMatchObject({ socket: mine });
    expect((await stat(damaged.owner)).mode & 0o777).toBe(0o644);
  });

  test("is none if the file is larger than 4 KiB", async () => {
    await using at = await place();
    const owner = JSON.stringify({ pid: process.ppid, started: "", socket: theirs });
    await writeFile(at.owner, owner.padEnd(4096));
    expect(await livingOwner(at.hosts, untold(true))).toMatchObject({ socket: theirs });
    await writeFile(at.owner, owner.padEnd(4097));
    expect(await livingOwner(at.hosts, untold(true))).toBeUndefined();
  });

  test("is not recorded if no file can be created for it", async () => {
    const release = await claimHosts("/proc/version", mine, nobody);
    expect(await release()).toBeUndefined();
  });
});
