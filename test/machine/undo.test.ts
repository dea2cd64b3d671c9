import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import type { NetworkInterfaceInfo } from "node:os";
import { join } from "node:path";
import { readJournal, recordChange, recordFile } from "../../src/journal/journal.ts";
import { updateHostsFile } from "../../src/machine/hosts/file.ts";
import { claimHosts } from "../../src/machine/hosts/owner.ts";
import { beginLine, endLine } from "../../src/machine/hosts/text.ts";
import { planUndo, settingsLeft, undo } from "../../src/machine/undo.ts";
import type { AnyIp } from "../../src/model/ip.ts";
import { mapping, temporaryFolder } from "./support.ts";

async function machine() {
  const folder = await temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  const [state, hosts, unit] = [at("state"), at("hosts"), at("ngrokd.service")];
  await mkdir(state);
  await writeFile(hosts, "127.0.0.1 localhost\n");
  return { state, hosts, unit, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

const owners = { isAlive: async () => false };
const section = mapping({ "a.demo": "127.0.0.2" });

describe("undo", () => {
  test("keeps the section of a daemon that lives, and names the daemon", async () => {
    await using place = await machine();
    await updateHostsFile(place.hosts, section, { stateFolder: place.state });
    const release = await claimHosts(place.hosts, "/run/other.sock", owners);
    const steps = await planUndo(place.state, place.hosts, owners);
    expect(steps).toMatchObject([{ action: "keep" }]);
    expect(steps[0]?.reason).toContain('on the control socket "/run/other.sock"');
    await release();
    expect(await planUndo(place.state, place.hosts, owners)).toMatchObject([
      { action: "take back" },
    ]);
  });

  test.each([
    ["a pipe, which may never have a writer", (path: string) => execFileSync("mkfifo", [path])],
    ["a folder", (path: string) => mkdir(path)],
    ["a file of 3 GB", (path: string) => writeFile(path, "").then(() => truncate(path, 3e9))],
  ])("keeps %s in the place of a file of ngrokd, and reads none of it", async (_what, put) => {
    await using place = await machine();
    await recordFile(place.state, place.unit, "[Unit]\n");
    await put(place.unit);
    expect(await planUndo(place.state, place.hosts, owners)).toMatchObject([
      { action: "keep", reason: "it was changed since ngrokd wrote it" },
    ]);
  });

  test("finds nothing on a machine that nothing has changed", async () => {
    await using place = await machine();
    expect(await planUndo(place.state, place.hosts, owners)).toEqual([]);
  });

  test("takes back the latest change first: files as we wrote them, the hosts section", async () => {
    await using place = await machine();
    await recordChange(place.state, { kind: "hosts", path: place.hosts });
    await updateHostsFile(place.hosts, section, { stateFolder: place.state });
    await recordFile(place.state, place.unit, "[Unit]\n");
    await writeFile(place.unit, "[Unit]\n");
    const steps = await planUndo(place.state, place.hosts, owners);
    expect(steps).toMatchObject([
      { change: { path: place.unit }, action: "take back" },
      { change: { path: place.hosts }, action: "take back" },
    ]);
    expect(existsSync(place.unit)).toBe(true);
    await undo(place.state, steps, { owners });
    expect(existsSync(place.unit)).toBe(false);
    expect(await readFile(place.hosts, "utf8")).toBe("127.0.0.1 localhost\n");
    expect(await readJournal(place.state)).toEqual([]);
    expect(await planUndo(place.state, place.hosts, owners)).toEqual([]);
  });

  test("keeps a file that was changed since, says so, and goes on knowing it", async () => {
    await using place = await machine();
    await recordFile(place.state, place.unit, "[Unit]\n");
    await writeFile(place.unit, "[Unit]\n# mine\n");
    const steps = await planUndo(place.state, place.hosts, owners);
    expect(steps).toMatchObject([
      { action: "keep", reason: "it was changed since ngrokd wrote it" },
    ]);
    await undo(place.state, steps, { owners });
    expect(await readFile(place.unit, "utf8")).toBe("[Unit]\n# mine\n");
    expect(await readJournal(place.state)).toHaveLength(1);
  });

  test("does not remove a file that was changed during the question", async () => {
    await using place = await machine();
    await recordFile(place.state, place.unit, "[Unit]\n");
    await writeFile(place.unit, "[Unit]\n");
    const steps = await planUndo(place.state, place.hosts, owners);
    await writeFile(place.unit, "[Unit]\n# mine\n");
    await expect(undo(place.state, steps, { owners })).rejects.toMatchObject({
      code: "refused",
      message: expect.stringContaining(place.unit),
    });
    expect(await readFile(place.unit, "utf8")).toBe("[Unit]\n# mine\n");
    expect(await readJournal(place.state)).toHaveLength(1);
  });

  test("forgets files that are gone, as after a crash between record and change", async () => {
    await using place = await machine();
    await recordFile(place.state, place.unit, "[Unit]\n");
    await recordChange(place.state, { kind: "hosts", path: place.hosts });
    const steps = await planUndo(place.state, place.hosts, owners);
    expect(steps.map(({ action }) => action)).toEqual(["nothing to do", "nothing to do"]);
    await undo(place.state, steps, { owners });
    expect(await readJournal(place.state)).toEqual([]);
  });

  test("knows the settings that a killed daemon has left, and no other change", async () => {
    await using place = await machine();
    const resolvConf = join(place.state, "resolv.conf");
    const address = "127.1.2.3" as AnyIp;
    const lo0 = [{ address } as unknown as NetworkInterfaceInfo];
    await recordChange(place.state, { kind: "hosts", path: place.hosts });
    await recordFile(place.state, place.unit, "[Unit]\n");
    await writeFile(place.unit, "[Unit]\n");
    await recordChange(place.state, { kind: "resolv-conf", path: resolvConf });
    await recordChange(place.state, { kind: "aliases", path: "/x", addresses: [address] });
    await recordChange(place.state, { kind: "resolved", path: "/sys/class/net/gone0" });
    const kinds = async (interfaces: { lo0?: NetworkInterfaceInfo[] }): Promise<string[]> =>
      (await settingsLeft(place.state, { interfaces: () => interfaces })).map(({ kind }) => kind);
    expect(await kinds({})).toEqual([]);
    await writeFile(resolvConf, `${beginLine}\nnameserver 127.0.0.1\n${endLine}\n`);
    expect(await kinds({ lo0 })).toEqual(["resolv-conf", "aliases"]);
  });

  test("finds a section without a journal, even if the state folder was removed", async () => {
    await using place = await machine();
    await updateHostsFile(place.hosts, section, { stateFolder: place.state });
    await rm(place.state, { recursive: true });
    const steps = await planUndo(place.state, place.hosts, owners);
    expect(steps).toMatchObject([
      { change: { kind: "hosts", path: place.hosts }, action: "take back" },
    ]);
    await undo(place.state, steps, { owners });
    expect(await readFile(place.hosts, "utf8")).toBe("127.0.0.1 localhost\n");
  });
});
