import { describe, expect, test } from "bun:test";
import { execFileSync, spawnSync } from "node:child_process";
import { chmod, chown, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileError, writeFileAtomic } from "../../src/files/atomic.ts";
import { temporaryFolder } from "../machine/support.ts";

const isRoot = process.getuid?.() === 0;
const root = join(import.meta.dirname, "..", "..");
/** Runs a program of this source as root with the unit's rights. */
const underUnitRights = (code: string): string =>
  spawnSync(
    "setpriv",
    [
      "--bounding-set=-all,+net_bind_service,+chown",
      "--inh-caps=-all",
      process.execPath,
      "-e",
      code,
    ],
    { encoding: "utf8", cwd: root },
  ).stdout;
const writing = (path: string): string => `
  import { writeFileAtomic } from ${JSON.stringify(join(root, "src/files/atomic.ts"))};
  await writeFileAtomic(${JSON.stringify(path)}, "new", { mode: 0o640 }).then(
    () => console.log("written"),
    ({ message, hint }) => console.log(message, "hint:", hint),
  );`;

describe("writeFileAtomic", () => {
  test.skipIf(!isRoot)("replaces a file of a user's with few rights, and keeps owner", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "file");
    await writeFile(path, "old");
    await chown(path, 1000, 1000);
    expect(underUnitRights(writing(path))).toBe("written\n");
    const { uid, gid, mode } = await stat(path);
    expect({ uid, gid, mode: mode & 0o777 }).toEqual({ uid: 1000, gid: 1000, mode: 0o640 });
    expect(await readFile(path, "utf8")).toBe("new");
  });

  test.skipIf(!isRoot)("does not advise root to become root", async () => {
    await using folder = await temporaryFolder();
    const theirs = join(folder.path, "theirs");
    await mkdir(theirs);
    await chown(theirs, 1000, 1000);
    await chmod(theirs, 0o700);
    await chmod(folder.path, 0o755);
    const said = underUnitRights(writing(join(theirs, "file")));
    expect(said).toContain("permission denied");
    expect(said).toContain("root has not all rights here");
    expect(said).not.toContain("run");
  });

  test.skipIf(!isRoot)("writes a file that is a mount of its own in place", async () => {
    await using folder = await temporaryFolder();
    const [path, source] = [join(folder.path, "file"), join(folder.path, "source")];
    await writeFile(path, "");
    await writeFile(source, "a longer old text", { mode: 0o644 });
    execFileSync("mount", ["--bind", source, path]);
    try {
      await writeFileAtomic(path, "new", { mode: 0o600 });
      expect(await readFile(source, "utf8")).toBe("new");
      expect((await stat(source)).mode & 0o777).toBe(0o600);
      expect((await readdir(folder.path)).sort()).toEqual(["file", "source"]);
      execFileSync("mount", ["-o", "remount,bind,ro", path]);
      await expect(writeFileAtomic(path, "newer", { mode: 0o600 })).rejects.toMatchObject({
        message: `Cannot write "${path}": the file system is read-only`,
        hint: expect.stringContaining("mount its folder"),
      });
    } finally {
      execFileSync("umount", [path]);
    }
    expect(await readFile(source, "utf8")).toBe("new");
  });
});

describe("fileError", () => {
  test.each(["EBUSY", "EIO", "EMFILE", "ESTALE", "EXDEV", "EUNHEARDOF"])(
    "says %s without the temporary name in it",
    (code) => {
      const cause = Object.assign(
        new Error(`${code}: text, rename '/etc/.b86f.ngrokd.tmp' -> '/etc/x'`),
        { code },
      );
      const { message } = fileError('Cannot write "/etc/x"', cause);
      expect(message).toStartWith('Cannot write "/etc/x": ');
      expect(message).not.toContain(".tmp");
    },
  );

  test("has a sentence for each error that calls on files and sockets can give", () => {
    const of = (call: string, errnos: string): string[] =>
      errnos.split(" ").map((errno) => `${call}: ${errno}`);
    const all = [
      ...of("open", "EACCES EBUSY EDQUOT EEXIST EFBIG EINTR EINVAL EISDIR ELOOP EMFILE"),
      ...of("open", "ENAMETOOLONG ENFILE ENODEV ENOENT ENOMEM ENOSPC ENOTDIR ENXIO EOPNOTSUPP"),
      ...of("open", "EPERM EROFS ETXTBSY"),
      ...of("read, write", "EAGAIN EBADF EDQUOT EFBIG EINTR EINVAL EIO EISDIR ENOSPC EPERM EPIPE"),
      ...of("rename, link", "EBUSY EDQUOT EEXIST EINVAL EISDIR EMLINK ENOTEMPTY EROFS EXDEV"),
      ...of("fsync, chmod, chown", "EIO EINTR ENOSPC EDQUOT EPERM EROFS ENOTSUP ENOLCK ESTALE"),
      ...of("socket, bind", "EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EMFILE ENOBUFS EPROTO"),
      ...of("connect", "ECONNREFUSED ECONNRESET EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH"),
      ...of("connect", "ETIMEDOUT EAGAIN ENOENT EPROTONOSUPPORT"),
      ...of("send, accept", "ECONNABORTED EMSGSIZE ENOBUFS ENOMEM ENOTCONN EPIPE"),
    ];
    const without = all.filter((one) => {
      const code = one.split(": ")[1] ?? "";
      const cause = Object.assign(new Error(`${code}: text`), { code });
      return fileError("Cannot", cause).message.includes(code);
    });
    expect(without).toEqual([]);
  });
});
