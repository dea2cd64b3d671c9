import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { listeningKey, listeningKeys, listeningPlaces } from "../../src/net/proc-net.ts";
import { temporaryFolder } from "../machine/support.ts";
import { net } from "../support/conns.ts";
import { until } from "../support/story.ts";

const head =
  "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const line = (n: number, local: string, state: string): string =>
  `${String(n).padStart(4)}: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 62683 1 0000000000000000 100 0 0 10 0`.padEnd(
    149,
  );

const ipv6Any = `${"0".repeat(32)}:0000 `;

describe("the listeners in /proc/net/tcp", () => {
  test("is named as the kernel does it", () => {
    expect(listeningKey("127.0.0.2", 80)).toBe("0200007F:0050");
    expect(listeningKey("10.107.255.1", 65535)).toBe("01FF6B0A:FFFF");
    expect(listeningKey("fd11:2233:4455:6677::304", 80)).toBe(
      "332211FD776655440000000004030000:0050",
    );
  });

  test("ends at the first connection", () => {
    const text = [
      head,
      line(0, "0200007F:0050", "0A"),
      line(10_000, "0300007F:1F90", "0A"),
      line(10_001, "0400007F:0050", "01"),
      "",
    ].join("\n");
    expect(listeningKeys(text)).toEqual({ keys: ["0200007F:0050", "0300007F:1F90"], done: true });
    expect(listeningKeys(`${head}\n`)).toEqual({ keys: [], done: false });
  });

  test("is read whole, however many they are", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "tcp");
    const keys = Array.from({ length: 3000 }, (_, n) =>
      listeningKey(`127.0.${n >> 8}.${n & 255}`, 443),
    );
    await writeFile(
      path,
      [
        head,
        ...keys.map((key, n) => line(n, key, "0A")),
        line(3000, "0200007F:0051", "06"),
        "",
      ].join("\n"),
    );
    expect(await listeningPlaces(path, "/nowhere")).toEqual(new Set(keys));
  });

  test("has the table of IPv6 too, if there is one", async () => {
    await using folder = await temporaryFolder();
    const [four, six] = [join(folder.path, "tcp"), join(folder.path, "tcp6")];
    const key = listeningKey("fd11::2", 80);
    await writeFile(four, [head, line(0, "0200007F:0050", "0A"), ""].join("\n"));
    await writeFile(
      six,
      [head, line(0, key, "0A").replace("00000000:0000 ", ipv6Any), ""].join("\n"),
    );
    expect(await listeningPlaces(four, six)).toEqual(new Set(["0200007F:0050", key]));
    expect(await listeningPlaces(four, "/nowhere/net/tcp6")).toEqual(new Set(["0200007F:0050"]));
  });

  test("is unknown if the system has no such list", async () => {
    expect(await listeningPlaces("/nowhere/net/tcp")).toBeUndefined();
  });

  test.skipIf(!existsSync("/proc/net/tcp"))("has our own listeners", async () => {
    const listener = await net.listen({ host: "127.0.0.77", port: 0 }, (conn) => conn.close());
    const { port } = listener.address as { port: number };
    // One reading can miss a socket while others close.
    await until("it is listed", async () =>
      (await listeningPlaces())?.has(listeningKey("127.0.0.77", port)),
    );
    listener.close();
    expect((await listeningPlaces())?.has(listeningKey("127.0.0.77", port))).toBe(false);
  });
});
