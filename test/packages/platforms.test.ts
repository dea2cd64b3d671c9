import { expect, test } from "bun:test";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../support/ngrokd.ts";
import { atEnd, stories } from "../support/story.ts";
import { lacks, must, ownFolder, released } from "./support.ts";

/** The demo is a whole life: registration, traffic both ways, and a stop. */
const once = { DEMO_ONCE: "1", TMPDIR: "/tmp" };
const shown = ["http://hello.demo:8080 answered:", "one, two, three", "127.0.0.3\thello.demo"];

async function unpacked(target: string, folder: string): Promise<string> {
  await must("tar", "-xzf", released(`-${target}.tar.gz`), "-C", folder, "ngrokd");
  return join(folder, "ngrokd");
}

stories("the program for another C library or processor", () => {
  const library = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6";

  test.skipIf(lacks("musl-gcc"))(
    "for musl: starts, and shows the demo, on musl alone",
    async () => {
      const root = ownFolder();
      for (const name of ["lib", "proc", "dev", "etc", "tmp"]) mkdirSync(join(root, name));
      writeFileSync(join(root, "etc/hosts"), "127.0.0.1\tlocalhost\n");
      await unpacked("linux-x64-musl", root);
      for (const file of [
        "/lib/ld-musl-x86_64.so.1",
        library,
        "/lib/x86_64-linux-gnu/libgcc_s.so.1",
      ])
        copyFileSync(file, join(root, "lib", file.slice(file.lastIndexOf("/") + 1)));
      const shim = join(root, "lib/ld-linux-x86-64.so.2");
      const source = join(import.meta.dirname, "shim.c");
      await must("musl-gcc", "-shared", "-fPIC", "-o", shim, source);
      for (const name of ["proc", "dev"]) {
        await must("mount", "--rbind", `/${name}`, join(root, name));
        atEnd(() => must("umount", "-l", join(root, name)));
      }
      const { code, out } = await run(["chroot", root, "/ngrokd", "demo"], { env: once });
      expect(code).toBe(0);
      for (const text of shown) expect(out).toContain(text);
    },
  );

  test.skipIf(lacks("qemu-aarch64-static"))("for arm64: starts, and shows the demo", async () => {
    const program = await unpacked("linux-arm64", ownFolder());
    const emulator = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu", program];
    expect((await run([...emulator, "--version"])).out).toStartWith("ngrokd ");
    // The emulator cannot start a program of this kind from within.
    const env = { ...once, UV_THREADPOOL_SIZE: "8" };
    const { code, out } = await run([...emulator, "demo"], { env });
    expect(code).toBe(0);
    for (const text of shown) expect(out).toContain(text);
  });
});
