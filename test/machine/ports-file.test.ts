import { describe, expect, test } from "bun:test";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createSavedPorts } from "../../src/machine/ports-file.ts";
import { memoryLog } from "../support/memory-log.ts";
import { temporaryFolder } from "./support.ts";

describe("the ports for other machines", () => {
  test("are read and written in the Go program's format", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "network_ports.json");
    await writeFile(path, '{"a.demo:443":9080,"b.demo:80":9081}');
    const ports = createSavedPorts(path, memoryLog());
    await ports.load();
    expect(Object.fromEntries(ports.all)).toEqual({ "a.demo:443": 9080, "b.demo:80": 9081 });
    await ports.save(new Map([...ports.all, ["c.demo:22", 9082]]));
    expect(JSON.parse(await readFile(path, "utf8"))).toEqual({
      "a.demo:443": 9080,
      "b.demo:80": 9081,
      "c.demo:22": 9082,
    });
  });

  test("leave out what is no port, and the second of two equal ones", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "network_ports.json");
    await writeFile(path, '{"a:1":9080,"b:1":"9081","c:1":0,"d:1":70000,"e:1":9080,"f:1":1.5}');
    const ports = createSavedPorts(path, memoryLog());
    await ports.load();
    expect(Object.fromEntries(ports.all)).toEqual({ "a:1": 9080 });
  });

  test("move a file aside that cannot be understood, and make none without need", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "network_ports.json");
    const log = memoryLog();
    const ports = createSavedPorts(path, log);
    await ports.load();
    await ports.save(new Map());
    expect(await readdir(folder.path)).toEqual([]);
    await writeFile(path, "[9080");
    await ports.load();
    expect(ports.all.size).toBe(0);
    expect(await readdir(folder.path)).toEqual([
      expect.stringMatching(/^network_ports\.json\.damaged-\d{8}T\d{6}Z$/),
    ]);
    expect(log.lines).toEqual([expect.stringContaining("cannot be understood")]);
    await writeFile(path, "[9081");
    await ports.load();
    expect(await readdir(folder.path)).toHaveLength(2);
  });
});
