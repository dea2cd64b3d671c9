import { describe, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Loaded, loadConfig } from "../../src/config/load.ts";
import type { ListItem } from "../../src/desk/reply-schemas.ts";
import { accessFacts, judgeAccess, judgeRefusals } from "../../src/doctor/access-findings.ts";
import { temporaryFolder } from "../machine/support.ts";

const item = (access: number, last_error = ""): ListItem =>
  ({
    hostname: "db.internal",
    port: 5432,
    errors_by_kind: { access },
    connections: { last_error },
  }) as unknown as ListItem;

/** The configuration with these rules; its file and those of users. */
async function withRules(folder: string, rules: string) {
  const path = join(folder, "config.yml");
  await writeFile(path, rules);
  const files = { passwd: join(folder, "passwd"), group: join(folder, "group") };
  await writeFile(files.passwd, "alice:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n");
  await writeFile(files.group, "");
  const loaded: Loaded = await loadConfig({ file: path, env: {} });
  return { path, loaded, files };
}

describe("access in why", () => {
  test("is no finding without rules and refusals", async () => {
    await using folder = await temporaryFolder();
    const { loaded, files } = await withRules(folder.path, "");
    expect(judgeAccess(item(0), accessFacts(loaded, {}, files))).toEqual([]);
    expect(judgeAccess(item(3), accessFacts(loaded, {}, files))).toMatchObject([
      { level: "ok", text: "every user of this machine may connect, and no other machine" },
    ]);
    expect(judgeAccess(item(3), undefined)).toMatchObject([{ level: "warning" }]);
  });

  test("names the rule and its line, and warns the user behind sudo who may not", async () => {
    await using folder = await temporaryFolder();
    const text = "access:\n  rules:\n    - {endpoint: 'db.*', users: [alice]}\n";
    const { path, loaded, files } = await withRules(folder.path, text);
    const as = (uid: string) => judgeAccess(item(0), accessFacts(loaded, { SUDO_UID: uid }, files));
    const rule = `access.rules[1] (${path}:3)`;
    expect(as("1000")).toMatchObject([
      {
        level: "ok",
        text: `of this machine, alice may connect, and no other machine, by ${rule}`,
      },
    ]);
    expect(as("1001")).toMatchObject([
      {
        level: "warning",
        text: `the user "bob" (1001) may not connect, since ${rule} does not name it`,
        fix: 'add "bob" to the rule\'s `users`, or one of its groups to `groups`',
      },
    ]);
  });
});

describe("access in doctor", () => {
  test("names endpoints that have reset clients, with the latest of them", async () => {
    await using folder = await temporaryFolder();
    const { loaded } = await withRules(folder.path, "access: {rules: [{endpoint: '*'}]}\n");
    expect(judgeRefusals([item(0)], loaded)).toMatchObject([
      { level: "ok", text: "1 rule, and nobody was refused" },
    ]);
    expect(judgeRefusals([item(2, "reset at once: bob may not connect"), item(0)], loaded)).toEqual(
      [
        {
          check: "access",
          level: "warning",
          text: "db.internal:5432 has reset 2 clients who may not connect; the latest: reset at once: bob may not connect",
          fix: "`ngrokd why db.internal:5432` shows who may",
          about: "db.internal:5432",
        },
      ],
    );
    expect(judgeRefusals([item(1, "another failure")], undefined)).toMatchObject([
      { text: "db.internal:5432 has reset 1 client who may not connect" },
    ]);
  });

  test("is silent without rules and refusals", async () => {
    await using folder = await temporaryFolder();
    const { loaded } = await withRules(folder.path, "");
    expect(judgeRefusals([item(0)], loaded)).toEqual([]);
  });
});
