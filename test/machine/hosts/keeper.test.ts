import { describe, expect, test } from "bun:test";
import { readFile, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { HostsContent } from "../../../src/machine/hosts/in-place.ts";
import { createHostsKeeper, type HostsKeeper } from "../../../src/machine/hosts/keeper.ts";
import { memoryLog } from "../../support/memory-log.ts";
import { mapping, temporaryFolder } from "../support.ts";

const foreign = "127.0.0.1 localhost\n";
const section = "# BEGIN ngrokd managed section\n127.0.0.2\ta.demo\n# END ngrokd managed section\n";
const entries = mapping({ "a.demo": "127.0.0.2" });

async function kept() {
  const folder = await temporaryFolder();
  const path = join(folder.path, "hosts");
  await writeFile(path, foreign);
  const clock = { now: 0 };
  const events: string[] = [];
  const log = memoryLog();
  const text = (): Promise<string> => readFile(path, "utf8").catch(() => "");
  const journal = {
    async record() {
      events.push((await text()) === foreign ? "recorded before" : "recorded");
    },
    async forget() {
      events.push((await text()) === foreign ? "forgotten after" : "forgotten");
    },
  };
  const keeper: HostsKeeper = createHostsKeeper({
    path,
    stateFolder: folder.path,
    log,
    journal,
    now: () => clock.now,
  });
  return {
    keeper,
    path,
    text,
    clock,
    events,
    log,
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe("the keeper of the hosts section", () => {
  test("records before it writes and forgets after it has taken out", async () => {
    await using place = await kept();
    await place.keeper.advertise(entries);
    expect(await place.text()).toBe(foreign + section);
    expect(await place.keeper.clear()).toBe(true);
    expect(await place.text()).toBe(foreign);
    expect(place.events).toEqual(["recorded before", "forgotten after"]);
  });

  test("gives a name up as soon as a line of the user's own carries it", async () => {
    await using place = await kept();
    await place.keeper.advertise(entries);
    const pin = "10.5.5.5 a.demo\n";
    await writeFile(place.path, foreign + section + pin);
    expect(await place.keeper.guard()).toBe(true);
    expect(await place.text()).toBe(foreign + pin);
    expect(await place.keeper.guard()).toBe(false);
    await writeFile(place.path, foreign);
    expect(await place.keeper.guard()).toBe(true);
    expect(await place.text()).toBe(foreign + section);
  });

  test("writes nothing if the change cannot be recorded", async () => {
    await using place = await kept();
    const journal = {
      record: () => Promise.reject(new Error("disk full")),
      forget: async () => {},
    };
    const keeper = createHostsKeeper({
      path: place.path,
      stateFolder: join(place.path, ".."),
      log: place.log,
      journal,
    });
    await expect(keeper.advertise(entries)).rejects.toThrow(/^disk full$/);
    expect(await place.text()).toBe(foreign);
  });

  test("reads the file once for a change, and once more right before it is replaced", async () => {
    await using place = await kept();
    let reads = 0;
    const read = async (path: string): Promise<HostsContent> => {
      reads += 1;
      return { bytes: await readFile(path), mode: (await stat(path)).mode & 0o7777 };
    };
    const journal = { record: async () => {}, forget: async () => {} };
    const options = {
      path: place.path,
      stateFolder: join(place.path, ".."),
      log: place.log,
      journal,
      inPlace: false,
      fs: { read },
    };
    const keeper = createHostsKeeper(options);
    await keeper.advertise(entries);
    expect({ text: await place.text(), reads }).toEqual({ text: foreign + section, reads: 2 });
    await keeper.advertise(entries);
    expect(reads).toBe(3);
  });

  test("puts the section back at the next check, and writes nothing while it is there", async () => {
    await using place = await kept();
    await place.keeper.advertise(entries);
    await place.keeper.guard();
    const before = await stat(place.path);
    await place.keeper.guard();
    expect((await stat(place.path)).ino).toBe(before.ino);
    await writeFile(place.path, `${foreign}192.0.2.9 added\n`);
    await place.keeper.guard();
    expect(await place.text()).toBe(`${foreign}192.0.2.9 added\n${section}`);
    expect(place.keeper.trouble).toBeUndefined();
    expect(
      place.log.lines.filter((line) => line.startsWith("info Restored ngrokd's section")),
    ).toHaveLength(1);
  });

  test("creates the file again if another program has removed it", async () => {
    await using place = await kept();
    await place.keeper.advertise(entries);
    await unlink(place.path);
    await place.keeper.guard();
    expect(await place.text()).toBe(section);
  });
});

describe("the keeper, if another program or the disk resists", () => {
  test("gives way after the third time within a minute, says so once, and tries later", async () => {
    await using place = await kept();
    await place.keeper.advertise(entries);
    for (let n = 0; n < 3; n++) {
      await writeFile(place.path, `${foreign}# ${n}\n`);
      await place.keeper.guard();
      expect(await place.text()).toContain(section);
      place.clock.now += 1000;
    }
    await writeFile(place.path, foreign);
    await place.keeper.guard();
    await place.keeper.guard();
    expect(await place.keeper.advertise(entries)).toEqual([]);
    expect(await place.text()).toBe(foreign);
    expect(place.keeper.trouble).toContain(
      "Another program keeps removing or changing ngrokd's section of",
    );
    expect(place.keeper.trouble).toContain("the next try is in 1 min");
    expect(
      place.log.lines.filter((line) => line.startsWith("warn Another program keeps")),
    ).toHaveLength(1);

    place.clock.now += 60_000;
    await place.keeper.guard();
    expect(await place.text()).toBe(foreign + section);
    expect(place.keeper.trouble).toBeUndefined();
  });

  test("still writes new names while it gives way", async () => {
    await using place = await kept();
    await place.keeper.advertise(entries);
    for (let n = 0; n < 4; n++) {
      await writeFile(place.path, `${foreign}# ${n}\n`);
      await place.keeper.guard();
    }
    expect(await place.text()).not.toContain(section);
    await place.keeper.advertise(mapping({ "a.demo": "127.0.0.2", "b.demo": "127.0.0.3" }));
    expect(await place.text()).toContain("127.0.0.3\tb.demo");
  });

  test("leaves the file alone once the section was taken out", async () => {
    await using place = await kept();
    await place.keeper.advertise(entries);
    await place.keeper.clear();
    await writeFile(place.path, `${foreign}# mine\n`);
    await place.keeper.guard();
    expect(await place.text()).toBe(`${foreign}# mine\n`);
  });

  test("warns of a file that cannot be read, and withdraws the warning when it can", async () => {
    await using place = await kept();
    await place.keeper.advertise(entries);
    await writeFile(place.path, "\xff\xfe", "latin1");
    await place.keeper.guard();
    expect(place.keeper.trouble).toContain("UTF-16");
    await writeFile(place.path, foreign);
    await place.keeper.guard();
    expect(place.keeper.trouble).toBeUndefined();
    expect(await place.text()).toBe(foreign + section);
  });

  test("takes a write that succeeds only at last for no other program's doing", async () => {
    await using place = await kept();
    let full = true;
    const journal = {
      record: async () => (full ? Promise.reject(new Error("disk full")) : undefined),
      forget: async () => {},
    };
    const keeper = createHostsKeeper({
      path: place.path,
      stateFolder: join(place.path, ".."),
      log: place.log,
      journal,
    });
    await expect(keeper.advertise(entries)).rejects.toThrow("disk full");
    full = false;
    await keeper.guard();
    expect(await place.text()).toBe(foreign + section);
    expect(place.log.lines).toEqual([`debug Wrote 1 names into "${place.path}"`]);
  });

  test("lets calls that come at once follow each other", async () => {
    await using place = await kept();
    await Promise.all([
      place.keeper.advertise(entries),
      place.keeper.guard(),
      place.keeper.advertise(entries),
      place.keeper.guard(),
    ]);
    expect(await place.text()).toBe(foreign + section);
  });
});
