import { describe, expect, test } from "bun:test";
import { mkdir, readdir, readFile, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { loadAssignment, saveAssignment } from "../../src/machine/assignment-file.ts";
import { ipFromNumber } from "../../src/model/ip.ts";
import { host, mapping, temporaryFolder } from "./support.ts";

const now = new Date("2026-08-01T10:11:12.345Z");

describe("saveAssignment and loadAssignment", () => {
  test("keep the names below wildcards apart, under the Go program's keys", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "ip_mappings.json");
    const saved = { "a.demo": "127.0.0.2", "wildcard:b.demo": "127.0.0.3" };
    await writeFile(path, JSON.stringify(saved));
    const { assignment, asked, warning } = await loadAssignment(path);
    expect({ names: [...assignment.keys()], asked: [...asked], warning }).toEqual({
      names: [host("a.demo"), host("b.demo")],
      asked: [host("b.demo")],
      warning: undefined,
    });
    await saveAssignment(path, assignment, asked);
    expect(JSON.parse(await readFile(path, "utf8"))).toEqual(saved);
  });

  test("bring back any assignment in its order", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "ip_mappings.json");
    const label = fc.stringMatching(/^[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9_])?$/);
    const name = fc.tuple(label, label).map(([a, b]) => host(`${a}.x${b}`));
    const special = fc
      .constantFrom("__proto__", "constructor", "tostring", "1.2.x", "0.a")
      .map(host);
    const pairs = fc.array(
      fc.tuple(fc.oneof(name, special), fc.nat({ max: 2 ** 32 - 1 }).map(ipFromNumber)),
      { maxLength: 20 },
    );
    await fc.assert(
      fc.asyncProperty(pairs, async (list) => {
        const assignment = new Map(list);
        await saveAssignment(path, assignment);
        const loaded = await loadAssignment(path);
        expect(loaded.warning).toBeUndefined();
        expect([...loaded.assignment]).toEqual([...assignment]);
      }),
      { numRuns: 50 },
    );
  });

  test("write the Go program's format for all users, and only a change", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "ip_mappings.json");
    expect(
      await saveAssignment(path, mapping({ "b.demo": "127.0.0.2", "a.demo": "127.0.0.3" })),
    ).toBe(true);
    expect(await readFile(path, "utf8")).toBe(
      '{\n  "b.demo": "127.0.0.2",\n  "a.demo": "127.0.0.3"\n}\n',
    );
    const first = await stat(path);
    expect(first.mode & 0o777).toBe(0o644);
    expect(
      await saveAssignment(path, mapping({ "b.demo": "127.0.0.2", "a.demo": "127.0.0.3" })),
    ).toBe(false);
    expect((await stat(path)).ino).toBe(first.ino);
    expect(
      await saveAssignment(path, mapping({ "a.demo": "127.0.0.3", "b.demo": "127.0.0.2" })),
    ).toBe(true); // the order counts
  });

  test("reject if a file cannot be written", async () => {
    await using folder = await temporaryFolder();
    const saving = saveAssignment(join(folder.path, "missing", "ip_mappings.json"), new Map());
    await expect(saving).rejects.toMatchObject({
      code: "state",
      message: expect.stringContaining("no such file or folder"),
    });
  });
});

describe("loadAssignment", () => {
  test("reads a missing file as an empty assignment", async () => {
    await using folder = await temporaryFolder();
    expect(await loadAssignment(join(folder.path, "ip_mappings.json"))).toEqual({
      assignment: new Map(),
      asked: new Set(),
    });
  });

  test("reads the Go program's file", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "ip_mappings.json");
    await writeFile(path, '\ufeff{"web.default":"10.107.0.2","API.Example.com.":"10.107.0.3"}');
    expect(await loadAssignment(path)).toEqual({
      assignment: mapping({ "web.default": "10.107.0.2", "api.example.com": "10.107.0.3" }),
      asked: new Set(),
    });
  });

  const damaged: [string, string | Uint8Array][] = [
    ["an empty file", ""],
    ["a cut file", '{"a.demo": "127.0.0.2", "b.'],
    ["null", "null"],
    ["a list", '["127.0.0.2"]'],
    ["a string", '"a.demo"'],
    ["zeros after a crash", new Uint8Array(4096)],
    ["brackets without end", "[".repeat(2_000_000)],
    ["a megabyte that is not JSON", `x${"y".repeat(1_000_000)}`],
  ];
  test.each(damaged)("moves %s aside with a warning", async (_, content) => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "ip_mappings.json");
    await writeFile(path, content);
    const { assignment, warning } = await loadAssignment(path, now);
    expect(assignment.size).toBe(0);
    expect(warning).toStartWith(`"${path}" cannot be understood, since it is not `);
    expect(warning).toContain(`moved aside to "${path}.damaged-20260801T101112Z"`);
    expect(warning?.length).toBeLessThan(600);
    expect(await readdir(folder.path)).toEqual(["ip_mappings.json.damaged-20260801T101112Z"]);
    expect(
      Buffer.compare(await readFile(`${path}.damaged-20260801T101112Z`), Buffer.from(content)),
    ).toBe(0);
  });

  test("moves a large file and a folder aside, and never over an earlier one", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "ip_mappings.json");
    await writeFile(path, "");
    await truncate(path, 65 * 1024 * 1024);
    expect((await loadAssignment(path, now)).warning).toContain(
      `it is ${65 * 1024 * 1024} bytes long`,
    );
    await mkdir(path);
    expect((await loadAssignment(path, now)).warning).toContain("it is not a regular file");
    await writeFile(path, "third");
    expect((await loadAssignment(path, now)).warning).toContain("Z-3");
    expect((await readdir(folder.path)).sort()).toEqual(
      ["", "-2", "-3"].map((end) => `ip_mappings.json.damaged-20260801T101112Z${end}`),
    );
    expect(await readFile(`${path}.damaged-20260801T101112Z-3`, "utf8")).toBe("third");
  });
});

describe("loadAssignment, of unusual content,", () => {
  test("leaves single bad entries out and keeps the others", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "ip_mappings.json");
    const bad = {
      "a b.demo": "127.0.0.3",
      "x\ny": "127.0.0.4",
      "*.demo": "127.0.0.5",
      "n.demo": 5,
      "z.demo": "127.0.0.256",
      "10.0.0.1": "127.0.0.8",
    };
    await writeFile(
      path,
      JSON.stringify({
        "a.demo": "127.0.0.2",
        ...bad,
        "b.demo": "127.0.0.9",
        "A.demo": "127.0.0.10",
      }),
    );
    const { assignment, warning } = await loadAssignment(path);
    expect([...assignment]).toEqual([...mapping({ "a.demo": "127.0.0.2", "b.demo": "127.0.0.9" })]);
    expect(warning).toStartWith(
      `Left out 7 of the entries of "${path}" (kept as it was in "${path}.damaged-`,
    );
    expect(warning).toEndWith("; …");
    expect(warning).not.toContain("\n");
  });

  test("keeps a copy of a file with bad entries, once", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "ip_mappings.json");
    const text = JSON.stringify({ "a.demo": "127.0.0.2", "*.demo": "127.0.0.5" });
    await writeFile(path, text);
    const { assignment } = await loadAssignment(path, now);
    expect((await loadAssignment(path, now)).warning).toContain("kept as it was");
    await saveAssignment(path, assignment);
    expect((await readdir(folder.path)).sort()).toEqual([
      "ip_mappings.json",
      "ip_mappings.json.damaged-20260801T101112Z",
    ]);
    expect(await readFile(`${path}.damaged-20260801T101112Z`, "utf8")).toBe(text);
    expect((await loadAssignment(path, now)).warning).toBeUndefined();
  });

  test("sets a later format aside, and accepts a host named version", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "ip_mappings.json");
    await writeFile(path, '{"version": "127.0.0.2"}');
    expect(await loadAssignment(path, now)).toEqual({
      assignment: mapping({ version: "127.0.0.2" }),
      asked: new Set(),
    });
    await writeFile(path, '{"version": 2, "names": {"a.demo": "127.0.0.2"}}');
    const { assignment, warning } = await loadAssignment(path, now);
    expect(assignment.size).toBe(0);
    expect(warning).toContain(
      "its format has the version 2, which this ngrokd does not know; it was moved aside to",
    );
  });

  test("never throws for any JSON", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "ip_mappings.json");
    const text = fc.oneof(
      fc.json(),
      fc.dictionary(fc.string(), fc.jsonValue()).map((value) => JSON.stringify(value)),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(text, async (content) => {
        await writeFile(path, content);
        const { assignment } = await loadAssignment(path);
        for (const [name, address] of assignment) {
          expect(content).toContain(address);
          expect(name).toBe(host(name));
        }
      }),
      { numRuns: 100 },
    );
  });

  test("rejects for a link to itself", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "ip_mappings.json");
    await symlink(path, path);
    await expect(loadAssignment(path)).rejects.toMatchObject({
      code: "state",
      message: `Cannot read "${path}": too many symbolic links`,
    });
  });
});
