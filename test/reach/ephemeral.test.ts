import { expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { openSession } from "../../src/reach/session.ts";
import { temporaryFolder } from "../machine/support.ts";
import { net } from "../support/conns.ts";
import { memoryLog } from "../support/memory-log.ts";

test("a run for itself alone leaves no folder if its settings cannot be read", async () => {
  await using home = await temporaryFolder();
  const never = new AbortController().signal;
  const opening = openSession({
    net,
    env: { XDG_STATE_HOME: home.path },
    log: memoryLog(),
    config: join(home.path, "none.yml"),
    profile: undefined,
    ca: undefined,
    ephemeral: true,
    own: false,
    socket: undefined,
    pooled: false,
    judged: false,
    stop: never,
    hurry: never,
  });
  expect(await opening.catch(({ message }) => message)).toContain("none.yml");
  expect(await readdir(join(home.path, "ngrokd", "runs"))).toEqual([]);
});
