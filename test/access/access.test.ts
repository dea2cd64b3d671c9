import { describe, expect, test } from "bun:test";
import { type Client, type Rule, refusalOf, ruleFor } from "../../src/access/access.ts";
import { accountsIn, rulesOf } from "../../src/access/accounts.ts";
import { isOwnHost } from "../../src/access/own-host.ts";
import { accessText, refusalText } from "../../src/access/words.ts";

const passwd = [
  "root:x:0:0:root:/root:/bin/sh",
  "alice:x:1000:1000::/home/alice:/bin/sh",
  "bob:x:1001:1001::/home/bob:/bin/sh",
  "carol:x:1002:50::/home/carol:/bin/sh",
  "# a comment",
  "odd:x:no:1000::/:",
  "none:x:4294967295:4294967295::/:",
  "+nis::::::",
  "",
].join("\n");
const group = ["root:x:0:", "dba:x:50:alice, bob,nobody-here", "empty:x:60:", "odd:x", ""].join(
  "\n",
);
const accounts = accountsIn(passwd, group);
const user = (uid: number | undefined): Client => ({ kind: "user", uid });
const machine = (address: string): Client => ({ kind: "machine", address });
const db = { host: "db.internal", port: 5432 };

const rulesFor = (...written: Parameters<typeof rulesOf>[0]): readonly Rule[] =>
  rulesOf(written, accounts).rules;
const refused = (rules: readonly Rule[], client: Client, wanted = db): boolean =>
  refusalOf(ruleFor(rules, wanted), client, "users") !== undefined;

describe("who may connect", () => {
  test("without a rule is every user of this machine, and no other machine", () => {
    expect(refused([], user(1000))).toBe(false);
    expect(refused([], user(undefined))).toBe(false);
    expect(refusalOf(undefined, machine("192.0.2.7"), "users")).toEqual({
      client: machine("192.0.2.7"),
      rule: undefined,
    });
  });

  test("without a rule at a door for other machines is everybody", () => {
    for (const client of [user(1000), user(undefined), machine("192.0.2.7")])
      expect(refusalOf(undefined, client, "everybody")).toBeUndefined();
    const [rule] = rulesFor({ endpoint: "*", from: ["10.0.0.0/8"] });
    expect(refusalOf(rule, machine("10.0.0.1"), "everybody")).toBeUndefined();
    expect(refusalOf(rule, machine("192.0.2.7"), "everybody")).toBeDefined();
  });

  test.each([
    ["alice, who is named", user(1000), false],
    ["bob, who is not", user(1001), true],
    ["root, who is not named either", user(0), true],
    ["a user of unknown name", user(4711), true],
    ["an unknown user", user(undefined), true],
    ["another machine", machine("192.0.2.7"), true],
  ])("by a rule with users: %s", (_who, client, isRefused) => {
    expect(refused(rulesFor({ endpoint: "*", users: ["alice"] }), client)).toBe(isRefused);
  });

  test.each([
    ["a listed member", user(1000), false],
    ["a user whose first group it is", user(1002), false],
    ["another user", user(0), true],
    ["an unknown user", user(undefined), true],
  ])("by a rule with groups: %s", (_who, client, isRefused) => {
    expect(refused(rulesFor({ endpoint: "*", groups: ["dba"] }), client)).toBe(isRefused);
    expect(refused(rulesFor({ endpoint: "*", groups: ["50"] }), client)).toBe(isRefused);
  });

  test("by a rule with users and groups is any of both", () => {
    const rules = rulesFor({ endpoint: "*", users: ["root"], groups: ["dba"] });
    expect([0, 1000, 1001, 1002, 1003].map((uid) => refused(rules, user(uid)))).toEqual([
      false,
      false,
      false,
      false,
      true,
    ]);
  });

  test.each([
    ["10.0.0.0/8", "10.200.3.4", false],
    ["10.0.0.0/8", "11.0.0.1", true],
    ["192.0.2.7/32", "192.0.2.7", false],
    ["192.0.2.7/32", "192.0.2.8", true],
    ["fd00::/8", "fd12::1", false],
    ["fd00::/8", "fe80::1", true],
    ["fe80::/10", "fe80::1%eth0", false],
    ["0.0.0.0/0", "192.0.2.7", false],
    ["0.0.0.0/0", "fd12::1", true],
    ["::/0", "fd12::1", false],
    ["::/0", "192.0.2.7", true],
  ])("by a rule from %s: %s is refused: %p", (range, address, isRefused) => {
    const rules = rulesFor({ endpoint: "*", from: [range] });
    expect(refused(rules, machine(address))).toBe(isRefused);
    expect(refused(rules, user(1001))).toBe(false);
  });

  test("is decided by the first rule for the endpoint alone", () => {
    const rules = rulesFor(
      { endpoint: "db.internal:5432", users: ["alice"] },
      { endpoint: "*.internal", users: ["bob"], from: ["10.0.0.0/8"] },
      { endpoint: "*" },
    );
    const numbers = [
      db,
      { ...db, port: 80 },
      { host: "a.b.internal", port: 1 },
      { host: "x", port: 1 },
    ];
    expect(numbers.map((wanted) => ruleFor(rules, wanted)?.number)).toEqual([1, 2, 2, 3]);
    expect(refused(rules, user(1001))).toBe(true);
    expect(refused(rules, machine("10.0.0.1"))).toBe(true);
    expect(refused(rules, machine("10.0.0.1"), { ...db, port: 80 })).toBe(false);
    expect(refused(rules, user(1000), { ...db, port: 80 })).toBe(true);
  });
});

describe("the users of this machine", () => {
  test("are read by name and number, and odd lines are skipped", () => {
    expect(
      ["alice", "1001", "4711", "mallory", "odd", "none", "4294967295", "-1", ""].map(
        accounts.user,
      ),
    ).toEqual([1000, 1001, 4711, undefined, undefined, undefined, undefined, undefined, undefined]);
    expect([accounts.nameOf(0), accounts.nameOf(4711)]).toEqual(["root", undefined]);
    expect(accounts.members("empty")).toEqual([]);
    expect(accounts.members("odd")).toBeUndefined();
  });

  test("who are not there are reported, and let nobody in", () => {
    const { rules, unknown } = rulesOf(
      [{ endpoint: "*" }, { endpoint: "*", users: ["mallory"], groups: ["admins"] }],
      accounts,
    );
    expect(unknown).toEqual([
      'access.rules[2] names the user "mallory", which is not in /etc/passwd; use its number if another program knows it',
      'access.rules[2] names the group "admins", which is not in /etc/group; use its number if another program knows it',
    ]);
    expect(rules[1]?.uids).toEqual(new Set());
  });

  test("in odd files are nobody, and reading them never fails", () => {
    for (const text of ["", "\0", ":::::", "a:b", "x".repeat(70_000), ":".repeat(9000)])
      expect(accountsIn(text, text).user("alice")).toBeUndefined();
  });
});

describe("a refusal in words", () => {
  const surroundings = { nameOf: accounts.nameOf, placeOf: () => "/etc/ngrokd/config.yml:12" };
  const rules = rulesFor({ endpoint: "*", users: ["alice"], from: ["10.0.0.0/8"] });
  const words = (client: Client, some = rules) => {
    const refusal = refusalOf(ruleFor(some, db), client, "users");
    if (refusal === undefined) throw new Error("it is allowed");
    return refusalText(refusal, db, surroundings);
  };

  test("names the user, the rule and its line", () => {
    expect(words(user(1001))).toEqual({
      reason:
        'the user "bob" (1001) may not connect, since access.rules[1] (/etc/ngrokd/config.yml:12) does not name it',
      detail:
        'the user "bob" (1001) may not connect, since access.rules[1] (/etc/ngrokd/config.yml:12) does not name it',
      hint: 'add "bob" to the rule\'s `users`, or one of its groups to `groups`',
    });
    expect(words(user(4711)).reason).toStartWith("the user 4711 may not connect");
    expect(words(user(undefined)).reason).toStartWith("a program of an unknown user may not");
  });

  test("has the address of a machine beside the reason, so that the log has one line", () => {
    const [one, other] = [words(machine("192.0.2.7")), words(machine("192.0.2.8"))];
    expect(one.reason).toBe(other.reason);
    expect(one.detail).toEndWith(" (192.0.2.7)");
    expect(one.hint).toBe('add "192.0.2.7/32" to the rule\'s `from`');
    expect(words(machine("fd00::9"), []).hint).toBe(
      'a rule such as `{endpoint: "db.internal:5432", from: ["fd00::9/128"]}` in access.rules lets it in',
    );
  });

  test("has its counterpart: who may connect", () => {
    expect(accessText([], db, surroundings, "users")).toBe(
      "every user of this machine may connect, and no other machine",
    );
    expect(accessText([], db, surroundings, "everybody")).toBe(
      "every machine that reaches this one may connect",
    );
    expect(accessText(rules, db, surroundings, "users")).toBe(
      "of this machine, alice may connect, and machines in 10.0.0.0/8, by access.rules[1] (/etc/ngrokd/config.yml:12)",
    );
    const many = rulesFor({ endpoint: "*", users: ["1", "2", "3", "4", "5", "6", "7"] });
    expect(accessText(many, db, surroundings, "users")).toStartWith(
      "of this machine, 1, 2, 3, 4, 5 and 2 more users may connect, and no other machine, by",
    );
  });
});

describe("the host of a request", () => {
  const names = ["api.internal", "api"];
  test.each([
    ["api.internal", true],
    ["API.internal:8080", true],
    ["api.internal.", true],
    ["api.internal.:80", true],
    ["api", true],
    ["127.0.0.2:80", true],
    ["[fd00::1]:80", true],
    ["fd00::1", true],
    ["x.proxy.internal", true],
    ["evil.example", false],
    ["api.internal.evil.example", false],
    ["localhost", false],
    ["", false],
    [undefined, false],
    ["a b", false],
    ["api.internal:99999", false],
    ["api.internal/..", false],
  ])("%p is the endpoint's own: %p", (header, isOwn) => {
    expect(isOwnHost(header, names, ["*.proxy.internal"])).toBe(isOwn);
  });
});
