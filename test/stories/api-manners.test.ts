import { beforeAll, expect, test } from "bun:test";
import { type Cloud, registered } from "../support/cloud.ts";
import { type Daemon, ngrokd } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";

stories("an API that does not want to be asked", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    // Only requested polls, and those after a failure.
    ({ cloud, daemon } = await registered({
      config: { bound_endpoints: { poll_interval: 3600 } },
    }));
  });

  /**
   * The state after a failed poll: the failures in a row, and bounds of the
   * wait for the next poll. The lower bound is the rest of it, the upper one
   * counts from the poll's end.
   */
  const failed = async (): Promise<{ failures: number; atLeast: number; atMost: number }> => {
    await daemon.refresh();
    return await until("the next poll is known", async () => {
      const { failed_polls, last_poll, next_poll } = await daemon.status();
      const waitFrom = (time: number): number => (Date.parse(next_poll) - time) / 1000;
      const ended = Date.parse(last_poll?.time ?? "");
      return (
        next_poll !== "" && {
          failures: failed_polls,
          atLeast: waitFrom(Date.now()),
          atMost: waitFrom(ended),
        }
      );
    });
  };

  const recovers = async (): Promise<void> => {
    await cloud.mend();
    await daemon.refresh();
    expect(await daemon.status()).toMatchObject({ phase: "serving", failed_polls: 0 });
  };

  test.each([
    ["slow down, and not for how long: ten seconds", "429", [10, 11]],
    ["slow down, and for how long: that time", "429=60", [60, 61]],
    ["slow down for half a day: an hour is believed", "503=43200", [3600, 3601]],
  ] as const)(
    "that says %s, plus up to a second, before the next call; status shows it",
    async (_what, fault, [least, most]) => {
      await cloud.break(fault);
      const { failures, atLeast, atMost } = await failed();
      expect(failures).toBe(1);
      expect(atMost).toBeGreaterThan(least - 0.01);
      expect(atLeast).toBeLessThanOrEqual(most);
      expect((await ngrokd("status")).out).toContain("next attempt in ");
      await recovers();
    },
  );

  test("that refuses the key once is asked again within seconds, by itself", async () => {
    await cloud.break("401*1");
    const { code, err } = await ngrokd("refresh");
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("ERR_NGROK_203") });
    await until("the daemon serves again", async () => (await daemon.status()).phase === "serving");
  });

  test("that refuses the key again is asked minutes later", async () => {
    await cloud.break("401");
    await failed();
    const { atLeast, atMost } = await failed();
    expect(atMost).toBeGreaterThan(239.99);
    expect(atLeast).toBeLessThanOrEqual(300);
    await recovers();
  });

  test("that goes on failing is asked at random times below a limit that doubles", async () => {
    await cloud.break("500");
    const seen = [];
    for (let i = 0; i < 8; i += 1) seen.push(await failed());
    for (const { failures, atLeast } of seen) expect(atLeast).toBeLessThan(2 ** (failures - 1));
    // With equal or doubling waits all of these would be the same.
    const shares = seen
      .slice(3)
      .map(({ failures, atMost }) => (atMost / 2 ** (failures - 1)).toFixed(2));
    expect(new Set(shares).size).toBeGreaterThan(1);
    await recovers();
  });
});
