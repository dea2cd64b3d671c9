import { expect, test } from "bun:test";
import process from "node:process";
import type { Io } from "../../src/cli/command.ts";
import { inheritEverything } from "../../src/cli/inheriting.ts";
import { net } from "../support/conns.ts";

test("an invitation is for one process, and not for the programs that it starts", async () => {
  process.env.NGROKD_HANDOVER = `9:beside:${"0".repeat(64)}:/run/none.sock`;
  const refused = inheritEverything({ net, env: process.env } as Io);
  await expect(refused).rejects.toThrow("hands over by protocol 9");
  const { stdout } = Bun.spawnSync(["/usr/bin/env"], { env: process.env });
  expect(stdout.toString()).not.toContain("NGROKD_HANDOVER");
});
