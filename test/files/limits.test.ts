import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdtemp, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadIdentity } from "../../src/cloud/identity-files.ts";
import { readFileIfThere } from "../../src/files/atomic.ts";
import { readLimited } from "../../src/files/limited.ts";

const folder = (): Promise<string> => mkdtemp(join(tmpdir(), "ngrokd-limits-"));

describe("a file that is read whole", () => {
  test("has at most 128 MiB, or the lower limit of its reader", async () => {
    const path = join(await folder(), "state.json");
    await writeFile(path, "12345");
    expect(await readFileIfThere(path, 5)).toBe("12345");
    await expect(readFileIfThere(path, 4)).rejects.toMatchObject({
      code: "state",
      message: `Cannot read "${path}": it has 5 bytes, and no more than 4 are read`,
    });
    await truncate(path, 128 * 1024 * 1024 + 1);
    await expect(readFileIfThere(path)).rejects.toMatchObject({ code: "state" });
  });

  test("is not a pipe, which may never have a writer", async () => {
    const path = join(await folder(), "pipe");
    execFileSync("/usr/bin/mkfifo", [path]);
    await expect(readFileIfThere(path)).rejects.toMatchObject({
      message: `Cannot read "${path}": it is not a file`,
    });
  });

  test("begins behind its byte order mark, which some editors write", async () => {
    const path = join(await folder(), "state.json");
    await writeFile(path, "\ufeff{}\ufeff");
    expect(await readFileIfThere(path)).toBe("{}\ufeff");
  });

  test("of an identity has 1 MiB at most", async () => {
    const at = await folder();
    const paths = {
      key: join(at, "tls.key"),
      cert: join(at, "tls.crt"),
      operatorId: join(at, "operator_id"),
      ingressEndpoint: join(at, "ingress_endpoint"),
    };
    for (const path of Object.values(paths)) await writeFile(path, "x");
    await truncate(paths.cert, 1024 * 1024 + 1);
    await expect(loadIdentity(paths)).rejects.toMatchObject({
      code: "state",
      message: expect.stringContaining("no more than 1048576 are read"),
    });
  });
});

describe("a stream that is read whole", () => {
  const streamOf = (chunks: number, size: number): ReadableStream<Uint8Array> =>
    new ReadableStream({
      pull(controller) {
        if (chunks-- === 0) controller.close();
        else controller.enqueue(new Uint8Array(size).fill(chunks % 256));
      },
    });

  test("keeps every byte, in chunks of any size, up to its limit", async () => {
    expect((await readLimited(streamOf(0, 1), 0))?.length).toBe(0);
    expect(await readLimited(streamOf(3, 2), 6)).toEqual(Buffer.from([2, 2, 1, 1, 0, 0]));
    expect((await readLimited(streamOf(100_000, 1), 100_000))?.length).toBe(100_000);
  });

  test("is undefined with one byte more", async () => {
    expect(await readLimited(streamOf(3, 2), 5)).toBeUndefined();
  });
});
