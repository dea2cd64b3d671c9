import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, lchownSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exposed, type Waypoint, writerOf } from "../../src/files/writers.ts";
import { temporaryFolder } from "../machine/support.ts";

const root = { uid: 0, gid: 0 };
const user = { uid: 1000, gid: 1000 };
const file: Waypoint = { path: "/x/f", kind: "file", uid: 0, gid: 0, mode: 0o100644, isLast: true };
const folder: Waypoint = { ...file, path: "/x", kind: "folder", mode: 0o40755, isLast: false };

describe("who else may write a file", () => {
  test.each<[string, Partial<Waypoint>, typeof root]>([
    ["a file of root's", file, root],
    ["a file of one's own, for one's own group", { ...file, ...user, mode: 0o100664 }, user],
    ["a file in /tmp", { ...folder, mode: 0o41777 }, root],
    ["a link of root's", { ...file, kind: "link", mode: 0o120777 }, root],
  ])("nobody: %s", (_case, point, self) => {
    expect(writerOf([{ ...file, ...point }], self)).toBeUndefined();
  });

  test.each<[string, Waypoint, typeof root, string, string]>([
    [
      "a file for all",
      { ...file, mode: 0o100666 },
      root,
      'every user may write the file "/x/f" (mode 666)',
      "chmod go-w /x/f",
    ],
    [
      "a file for a group, or with an access control list",
      { ...file, mode: 0o100664 },
      root,
      'the group 0 may write the file "/x/f" (mode 664)',
      "chmod go-w /x/f",
    ],
    [
      "a folder above it for all",
      { ...folder, mode: 0o40777 },
      root,
      'every user may write in the folder "/x" (mode 777)',
      "chmod go-w /x",
    ],
    [
      "a sticky folder in which it is missing",
      { ...folder, mode: 0o41777, isLast: true },
      root,
      'every user may write in the folder "/x" (mode 1777)',
      "chmod go-w /x",
    ],
    [
      "a file of another user's",
      { ...file, ...user },
      root,
      'the file "/x/f" belongs to another user (uid 1000)',
      "chown root /x/f",
    ],
    [
      "a link of another user's",
      { ...file, kind: "link", uid: 7 },
      user,
      'the link "/x/f" belongs to another user (uid 7)',
      "chown -h root /x/f",
    ],
  ])("%s", (_case, point, self, why, fix) => {
    expect(writerOf([point], self)).toEqual({ path: point.path, why, fix });
  });
});

test("the command names odd paths as a shell reads them", () => {
  const fix = (path: string) => writerOf([{ ...file, path, mode: 0o100666 }], root)?.fix;
  expect([fix("/a b"), fix("/it's;")]).toEqual(["chmod go-w '/a b'", "chmod go-w '/it'\\''s;'"]);
});

describe.if(process.getuid?.() === 0)("what is found on a disk", async () => {
  const base = await temporaryFolder();
  afterAll(() => base[Symbol.asyncDispose]());
  const put = (name: string, mode: number, text = "x"): string => {
    const path = join(base.path, name);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  const found = async (path: string): Promise<string[]> =>
    (await exposed([{ kind: "configuration", path }], root)).map(({ why }) => why);

  test("a file, and the file behind a link, by link and by target", async () => {
    const safe = put("safe", 0o600);
    const open = put("open", 0o666);
    const link = join(base.path, "link");
    const second = join(base.path, "second");
    symlinkSync("open", link);
    symlinkSync("link", second);
    expect(await found(safe)).toEqual([]);
    const why = `every user may write the file "${open}" (mode 666)`;
    expect([await found(open), await found(link), await found(second)]).toEqual([
      [why],
      [why],
      [why],
    ]);
    const owned = join(base.path, "owned");
    symlinkSync("safe", owned);
    lchownSync(owned, 1000, 1000);
    expect(await found(owned)).toEqual([`the link "${owned}" belongs to another user (uid 1000)`]);
  });

  test("each link of a chain of folders on the way", async () => {
    for (const name of ["real", "between"]) mkdirSync(join(base.path, name));
    put("real/f", 0o600);
    symlinkSync("../real", join(base.path, "between", "l"));
    symlinkSync("between/l", join(base.path, "start"));
    const path = join(base.path, "start", "f");
    expect(await found(path)).toEqual([]);
    chmodSync(join(base.path, "between"), 0o777);
    expect(await found(path)).toEqual([
      `every user may write in the folder "${join(base.path, "between")}" (mode 777)`,
    ]);
  });

  test("a folder with its files, each cause once, and nothing that is not there", async () => {
    const cas = join(base.path, "cas");
    mkdirSync(cas);
    put("cas/a.pem", 0o644);
    put("cas/b.pem", 0o646);
    const [one] = await exposed([{ kind: "CA", path: cas }], root);
    expect(one?.why).toBe(`every user may write the file "${cas}/b.pem" (mode 646)`);
    chmodSync(join(cas, "b.pem"), 0o644);
    chmodSync(cas, 0o777);
    const all = await exposed(
      [
        { kind: "CA", path: cas },
        { kind: "state", path: join(cas, "missing") },
      ],
      root,
    );
    expect(all.map(({ kind, at }) => ({ kind, at }))).toEqual([{ kind: "CA", at: cas }]);
    expect(await found(join(base.path, "no", "such", "file"))).toEqual([]);
  });
});
