import { describe, expect, test } from "bun:test";
import { rightsOf } from "../../src/control/rights.ts";

describe("what a client of an open socket may do", () => {
  const owner = { uid: 1000, gid: 42 };
  test.each([
    ["root", { uid: 0, groups: [0] }, "all"],
    ["the daemon's own user", { uid: 1000, groups: [7] }, "all"],
    ["a user of the socket's group", { uid: 7, groups: [42] }, "all"],
    ["a user whose second group it is", { uid: 7, groups: [7, 8, 42] }, "all"],
    ["another user", { uid: 7, groups: [7, 8] }, "read"],
    ["a user with group 0 alone", { uid: 7, groups: [0] }, "read"],
    ["a user whom the system does not tell", undefined, "read"],
  ] as const)("%s", (_who, user, rights) => {
    expect(rightsOf(user, owner)).toBe(rights);
  });
});
