import { describe, expect, test } from "bun:test";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Default, WrittenRule } from "../../src/access/access.ts";
import { createGuard, type Guard, type Shared } from "../../src/access/guard.ts";
import type { Caller, Conn } from "../../src/net/types.ts";
import { temporaryFolder } from "../machine/support.ts";
import { later } from "../support/conns.ts";

const db = { host: "db.internal", port: 5432 };

/** A connection as a guard sees it. */
const between = (remote: string, local: string): Conn =>
  ({ remote: { host: remote, port: 40_000 }, local: { host: local, port: 5432 } }) as Conn;
const inside = between("127.0.0.1", "127.0.0.2");

const shared = (without: Default, ...hosts: readonly string[]): Shared[] =>
  hosts.map((host) => ({ wanted: { host, port: 80 }, without }));

interface Staged {
  readonly guard: Guard;
  readonly asked: () => number;
}

function staged(
  written: () => readonly WrittenRule[],
  caller: Caller | Promise<Caller>,
  files = { passwd: "/nowhere/passwd", group: "/nowhere/group" },
): Staged {
  let asked = 0;
  const callerOf = (): Caller | Promise<Caller> => {
    asked += 1;
    return caller;
  };
  const placeOf = (): string => "/etc/ngrokd/config.yml:3";
  return { guard: createGuard({ net: { callerOf }, written, placeOf, files }), asked: () => asked };
}

describe("the guard", () => {
  test("asks for nobody at a loopback door without users in the rules", () => {
    const rules: WrittenRule[] = [{ endpoint: "*", from: ["10.0.0.0/8"] }];
    const { guard, asked } = staged(() => rules, { isHere: true, uid: undefined });
    expect(guard.judge(inside, db, "users")).toBeUndefined();
    expect(guard.judge(between("::1", "::1"), db, "users")).toBeUndefined();
    expect(asked()).toBe(0);
  });

  test("asks for the user of each client if it is wanted, and lets it in as before", async () => {
    await using folder = await temporaryFolder();
    const passwd = join(folder.path, "passwd");
    await writeFile(passwd, "alice:x:1000:1000::/:/bin/sh\n");
    const callerOf = ({ remote }: Conn): Caller => ({
      isHere: "port" in remote && remote.port === 40_000,
      uid: 1000,
    });
    const guard = createGuard({
      net: { callerOf },
      written: () => [],
      placeOf: () => "",
      files: { passwd, group: "/nowhere/group" },
      wantsUsers: () => true,
    });
    expect(guard.judge(inside, db, "users")).toBeUndefined();
    expect(guard.userOf(inside)).toBe(1000);
    expect(guard.nameOf(1000)).toBe("alice");
    const gone = { ...inside, remote: { host: "127.0.0.1", port: 1 } } as Conn;
    expect(guard.judge(gone, db, "users")).toBeUndefined();
    expect(guard.userOf(gone)).toBeUndefined();
  });

  test("asks for a stranger whose packets a loopback door gets, and refuses it", () => {
    const { guard } = staged(() => [], { isHere: false, uid: undefined });
    expect(guard.judge(between("192.0.2.7", "127.0.0.2"), db, "users")).toMatchObject({
      detail: "another machine may not connect, since no rule of access.rules names it (192.0.2.7)",
    });
  });

  test("lets every user of this machine in at another address, and no other machine", () => {
    const at = between("10.107.3.4", "10.107.3.4");
    const none: WrittenRule[] = [];
    expect(
      staged(() => none, { isHere: true, uid: 1000 }).guard.judge(at, db, "users"),
    ).toBeUndefined();
    expect(
      staged(() => none, { isHere: true, uid: undefined }).guard.judge(at, db, "users"),
    ).toBeUndefined();
    const { guard } = staged(() => none, { isHere: false, uid: undefined });
    expect(guard.judge(between("10.0.0.9", "10.107.3.4"), db, "users")).toMatchObject({
      detail: expect.stringContaining("(10.0.0.9)"),
    });
  });

  test("asks for nobody at a door for other machines without a rule for the endpoint", () => {
    let rules: readonly WrittenRule[] = [{ endpoint: "other", from: ["10.0.0.0/8"] }];
    const { guard, asked } = staged(() => rules, { isHere: false, uid: undefined });
    const conn = between("192.0.2.7", "192.0.2.1");
    expect(guard.judge(conn, db, "everybody")).toBeUndefined();
    expect(asked()).toBe(0);
    rules = [{ endpoint: "db.*", from: ["10.0.0.0/8"] }];
    expect(guard.judge(conn, db, "everybody")).toMatchObject({
      detail: expect.stringContaining("(192.0.2.7)"),
    });
  });

  test("knows whether a client may use any endpoint of a door that several share", async () => {
    const endpoints = shared("everybody", "a.demo", "b.demo");
    let rules: readonly WrittenRule[] = [];
    const conn = between("192.0.2.7", "192.0.2.1");
    const { guard, asked } = staged(() => rules, { isHere: false, uid: undefined });
    expect(guard.mayUseAny(conn, endpoints)).toBe(true);
    expect(asked()).toBe(0);
    rules = [{ endpoint: "a.demo", from: ["10.0.0.0/8"] }];
    expect(guard.mayUseAny(conn, endpoints)).toBe(true);
    rules = [{ endpoint: "*", from: ["10.0.0.0/8"] }];
    expect(guard.mayUseAny(conn, endpoints)).toBe(false);
    rules = [{ endpoint: "b.*", from: ["192.0.2.0/24"] }, ...rules];
    expect(guard.mayUseAny(conn, endpoints)).toBe(true);
    const later = staged(() => rules, Promise.resolve({ isHere: true, uid: undefined }));
    expect(await later.guard.mayUseAny(conn, endpoints)).toBe(true);
  });

  test("asks for nobody at a shared door if the addresses alone let the client in", () => {
    const rules: WrittenRule[] = [
      { endpoint: "a.demo", users: ["1000"] },
      { endpoint: "b.demo", from: ["10.0.0.0/8"] },
    ];
    const { guard, asked } = staged(() => rules, { isHere: true, uid: 1000 });
    expect(guard.mayUseAny(inside, shared("users", "a.demo", "b.demo"))).toBe(true);
    const stranger = between("192.0.2.7", "192.0.2.1");
    expect(guard.mayUseAny(stranger, shared("everybody", "a.demo", "c.demo"))).toBe(true);
    expect(asked()).toBe(0);
  });

  test("asks once for a client that names one of several endpoints", async () => {
    const rules: WrittenRule[] = [{ endpoint: "*", users: ["1000"] }];
    const answers = [{ isHere: true, uid: 1000 }, Promise.resolve({ isHere: true, uid: 1000 })];
    for (const answer of answers) {
      const { guard, asked } = staged(() => rules, answer);
      const conn = between("127.0.0.1", "127.0.0.2");
      expect(await guard.mayUseAny(conn, shared("users", "a.demo", "b.demo"))).toBe(true);
      expect(await guard.judge(conn, db, "users")).toBeUndefined();
      expect(asked()).toBe(1);
      await guard.judge(conn, db, "users");
      expect(asked()).toBe(2);
    }
  });

  test("goes through the endpoints of a shared door once for each change of rules", () => {
    let looks = 0;
    const endpoints = shared("users", "a.demo", "b.demo").map(({ wanted, without }) => ({
      get wanted() {
        looks += 1;
        return wanted;
      },
      without,
    }));
    let rules: readonly WrittenRule[] = [{ endpoint: "*", users: ["1000"] }];
    const { guard } = staged(() => rules, { isHere: true, uid: 1001 });
    for (let i = 0; i < 3; i += 1) expect(guard.mayUseAny(inside, endpoints)).toBe(false);
    expect(looks).toBe(2);
    rules = [{ endpoint: "b.*", users: ["1001"] }, ...rules];
    expect(guard.mayUseAny(inside, endpoints)).toBe(true);
    expect(looks).toBe(4);
  });

  test("waits for an answer if the system cannot be asked at once", async () => {
    const rules: WrittenRule[] = [{ endpoint: "*", users: ["1000"] }];
    const { guard } = staged(() => rules, Promise.resolve({ isHere: true, uid: 1001 }));
    expect(await guard.judge(inside, db, "users")).toMatchObject({
      reason: expect.stringContaining("the user 1001 may not connect"),
    });
  });

  test("follows the rules, with the next connection", () => {
    let rules: readonly WrittenRule[] = [{ endpoint: "*", users: ["1000"] }];
    const { guard } = staged(() => rules, { isHere: true, uid: 1001 });
    expect(guard.judge(inside, db, "users")).toBeDefined();
    rules = [{ endpoint: "*", users: ["1001"] }];
    expect(guard.judge(inside, db, "users")).toBeUndefined();
    rules = [];
    expect(guard.judge(inside, db, "users")).toBeUndefined();
  });

  test("follows the files of users and groups within a second or so", async () => {
    await using folder = await temporaryFolder();
    const files = { passwd: join(folder.path, "passwd"), group: join(folder.path, "group") };
    await writeFile(files.passwd, "alice:x:1000:1000::/:/bin/sh\n");
    await writeFile(files.group, "dba:x:50:\n");
    const rules: WrittenRule[] = [{ endpoint: "*", groups: ["dba"] }];
    const { guard } = staged(() => rules, { isHere: true, uid: 1000 }, files);
    expect(guard.judge(inside, db, "users")).toMatchObject({
      reason: expect.stringContaining('the user "alice" (1000) may not connect'),
    });
    await writeFile(files.group, "dba:x:50:alice\n");
    await later(1100);
    expect(guard.judge(inside, db, "users")).toBeUndefined();
    expect(guard.warnings).toEqual([]);
    await rm(files.group);
    await later(1100);
    expect(guard.judge(inside, db, "users")).toBeDefined();
    expect(guard.warnings).toEqual([expect.stringContaining('the group "dba"')]);
  });
});
