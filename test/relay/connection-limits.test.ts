import { describe, expect, test } from "bun:test";
import { excess, unlimited } from "../../src/relay/connection-limits.ts";

describe("excess", () => {
  test("allows any number without a limit", () => {
    expect(excess({ inAll: 1e6, here: 1e6 }, unlimited)).toBeUndefined();
  });

  test.each([
    [
      { inAll: 3 },
      3,
      0,
      /^3 connections are open, and forward\.max_connections allows no more$/,
      false,
    ],
    [
      { perEndpoint: 2 },
      5,
      2,
      /^2 connections to it are open, and forward\.max_connections_per_endpoint allows no more$/,
      true,
    ],
    [{ byDescriptors: 4 }, 4, 0, /the limit of open files/, false],
    [{ byDescriptors: 4, inAll: 4, perEndpoint: 4 }, 4, 4, /the limit of open files/, false],
    [
      { byMemory: 2048 },
      2048,
      0,
      /^2048 connections are open, and the memory has room for no more$/,
      false,
    ],
    [{ byDescriptors: 0 }, 0, 0, /the limit of open files/, false],
  ])(
    "%j with %d open, %d of them here: one more is too many",
    (limits, inAll, here, reason, local) => {
      const over = excess({ inAll, here }, { ...unlimited, ...limits });
      expect(over).toMatchObject({ reason: expect.stringMatching(reason), local });
      expect(over?.hint).toMatch(/^raise /);
      if (inAll > 0)
        expect(
          excess({ inAll: inAll - 1, here: Math.max(0, here - 1) }, { ...unlimited, ...limits }),
        ).toBeUndefined();
    },
  );

  test("of open files counts the connections of this process alone", () => {
    const limits = { ...unlimited, byDescriptors: 10 };
    expect(excess({ inAll: 30, here: 0, elsewhere: 21 }, limits)).toBeUndefined();
    expect(excess({ inAll: 30, here: 0, elsewhere: 20 }, limits)?.reason).toContain("open files");
    const inAll = excess({ inAll: 30, here: 0, elsewhere: 21 }, { ...unlimited, inAll: 30 });
    expect(inAll?.reason).toContain("forward.max_connections");
  });
});
