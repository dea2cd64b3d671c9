import { describe, expect, test } from "bun:test";
import { totalmem } from "node:os";
import { limitFiles, memoryLimit } from "../../src/net/memory.ts";

const machine = 8 * 1024 ** 3;
const reading =
  (files: Readonly<Record<string, string>>) =>
  (path: string): string =>
    files[path] ?? "";

describe("memoryLimit", () => {
  test.each([
    ["the machine's without a control group", {}, machine],
    [
      "the machine's in a group without a limit",
      { "/sys/fs/cgroup/a/memory.max": "max\n" },
      machine,
    ],
    ["that of a unit", { "/sys/fs/cgroup/a/b/memory.max": "268435456\n" }, 268435456],
    ["that of a group above", { "/sys/fs/cgroup/a/memory.max": "1000\n" }, 1000],
    ["that of a container", { "/sys/fs/cgroup/memory.max": "2000\n" }, 2000],
    ["the one from which on a unit is slowed down", { "/sys/fs/cgroup/a/memory.high": "9\n" }, 9],
    [
      "the machine's if the group may have more",
      { "/sys/fs/cgroup/a/memory.max": "1e99" },
      machine,
    ],
  ])("is %s", (_name, files, limit) => {
    const read = reading({ "/proc/self/cgroup": "0::/a/b\n", ...files });
    expect(memoryLimit(read, machine)).toBe(limit);
  });

  test("is that of the older control groups", () => {
    const read = reading({
      "/proc/self/cgroup": "5:devices:/x\n4:memory,other:/a\n0::/\n",
      "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1048576\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    });
    expect(memoryLimit(read, machine)).toBe(1048576);
  });

  test("of this process is some of this machine's", () => {
    expect(memoryLimit()).toBeWithin(1024 ** 2, totalmem() + 1);
  });
});

test("limitFiles leads nowhere but below /sys/fs/cgroup", () => {
  for (const path of limitFiles("0::/../../etc\n4:memory:/../x\nnonsense\n"))
    expect(path).toMatch(/^\/sys\/fs\/cgroup(\/(?!\.\.)[^/]+)+$/);
});
