import { describe, expect, test } from "bun:test";
import { link, lstat, mkdir, readdir, rename, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sweepSockets } from "../../src/control/stale-sockets.ts";
import { temporaryFolder } from "../machine/support.ts";
import { net } from "../support/conns.ts";

/**
 * A dead socket, as kill -9 leaves it. Closing a listener removes its path,
 * unless the socket has another name by then.
 */
async function deadSocket(path: string): Promise<void> {
  const listener = await net.listen({ path: `${path}.born` }, (conn) => conn.close());
  await link(`${path}.born`, path);
  listener.close();
}

const soon = Date.now() + 60_000;

describe("sweepSockets", () => {
  test("removes the sockets and turns of killed daemons, and no other files", async () => {
    await using folder = await temporaryFolder();
    const at = (...names: string[]): string => join(folder.path, ...names);
    await deadSocket(at(".ngrokd-00000001"));
    await mkdir(at(".ngrokd-00000002.turn"));
    await deadSocket(at("00000002"));
    await rename(at("00000002"), at(".ngrokd-00000002.turn", "00000002"));
    await mkdir(at(".ngrokd-00000003.turn"));

    await deadSocket(at("other.sock"));
    await writeFile(at(".ngrokd-00000004"), "a file");
    await mkdir(at(".ngrokd-00000005.turn"));
    await writeFile(at(".ngrokd-00000005.turn", "notes"), "somebody's");
    const alive = await net.listen({ path: at(".ngrokd-00000006") }, (conn) => conn.close());
    const left = [".ngrokd-00000004", ".ngrokd-00000005.turn", ".ngrokd-00000006", "other.sock"];

    expect(await sweepSockets(net, at("ngrokd.sock"), soon)).toBe(3);
    expect((await readdir(folder.path)).sort()).toEqual(left);
    alive.close();
  });

  test("leaves a young socket: its daemon may be starting", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, ".ngrokd-00000001");
    await deadSocket(path);
    const { mtimeMs } = await lstat(path);
    expect(await sweepSockets(net, join(folder.path, "ngrokd.sock"), mtimeMs + 4999)).toBe(0);
    await utimes(path, new Date(0), new Date(0));
    expect(await sweepSockets(net, join(folder.path, "ngrokd.sock"))).toBe(1);
    await expect(lstat(path)).rejects.toThrow();
  });
});
