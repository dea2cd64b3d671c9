import { describe, expect, test } from "bun:test";
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import {
  appendFile,
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  stat,
  symlink,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import {
  type HostsOptions,
  type HostsUpdate,
  updateHostsFile,
} from "../../../src/machine/hosts/file.ts";
import { mapping, temporaryFolder } from "../support.ts";

const foreign = "127.0.0.1\tlocalhost\n# caf\xe9, \xff\xfe\n::1 localhost\n";
const one = mapping({ "a.demo": "127.0.0.2" });
const none = mapping({});
const sectionOfOne =
  "# BEGIN ngrokd managed section\n127.0.0.2\ta.demo\n# END ngrokd managed section\n";
const done = (change: HostsUpdate["change"]): HostsUpdate => ({
  change,
  repairs: [],
  shadowed: [],
});

/** A hosts file in its own folder, and a state folder beside it. */
async function place(text: string | undefined = foreign) {
  const folder = await temporaryFolder();
  const [etc, stateFolder] = [join(folder.path, "etc"), join(folder.path, "state")];
  await mkdir(etc);
  await mkdir(stateFolder);
  const path = join(etc, "hosts");
  if (text !== undefined) await writeFile(path, text, "latin1");
  return {
    folder: folder.path,
    etc,
    stateFolder,
    path,
    text: () => readFile(path, "latin1"),
    update: (entries: typeof one, options: Partial<HostsOptions> = {}) =>
      updateHostsFile(path, entries, { stateFolder, inPlace: false, ...options }),
    [Symbol.asyncDispose]: folder[Symbol.asyncDispose],
  };
}

const errno = (code: string) => Object.assign(new Error(`${code}: made up`), { code });
const renameFails = (code: string) => ({ fs: { rename: () => Promise.reject(errno(code)) } });

describe("updateHostsFile", () => {
  test("puts the section in and out, in one rename each, and the bytes are back", async () => {
    await using hosts = await place();
    expect(await hosts.update(one)).toEqual(done("replaced"));
    expect(await hosts.text()).toBe(foreign + sectionOfOne);
    expect(await hosts.update(none)).toEqual(done("replaced"));
    expect(await hosts.text()).toBe(foreign);
    expect(await readdir(hosts.etc)).toEqual(["hosts"]);
  });

  test("does not touch a file that says it all", async () => {
    await using hosts = await place();
    await hosts.update(one);
    const before = await stat(hosts.path, { bigint: true });
    for (const inPlace of [false, true])
      expect(await hosts.update(one, { inPlace })).toEqual(done("none"));
    const after = await stat(hosts.path, { bigint: true });
    expect({ ino: after.ino, mtimeNs: after.mtimeNs, ctimeNs: after.ctimeNs }).toEqual({
      ino: before.ino,
      mtimeNs: before.mtimeNs,
      ctimeNs: before.ctimeNs,
    });
  });

  test.each([false, true])(
    "keeps mode, owner and symbolic links (in place: %p)",
    async (inPlace) => {
      await using hosts = await place();
      await chmod(hosts.path, 0o640);
      if (process.getuid?.() === 0) await chown(hosts.path, 4321, 8765);
      const before = await stat(hosts.path);
      await symlink("etc/hosts", join(hosts.folder, "link"));
      await symlink("link", join(hosts.folder, "linked-link"));
      const path = join(hosts.folder, "linked-link");
      const options = { stateFolder: hosts.stateFolder, inPlace };
      expect(await updateHostsFile(path, one, options)).toEqual(
        done(inPlace ? "overwritten" : "replaced"),
      );
      const after = await stat(hosts.path);
      expect({ mode: after.mode, uid: after.uid, gid: after.gid }).toEqual({
        mode: before.mode,
        uid: before.uid,
        gid: before.gid,
      });
      expect(after.ino === before.ino).toBe(inPlace);
      expect((await lstat(path)).isSymbolicLink()).toBe(true);
      expect(await hosts.text()).toBe(foreign + sectionOfOne);
    },
  );

  test("asks before each write, and writes nothing if the answer is no or a rejection", async () => {
    await using hosts = await place();
    let asked = 0;
    const answering = (answer: () => boolean) => ({ before: async () => ++asked > 0 && answer() });
    expect(
      await hosts.update(
        none,
        answering(() => true),
      ),
    ).toEqual(done("none"));
    expect(asked).toBe(0);
    expect(
      await hosts.update(
        one,
        answering(() => false),
      ),
    ).toEqual(done("withheld"));
    const refusing = answering(() => {
      throw errno("ENOSPC");
    });
    await expect(hosts.update(one, refusing)).rejects.toThrow(/^ENOSPC: made up$/);
    expect({ text: await hosts.text(), stateFiles: await readdir(hosts.stateFolder) }).toEqual({
      text: foreign,
      stateFiles: [],
    });
    expect(
      await hosts.update(
        one,
        answering(() => true),
      ),
    ).toEqual(done("replaced"));
    expect(asked).toBe(3);
  });
});

describe("updateHostsFile, on its original and odd files", () => {
  test("makes a missing file for the first entry, readable for all whatever the umask", async () => {
    await using hosts = await place();
    await unlink(hosts.path);
    expect(await hosts.update(none)).toEqual(done("none"));
    expect(await readdir(hosts.etc)).toEqual([]);
    const umask = process.umask(0o077);
    try {
      expect(await hosts.update(one)).toEqual(done("replaced"));
    } finally {
      process.umask(umask);
    }
    expect((await stat(hosts.path)).mode & 0o777).toBe(0o644);
    expect(await hosts.text()).toBe(sectionOfOne);
  });

  test("keeps the first original, once", async () => {
    await using hosts = await place();
    const original = join(hosts.stateFolder, "hosts.original");
    await hosts.update(none);
    expect(await readdir(hosts.stateFolder)).toEqual([]);
    await hosts.update(one);
    await appendFile(hosts.path, "10.1.1.1 later\n");
    await hosts.update(none);
    expect(await readFile(original, "latin1")).toBe(foreign);
    expect(await readdir(hosts.stateFolder)).toEqual(["hosts.original"]);
  });

  test("changes nothing if the original cannot be kept", async () => {
    await using hosts = await place();
    const update = hosts.update(one, { stateFolder: join(hosts.folder, "missing") });
    await expect(update).rejects.toMatchObject({
      code: "state",
      message: expect.stringContaining("missing/hosts.original"),
      hint: expect.anything(),
    });
    expect(await hosts.text()).toBe(foreign);
  });

  test("reports repairs and shadowed names", async () => {
    await using hosts = await place(`127.0.0.1 a.demo\n# BEGIN ngrokd managed section\n# mine\n`);
    expect(await hosts.update(one)).toEqual({
      change: "replaced",
      repairs: ["line 2 began a section that no line ended"],
      shadowed: [...one.keys()],
    });
    expect(await hosts.text()).toBe("127.0.0.1 a.demo\n# mine\n");
  });

  test("refuses anything but a hosts file: folder, pipe, UTF-16, dead link, 65 MiB", async () => {
    await using hosts = await place();
    const make: [string, (path: string) => unknown, string][] = [
      ["folder", (path) => mkdir(path), "it is not a regular file"],
      ["pipe", (path) => execFileSync("mkfifo", [path]), "it is not a regular file"],
      ["utf16", (path) => writeFile(path, "\xff\xfe#\0", "latin1"), "it is UTF-16 text"],
      [
        "link",
        (path) => symlink("nothing", path),
        "it is a symbolic link to a file that does not exist",
      ],
      ["circle", (path) => symlink("circle", path), "too many symbolic links"],
      [
        "large",
        (path) => writeFile(path, "").then(() => truncate(path, 65 * 1024 * 1024)),
        `it is ${65 * 1024 * 1024} bytes long`,
      ],
    ];
    for (const [name, build, reason] of make) {
      const path = join(hosts.etc, name);
      await build(path);
      const update = updateHostsFile(path, one, { stateFolder: hosts.stateFolder });
      const message = expect.stringContaining(`Cannot edit "${path}": ${reason}`);
      await expect(update).rejects.toMatchObject({
        code: "hosts",
        message,
        hint: expect.stringContaining("NGROKD_HOSTS_PATH"),
      });
    }
    expect((await readdir(hosts.etc)).sort()).toEqual(
      [...make.map(([name]) => name), "hosts"].sort(),
    );
  });
});

describe("updateHostsFile, if the file cannot be replaced", () => {
  test.each(["EBUSY", "EXDEV", "EACCES", "EPERM", "EROFS", "ETXTBSY"])(
    "writes in place after %s, and leaves nothing behind",
    async (code) => {
      await using hosts = await place();
      const { ino } = await stat(hosts.path);
      for (const entries of [
        one,
        mapping({ "a.demo": "127.0.0.2", "b.demo": "127.0.0.3" }),
        one,
        none,
      ]) {
        expect(await hosts.update(entries, renameFails(code))).toEqual(done("overwritten"));
      }
      expect(await hosts.text()).toBe(foreign);
      expect((await stat(hosts.path)).ino).toBe(ino);
      expect(await readdir(hosts.etc)).toEqual(["hosts"]);
      expect(await readdir(hosts.stateFolder)).toEqual(["hosts.original"]);
    },
  );

  test("keeps its copies from users who may not read the file", async () => {
    await using hosts = await place();
    await chmod(hosts.path, 0o640);
    const seen = new Set<string>();
    let over = false;
    const look = (): void => {
      for (const name of ["hosts.before", "hosts.after"]) {
        const found = statSync(join(hosts.stateFolder, name), { throwIfNoEntry: false });
        if (found !== undefined) seen.add(`${name} ${(found.mode & 0o7777).toString(8)}`);
      }
      // Each step of the write awaits the system, and this runs in between.
      if (!over) setImmediate(look);
    };
    look();
    expect(await hosts.update(one, { inPlace: true })).toEqual(done("overwritten"));
    over = true;
    expect([...seen].sort()).toEqual(["hosts.after 640", "hosts.before 640"]);
  });

  test("does not write in place after another error, nor a missing file", async () => {
    await using hosts = await place();
    await expect(hosts.update(one, renameFails("EIO"))).rejects.toMatchObject({
      code: "hosts",
      message: expect.stringContaining("the disk reports an error"),
    });
    expect(await hosts.text()).toBe(foreign);
    await unlink(hosts.path);
    await expect(hosts.update(one, renameFails("EACCES"))).rejects.toMatchObject({
      code: "permission",
      hint: expect.stringMatching(/as root|give it to root/),
    });
    expect(await readdir(hosts.etc)).toEqual([]);
  });

  test("finishes an interrupted write in place, whichever bytes reached the disk", async () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", "\n", "\xe9", "#"), maxLength: 12 });
    const cut = fc.infiniteStream(fc.boolean());
    await fc.assert(
      fc.asyncProperty(
        text,
        text,
        fc.nat({ max: 12 }),
        cut,
        async (before, after, length, coins) => {
          await using hosts = await place();
          await writeFile(join(hosts.stateFolder, "hosts.before"), before, "latin1");
          await writeFile(join(hosts.stateFolder, "hosts.after"), after, "latin1");
          const [short, long] = [before, after].sort((a, b) => a.length - b.length) as [
            string,
            string,
          ];
          const mixed = [...long]
            .slice(0, Math.max(short.length, length))
            .map((byte, i) => (i < short.length && coins.next().value ? short[i] : byte));
          await writeFile(hosts.path, mixed.join(""), "latin1");
          const { change, repairs } = await hosts.update(none);
          const whole = [before, after].includes(mixed.join(""));
          expect(change).toBe("none");
          expect(await hosts.text()).toBe(whole ? mixed.join("") : after);
          expect(repairs).toEqual(
            whole ? [] : ["a write of the hosts file that was interrupted has been finished"],
          );
          expect(await readdir(hosts.stateFolder)).toEqual([]);
        },
      ),
      { numRuns: 60 },
    );
  });

  test.each(["# written anew\n", foreign.slice(0, -5)])(
    "leaves a file alone that was changed after the crash, with the copy: %j",
    async (text) => {
      await using hosts = await place(text);
      await writeFile(join(hosts.stateFolder, "hosts.before"), foreign, "latin1");
      await writeFile(join(hosts.stateFolder, "hosts.after"), foreign + sectionOfOne, "latin1");
      const { repairs } = await hosts.update(none);
      expect(await hosts.text()).toBe(text);
      const [kept = "", ...others] = await readdir(hosts.stateFolder);
      expect(others).toEqual([]);
      expect(kept).toMatch(/^hosts\.before-\d{8}T\d{6}Z$/);
      expect(await readFile(join(hosts.stateFolder, kept), "latin1")).toBe(foreign);
      expect(repairs).toEqual([
        expect.stringContaining(
          `the text from before the write is in "${join(hosts.stateFolder, kept)}"`,
        ),
      ]);
    },
  );
});

describe("updateHostsFile, while another program writes the file", () => {
  /**
   * Reads as the real one does, and runs `meddle` right after the nth read
   * (from 1 on).
   */
  const reading = (path: string, after: number[], meddle: () => Promise<void>) => {
    let reads = 0;
    return {
      read: async () => {
        const content = { bytes: await readFile(path), mode: (await stat(path)).mode & 0o7777 };
        if (after.includes(++reads)) await meddle();
        return content;
      },
    };
  };

  test.each([false, true])(
    "edits the newer text, not the one that it had read (in place: %p)",
    async (inPlace) => {
      await using hosts = await place();
      const fs = reading(hosts.path, [1], () => appendFile(hosts.path, "10.1.1.1 theirs\n"));
      expect(await hosts.update(one, { inPlace, fs })).toEqual(
        done(inPlace ? "overwritten" : "replaced"),
      );
      expect(await hosts.text()).toBe(`${foreign}10.1.1.1 theirs\n${sectionOfOne}`);
      expect(await readdir(hosts.etc)).toEqual(["hosts"]);
      expect(await readdir(hosts.stateFolder)).toEqual(["hosts.original"]);
    },
  );

  test("notices a file that was replaced or whose mode was changed", async () => {
    await using hosts = await place();
    const fs = reading(hosts.path, [1, 3], async () => {
      if ((await hosts.text()) === "# new\n") return await chmod(hosts.path, 0o600);
      await writeFile(join(hosts.etc, "new"), "# new\n");
      await rename(join(hosts.etc, "new"), hosts.path);
    });
    expect(await hosts.update(one, { fs })).toEqual(done("replaced"));
    expect(await hosts.text()).toBe(`# new\n${sectionOfOne}`);
    expect((await stat(hosts.path)).mode & 0o777).toBe(0o600);
  });

  test.each([false, true])(
    "gives up, the file untouched, when that does not end (in place: %p)",
    async (inPlace) => {
      await using hosts = await place();
      const fs = reading(hosts.path, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], () =>
        appendFile(hosts.path, "#\n"),
      );
      const message = `Cannot edit "${hosts.path}": another program keeps changing it`;
      await expect(hosts.update(one, { inPlace, fs })).rejects.toMatchObject({
        code: "hosts",
        message,
        hint: "the next pass tries again",
      });
      expect(await hosts.text()).toMatch(/^127\.0\.0\.1\tlocalhost\n.*\n::1 localhost\n(?:#\n)+$/);
      expect(await readdir(hosts.etc)).toEqual(["hosts"]);
      expect(await readdir(hosts.stateFolder)).toEqual(["hosts.original"]);
    },
  );
});

/**
 * Root may lack the right to mount inside a container (capability 21,
 * CAP_SYS_ADMIN).
 */
const mayMount =
  process.platform === "linux" && process.getuid?.() === 0 && (capabilities() >> 21n) % 2n === 1n;
function capabilities(): bigint {
  return BigInt(
    `0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"}`,
  );
}

describe.skipIf(!mayMount)("updateHostsFile, on real mounts (Linux, root)", () => {
  const child = join(import.meta.dir, "file.child.ts");
  const entries = JSON.stringify(Object.fromEntries(one));

  /**
   * Runs the child in its own mount namespace after `mounts`, shell lines with
   * the folder as $D.
   */
  function update(folder: string, mounts: string, inPlace = "auto", uid = "0") {
    const script = `set -e; D=$1; shift; ${mounts}\nexec "$@"`;
    const run = [
      process.execPath,
      child,
      join(folder, "etc/hosts"),
      join(folder, "state"),
      entries,
      inPlace,
      uid,
    ];
    return JSON.parse(
      execFileSync("unshare", ["--mount", "sh", "-c", script, "sh", folder, ...run], {
        encoding: "utf8",
      }),
    );
  }

  test("writes in place through a bind mount, as of /etc/hosts in containers", async () => {
    await using hosts = await place("# covered by the mount\n");
    const real = join(hosts.folder, "real");
    await writeFile(real, foreign, "latin1");
    const { ino } = await stat(real);
    const bind = 'mount --bind "$D/real" "$D/etc/hosts"';
    expect(update(hosts.folder, bind)).toEqual({
      outcome: done("overwritten"),
      text: foreign + sectionOfOne,
    });
    expect(update(hosts.folder, bind).outcome).toEqual(done("none"));
    expect((await stat(real)).ino).toBe(ino);
    expect(await readFile(real, "latin1")).toBe(foreign + sectionOfOne);
    expect(await hosts.text()).toBe("# covered by the mount\n");
    expect(await readdir(hosts.etc)).toEqual(["hosts"]);
    expect(await readdir(hosts.stateFolder)).toEqual(["hosts.original"]);
  });

  test("writes in place if only the file can be written, in a read-only folder", async () => {
    await using hosts = await place();
    await writeFile(join(hosts.folder, "real"), foreign, "latin1");
    const mounts =
      'mount --bind "$D/etc" "$D/etc"; mount -o remount,bind,ro "$D/etc"; mount --bind "$D/real" "$D/etc/hosts"';
    expect(update(hosts.folder, mounts)).toEqual({
      outcome: done("overwritten"),
      text: foreign + sectionOfOne,
    });
  });

  test("says what is needed if the file is read-only", async () => {
    await using hosts = await place();
    const { outcome, text } = update(
      hosts.folder,
      'mount --bind "$D/etc" "$D/etc"; mount -o remount,bind,ro "$D/etc"',
    );
    expect(outcome).toEqual({
      code: "permission",
      message: `Cannot edit "${hosts.path}": the file system is read-only`,
      hint: "make this file system writable, or use another path; if it is a mount, mount its folder instead",
    });
    expect(text).toBe(foreign);
  });

  test("puts the old bytes back when the disk is full half way through a write in place", async () => {
    await using hosts = await place();
    const text = `${foreign}${"#".repeat(4090 - foreign.length)}\n`; // the section crosses the end of the page
    await writeFile(join(hosts.folder, "full"), text, "latin1");
    const mounts =
      'mount -t tmpfs -o size=16k none "$D/etc"; cp "$D/full" "$D/etc/hosts"; head -c 65536 /dev/zero >"$D/etc/fill" 2>/dev/null || true';
    const result = update(hosts.folder, mounts, "in place");
    expect(result.outcome).toMatchObject({
      code: "hosts",
      message: `Cannot edit "${hosts.path}": no space left on the device`,
    });
    expect(result.text).toBe(text);
    expect(await readdir(hosts.stateFolder)).toEqual(["hosts.original"]);
  });

  test("as an ordinary user: writes a file if it may, and says so if it may not", async () => {
    await using hosts = await place();
    await chmod(hosts.folder, 0o755);
    await chown(hosts.stateFolder, 65534, 65534);
    const denied = update(hosts.folder, "", "auto", "65534");
    expect(denied.outcome).toMatchObject({
      code: "permission",
      message: `Cannot edit "${hosts.path}": permission denied`,
    });
    expect(denied.text).toBe(foreign);
    await chmod(hosts.path, 0o666);
    expect(update(hosts.folder, "", "auto", "65534")).toEqual({
      outcome: done("overwritten"),
      text: foreign + sectionOfOne,
    });
  });
});

describe("a hosts file with an access control list", () => {
  test("is written in place, so that it keeps the list", async () => {
    await using hosts = await place();
    const asked: string[] = [];
    const hasAcl = async (path: string): Promise<boolean> => asked.push(path) > 0;
    const options = { stateFolder: hosts.stateFolder, fs: { hasAcl } };
    const before = await stat(hosts.path);
    expect(await updateHostsFile(hosts.path, one, options)).toEqual(done("overwritten"));
    expect((await stat(hosts.path)).ino).toBe(before.ino);
    expect(await updateHostsFile(hosts.path, one, options)).toEqual(done("none"));
    expect(asked).toEqual([await realpath(hosts.path)]);
  });

  // The list in the kernel's format: rwx for the owner, r-- for user 4321, and
  // a mask.
  const setAcl = `import os, struct, sys
entries = [(1, 6, 2**32 - 1), (2, 4, 4321), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 4, 2**32 - 1)]
os.setxattr(sys.argv[1], "system.posix_acl_access", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries))`;
  const withAcl = (path: string): boolean =>
    spawnSync("python3", ["-c", setAcl, path]).status === 0;

  test("is detected by the plus that ls shows; the list itself needs Python", async () => {
    await using hosts = await place();
    const options = { stateFolder: hosts.stateFolder };
    const acl = withAcl(hosts.path);
    expect(await updateHostsFile(hosts.path, one, options)).toEqual(
      done(acl ? "overwritten" : "replaced"),
    );
  });
});

describe("updateHostsFile, beside programs that append", () => {
  test("loses no line of theirs", async () => {
    await using hosts = await place();
    const lines = Array.from({ length: 600 }, (_, i) => `10.0.0.1 line-${i}.example`);
    // As `echo … >>hosts` does, with a moment between opening and writing.
    const code = `
        const fs = require("node:fs");
        const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
        for (let i = 0; i < ${lines.length}; i++) {
          let fd, began;
          // ngrokd waits 200 ms for a writer. After a stall this opens again.
          for (;;) {
            began = performance.now();
            fd = fs.openSync(${JSON.stringify(hosts.path)}, "a");
            sleep(i % 4);
            if (performance.now() - began < 50) break;
            fs.closeSync(fd);
          }
          fs.writeSync(fd, "10.0.0.1 line-" + i + ".example\\n");
          fs.closeSync(fd);
          // A stall before the write: it was too late, and is made again.
          if (performance.now() - began > 150) i--;
          sleep(2);
        }`;
    const writer = Bun.spawn([process.execPath, "-e", code]);
    let ended = false;
    void writer.exited.then(() => {
      ended = true;
    });
    for (let i = 0; !ended; i++) {
      await hosts.update(i % 2 === 0 ? one : none, { inPlace: false }).catch((error) => {
        if (!String(error).includes("keeps changing it")) throw error;
      });
      await Bun.sleep(20);
    }
    const kept = new Set((await hosts.text()).split("\n"));
    expect(lines.filter((line) => !kept.has(line))).toEqual([]);
  }, 60_000);
});

describe("updateHostsFile, on properties that a new file would lack", () => {
  test("writes in place if the file has a second name", async () => {
    await using hosts = await place();
    await link(hosts.path, join(hosts.folder, "second"));
    const update = () => updateHostsFile(hosts.path, one, { stateFolder: hosts.stateFolder });
    expect((await update()).change).toBe("overwritten");
    expect(await readFile(join(hosts.folder, "second"), "latin1")).toBe(foreign + sectionOfOne);
  });

  test("keeps the attributes that users gave the file", async () => {
    await using hosts = await place();
    const attribute = (code: string) =>
      spawnSync("python3", ["-c", `import os,sys; ${code}`, hosts.path], { encoding: "utf8" });
    if (attribute('os.setxattr(sys.argv[1], "user.mine", b"kept")').status !== 0) return;
    expect(await hosts.update(one)).toEqual(done("replaced"));
    const said = attribute('print(os.getxattr(sys.argv[1], "user.mine").decode())');
    expect(said.stdout).toBe("kept\n");
  });

  test.skipIf(process.platform !== "linux" || process.getuid?.() !== 0)(
    "takes the section out of a file on a full disk",
    async () => {
      await using hosts = await place();
      const mount = (...words: string[]) => execFileSync("mount", words);
      mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", hosts.etc);
      mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", hosts.stateFolder);
      try {
        await writeFile(hosts.path, foreign, "latin1");
        expect((await hosts.update(one)).change).toBe("replaced");
        for (const folder of [hosts.etc, hosts.stateFolder])
          await writeFile(join(folder, "filler"), Buffer.alloc(100_000)).catch(() => undefined);
        expect((await hosts.update(none)).change).toBe("overwritten");
        expect(await hosts.text()).toBe(foreign);
        expect(await readdir(hosts.stateFolder)).not.toContain("hosts.before");
      } finally {
        execFileSync("umount", [hosts.etc]);
        execFileSync("umount", [hosts.stateFolder]);
      }
    },
  );
});
