import { describe, expect, test } from "bun:test";
import { accessHint, groupIn, isUserName, userIn } from "../../src/model/access.ts";

describe("access to the control socket", () => {
  test.each([
    ["alice", false, "`sudo ngrokd service install --group-add alice`, and log in again"],
    [undefined, false, "--group-add NAME`"],
    ["a;rm", false, "--group-add NAME`"],
    ["alice", true, "log in again: this session is older"],
  ])("the hint for %p (a member: %p) names the next step", (name, isMember, part) => {
    expect(accessHint(name, isMember)).toContain(part);
  });

  test("a group is read from its line alone", () => {
    const text = "root:x:0:\nngrokd-x:x:7:\nngrokd:x:4242:alice,bob\nodd:x::\n";
    expect(groupIn(text, "ngrokd")).toEqual({ gid: 4242, members: ["alice", "bob"] });
    expect(groupIn(text, "root")).toEqual({ gid: 0, members: [] });
    expect([groupIn(text, "odd"), groupIn(text, "x"), groupIn("", "root")]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test("a user's name is that of the number", () => {
    const text = "root:x:0:0::/root:/bin/sh\n#odd\nalice:x:1000:1000::/home/alice:/bin/sh\n";
    expect([userIn(text, 1000), userIn(text, 0), userIn(text, 7)]).toEqual([
      "alice",
      "root",
      undefined,
    ]);
  });

  test("a user's name is no flag and no list", () => {
    const names = ["alice", "_apt", "a.b-c", "pc$", "-r", "a b", "a,b", "", "x".repeat(33), "1st"];
    expect(names.filter(isUserName)).toEqual(["alice", "_apt", "a.b-c", "pc$"]);
  });
});
