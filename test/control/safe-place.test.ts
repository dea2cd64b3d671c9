import { describe, expect, test } from "bun:test";
import { chmod, chown, mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { askDaemon } from "../../src/control/client.ts";
import { checkSocket, strangersIn } from "../../src/control/safe-place.ts";
import { startControlServer } from "../../src/control/server.ts";
import type { Waypoint } from "../../src/files/writers.ts";
import { isNgrokdError } from "../../src/model/error.ts";
import { temporaryFolder } from "../machine/support.ts";
import { net } from "../support/conns.ts";
import { memoryLog } from "../support/memory-log.ts";

const roots: Waypoint = {
  path: "/run/x",
  kind: "folder",
  uid: 0,
  gid: 0,
  mode: 0o40755,
  isLast: true,
};
const [user, other] = [
  { uid: 1000, gid: 1000 },
  { uid: 1001, gid: 1001 },
];

describe("the place of the control socket", () => {
  test.each<[string, Partial<Waypoint>]>([
    ["a folder of root's", {}],
    ["a folder of one's own, which one's own group may write", { ...user, mode: 0o40775 }],
    ["/tmp above it", { isLast: false, mode: 0o41777 }],
    ["macOS's /var/run, of the group daemon", { gid: 1, mode: 0o40775 }],
    ["a link of root's", { kind: "link", mode: 0o120777 }],
  ])("may be %s", (_name, change) => {
    expect(strangersIn([{ ...roots, ...change }], user)).toBeUndefined();
  });

  test.each<[string, Partial<Waypoint>, string]>([
    ["/tmp", { mode: 0o41777 }, 'every user may write in the folder "/run/x" (mode 1777)'],
    ["for all", { mode: 0o40777 }, 'every user may write in the folder "/run/x" (mode 777)'],
    [
      "below a folder for all",
      { mode: 0o40777, isLast: false },
      'every user may write in the folder "/run/x" (mode 777)',
    ],
    [
      "for a group",
      { gid: 1001, mode: 0o40775 },
      'the group 1001 may write in the folder "/run/x" (mode 775)',
    ],
    ["another user's", other, 'the folder "/run/x" belongs to another user (uid 1001)'],
    [
      "behind another user's link",
      { ...other, kind: "link" },
      'the link "/run/x" belongs to another user (uid 1001)',
    ],
  ])("is refused if it is %s", (_name, change, reason) => {
    expect(strangersIn([{ ...roots, ...change }], user)).toBe(reason);
  });
});

describe("a control socket in a folder that others may write", () => {
  test.each([
    ["by its path", async (folder: string) => folder],
    [
      "behind a link",
      async (folder: string, safe: string) => {
        await symlink(folder, join(safe, "link"));
        return join(safe, "link");
      },
    ],
  ])("is not opened, and nothing there is touched: %s", async (_name, way) => {
    await using safe = await temporaryFolder();
    const folder = join(safe.path, "shared");
    await mkdir(folder);
    await chmod(folder, 0o1777);
    const path = join(await way(folder, safe.path), "s");
    await writeFile(join(folder, "s.turn"), "somebody's");
    expect(await codeOf(started(path))).toBe("permission");
    expect(await readdir(folder)).toEqual(["s.turn"]);
  });

  test("is not asked through a chain of links that passes such a folder", async () => {
    await using safe = await temporaryFolder();
    const server = await started(join(safe.path, "s"));
    const shared = join(safe.path, "shared");
    await mkdir(shared);
    await symlink(safe.path, join(shared, "back"));
    await symlink(join(shared, "back"), join(safe.path, "folder"));
    await symlink(join(safe.path, "s"), join(shared, "s"));
    await symlink(join(shared, "s"), join(safe.path, "second"));
    await symlink(join(safe.path, "second"), join(safe.path, "first"));
    for (const mode of [0o755, 0o777]) {
      await chmod(shared, mode);
      for (const way of ["folder/s", "first"]) {
        const code = await codeOf(checkSocket(join(safe.path, way)));
        expect(`${way} ${code}`).toBe(`${way} ${mode === 0o777 ? "permission" : "it worked"}`);
      }
    }
    await server.close();
  });

  test("gets no request: it may carry the API key", async () => {
    await using safe = await temporaryFolder();
    const path = join(safe.path, "s");
    const asked: string[] = [];
    const server = await started(path, asked);
    await chmod(safe.path, 0o777);
    expect(await codeOf(askDaemon(net, path, { command: "set-api-key", args: ["key"] }))).toBe(
      "permission",
    );
    expect(asked).toEqual([]);
    await server.close();
  });

  test.if(process.getuid?.() === 0)("gets none either if it is another user's", async () => {
    await using safe = await temporaryFolder();
    const path = join(safe.path, "s");
    const asked: string[] = [];
    const server = await started(path, asked);
    await chown(path, 1001, 1001);
    expect(await codeOf(askDaemon(net, path, { command: "set-api-key", args: ["key"] }))).toBe(
      "permission",
    );
    expect(asked).toEqual([]);
    await server.close();
  });
});

const started = (path: string, asked: string[] = []) =>
  startControlServer({
    net,
    path,
    group: "",
    log: memoryLog(),
    handle: async ({ command }) => asked.push(command),
  });

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "it worked",
    (error: unknown) => (isNgrokdError(error) ? error.code : String(error)),
  );
