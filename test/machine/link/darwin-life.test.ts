import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readJournal } from "../../../src/journal/journal.ts";
import { runIfconfig } from "../../../src/machine/link/darwin.ts";
import { planUndo, undo } from "../../../src/machine/undo.ts";
import { temporaryFolder } from "../support.ts";
import { lo0In, makeIfconfig } from "./ifconfig.ts";

test("aliases of a killed daemon are in the journal, and undo removes them alone", async () => {
  await using folder = await temporaryFolder();
  const ifconfig = makeIfconfig(folder.path);
  await runIfconfig({ ifconfig }, ["lo0", "alias", "10.200.0.1", "255.255.255.255"]);
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dirname, "darwin-life.child.ts"), folder.path],
    { stdout: "pipe", stderr: "inherit" },
  );
  const { value } = await child.stdout.getReader().read();
  expect(new TextDecoder().decode(value)).toBe("carried\n");
  child.kill("SIGKILL");
  await child.exited;
  const shown = Bun.spawnSync([ifconfig, "lo0"]).stdout.toString();
  expect(shown).toContain("\tinet 10.107.0.2 netmask 0xffffffff\n");
  expect(await readJournal(folder.path)).toMatchObject([
    { kind: "aliases", addresses: ["10.107.0.1", "10.107.0.2"] },
  ]);

  // Another program has removed one of them meanwhile.
  await runIfconfig({ ifconfig }, ["lo0", "-alias", "10.107.0.1"]);
  const hosts = join(folder.path, "hosts");
  writeFileSync(hosts, "127.0.0.1 localhost\n");
  const owners = { isAlive: async () => false };
  const aliases = { ifconfig, interfaces: () => lo0In(folder.path) };
  const steps = await planUndo(folder.path, hosts, owners, aliases);
  expect(steps.map(({ action }) => action)).toEqual(["take back"]);
  await undo(folder.path, steps, { owners, aliases });
  expect(readFileSync(join(folder.path, "lo0"), "utf8")).toBe("127.0.0.1\n10.200.0.1\n");
  expect(await readJournal(folder.path)).toEqual([]);
});

test("an alias that is not there says what ifconfig says", async () => {
  await using folder = await temporaryFolder();
  const ifconfig = makeIfconfig(folder.path);
  const failed = await runIfconfig({ ifconfig }, ["lo0", "-alias", "10.107.0.9"]).catch(
    (error: unknown) => error,
  );
  expect(failed).toMatchObject({ code: "network" });
  expect(`${failed}`).toContain("ioctl (SIOCDIFADDR): Can't assign requested address");
});
