import { beforeAll, expect, test } from "bun:test";
import { type Cloud, registered } from "../support/cloud.ts";
import { type Daemon, ngrokd } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";

stories("an API that does not want to be asked", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    ({ cloud, daemon } = await registered());
  });

  /** After a poll that has failed: how often in a row by now, and seconds until the next one. */
  const failed = async (): Promise<{ failures: number; wait: number }> => {
    await daemon.refresh();
    return await until("the next poll is known", async () => {
      const { failed_polls, next_poll } = await daemon.status();
      return next_poll !== "" && { failures: failed_polls, wait: (Date.parse(next_poll) - Date.now()) / 1000 };
    });
  };

  const recovers = async (): Promise<void> => {
    await cloud.mend();
    await daemon.refresh();
    expect(await daemon.status()).toMatchObject({ phase: "serving", failed_polls: 0 });
  };

  test.each([
    ["slow down, and not for how long: ten seconds", "429", [9, 11.1]],
    ["slow down, and for how long: that time", "429=60", [59, 61.1]],
    ["slow down for half a day: an hour is believed", "503=43200", [3599, 3601.1]],
  ] as const)("that says %s, and up to a second on top, before it is asked again; status tells", async (_what, fault, [least, most]) => {
    await cloud.break(fault);
    const { failures, wait } = await failed();
    expect(failures).toBe(1);
    expect(wait).toBeWithin(least, most);
    expect((await ngrokd("status")).out).toContain("next attempt in ");
    await recovers();
  });

  test("that refuses the key again is asked minutes later", async () => {
    await cloud.break("401");
    await failed();
    expect((await failed()).wait).toBeWithin(239, 300);
    await recovers();
  });

  test("that goes on failing is asked at random times below a limit that doubles", async () => {
    await cloud.break("500");
    const seen = [];
    for (let i = 0; i < 8; i += 1) seen.push(await failed());
    for (const { failures, wait } of seen) expect(wait).toBeLessThan(2 ** (failures - 1));
    // With equal waits, or such that double, all of these would be the same.
    const shares = seen.slice(3).map(({ failures, wait }) => (wait / 2 ** (failures - 1)).toFixed(2));
    expect(new Set(shares).size).toBeGreaterThan(1);
    await recovers();
  });
});
