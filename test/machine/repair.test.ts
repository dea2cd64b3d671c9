import { describe, expect, test } from "bun:test";
import { type RepairDeps, startRepair } from "../../src/machine/repair.ts";
import type { WatchDeps } from "../../src/machine/wake.ts";
import { doorway } from "../daemon/support.ts";
import { memoryLog } from "../support/memory-log.ts";
import { until } from "../support/story.ts";

const one = doorway("http://a.demo", "127.0.0.2");

function repaired(
  mended: { doorway: typeof one; reason: string | undefined }[] = [],
  otherPins = false,
  resolver = async () => undefined,
  mendMs = 0,
) {
  const done: string[] = [];
  const log = memoryLog();
  let watch: WatchDeps | undefined;
  const deps: RepairDeps = {
    checkConfig: () => void done.push("file"),
    names: { guard: async () => done.push("hosts") > 0 && otherPins },
    resolver: { guard: resolver },
    link: { guard: async () => false, devices: () => [] },
    doors: {
      present: new Map([["127.0.0.2:80", {} as never]]),
      async mend() {
        await Bun.sleep(mendMs);
        done.push("doors");
        return mended;
      },
    },
    sweep: async () => void done.push("sweep"),
    discard: () => void done.push("discard"),
    kick: () => void done.push("kick"),
    log,
    watch(given) {
      watch = given;
      return { stop: async () => undefined };
    },
  };
  startRepair(deps);
  if (watch === undefined) throw new Error("nothing watches");
  return { done, log, watch };
}

describe("repair", () => {
  test("looks after the configuration file, the hosts section and the listeners", async () => {
    const { done, watch, log } = repaired();
    await watch.look();
    expect(done).toEqual(["file", "hosts", "doors"]);
    expect(log.lines).toEqual([]);
  });

  test("asks for a pass if the user's own lines take a name or free one", async () => {
    const { done, watch } = repaired([], true);
    await watch.look();
    expect(done).toEqual(["file", "hosts", "kick", "doors"]);
  });

  test("does not wait for the machine's resolver, and looks at it once at a time", async () => {
    const answer = Promise.withResolvers<undefined>();
    let asked = 0;
    const { done, watch } = repaired([], false, () => {
      asked += 1;
      return answer.promise;
    });
    await watch.look();
    await watch.look();
    expect({ done, asked }).toEqual({
      done: ["file", "hosts", "doors", "file", "hosts"],
      asked: 1,
    });
    answer.resolve(undefined);
    await answer.promise;
    await watch.look();
    expect({ askedAfterTheAnswer: asked }).toEqual({ askedAfterTheAnswer: 2 });
  });

  test.each([
    ["time", "The machine slept, or its clock was set"],
    ["network", "The network has changed"],
  ] as const)("makes ready connections anew and polls when it is another %s", (what, text) => {
    const { done, watch, log } = repaired();
    watch.moved(what);
    expect(done).toEqual(["discard", "kick"]);
    expect(log.lines).toEqual([
      `info ${text}: ready connections are replaced, and ngrok is polled at once`,
    ]);
  });

  test("reports a listener that was opened again", async () => {
    const { done, watch, log } = repaired([{ doorway: one, reason: undefined }]);
    await watch.look();
    expect(done).toEqual(["file", "hosts", "doors"]);
    expect(log.lines).toEqual([
      "warn The system had closed the listener of http://a.demo on 127.0.0.2:80; it listens again",
    ]);
  });

  test("looks again soon if the machine stood still during a check", async () => {
    const { done, watch } = repaired([], false, undefined, 600);
    const checks = (): number => done.filter((what) => what === "doors").length;
    await watch.look();
    // Counted as its cost, the pause would put the next check a minute away.
    await until(
      "the listeners are checked again",
      async () => {
        const began = performance.now();
        while (performance.now() - began < 20);
        await watch.look();
        return checks() === 2;
      },
      { within: 45_000 },
    );
  }, 60_000);

  test("leaves one that cannot be raised to the next poll, which it asks for", async () => {
    const { done, watch, log } = repaired([{ doorway: one, reason: "another program listens" }]);
    await watch.look();
    expect(done).toEqual(["file", "hosts", "doors", "kick"]);
    expect(log.lines).toEqual([
      "warn The system has closed the listener of http://a.demo, and it cannot listen again: another program listens",
    ]);
  });
});
