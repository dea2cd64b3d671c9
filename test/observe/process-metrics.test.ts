import { describe, expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { exposition } from "../../src/observe/exposition.ts";
import { processFamilies } from "../../src/observe/process-metrics.ts";

const values = async (maxFds: number): Promise<Record<string, number>> => {
  const lines = [...exposition(await processFamilies(maxFds))].join("").split("\n");
  return Object.fromEntries(
    lines
      .filter((line) => /^\w/.test(line))
      .map((line) => line.split(" ") as [string, string])
      .map(([k, v]) => [k, +v]),
  );
};

describe("the metrics of the process", () => {
  test("is true", async () => {
    const {
      process_cpu_seconds_total: cpu,
      process_resident_memory_bytes: rss,
      ...rest
    } = await values(1000);
    expect(cpu).toBeWithin(0.001, 3600);
    expect(rss).toBeWithin(1e6, 1e10);
    expect(rest.process_start_time_seconds).toBeWithin(Date.now() / 1000 - 3600, Date.now() / 1000);
    expect(rest.process_max_fds).toBe(1000);
  });

  test.skipIf(process.platform !== "linux")("counts open files", async () => {
    const { process_open_fds: before = 0 } = await values(1000);
    // Many, since sockets of other tests in this process may close meanwhile.
    const files = Array.from({ length: 200 }, () => openSync("/dev/null", "r"));
    const { process_open_fds: after } = await values(1000);
    for (const file of files) closeSync(file);
    expect(after).toBeWithin(before + 150, before + 250);
  });

  test("leaves out a limit that is not known", async () => {
    expect(await values(Number.POSITIVE_INFINITY)).not.toContainKey("process_max_fds");
  });
});
