import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { join } from "node:path";

// Each scene runs in a network namespace of its own, which needs root.
const canRun = process.platform === "linux" && spawnSync("unshare", ["-nm", "true"]).status === 0;
const six = "fd11:2233:4455:6677";

describe.skipIf(!canRun)("the virtual interface of Linux", () => {
  test("carries every address of both families, and is put back part by part", () => {
    const { told, warnings, left } = scene("repaired");
    const well = {
      again: false,
      answers: ["10.107.3.4", `${six}::304`],
      addresses: ["10.107.0.1/32", `${six}::1/128`],
    };
    expect(told).toEqual({
      none: well,
      link: well,
      name: well,
      state: well,
      address: well,
      route: well,
      route6: well,
    });
    expect({ warnings, left }).toEqual({ warnings: 6, left: "0" });
  });

  test("moves off a network that appears; its old subnet stays while it is used", () => {
    expect(scene("overlapped")).toEqual({
      first: `10.107.0.0/16 and ${six}::/64 on ngrokd0`,
      moved: true,
      next: `10.207.0.0/16 and ${six}::/64 on ngrokd0`,
      kept: "1",
      dropped: "0",
      explicit: {
        ground: "127.0.0.0/8",
        remarks: [
          expect.stringMatching(
            /^net\.subnet 10\.107\.0\.0\/16 overlaps the network 10\.107\.5\.\d+\/\d+ of the interface "v0", so loopback is used/,
          ),
        ],
      },
      devices: [],
      left: "0",
    });
  });

  test("gets another name, or loses IPv6, while its addresses stay in use", () => {
    const both = `10.107.0.0/16 and ${six}::/64`;
    expect(scene("renamed")).toEqual({
      told: [
        `${both} on ngrokd0; ngrokd0; 10.107.3.4`,
        `${both} on ngrokd1; ngrokd0 ngrokd1; 10.107.3.4`,
        `${both} on ngrokd1; ngrokd1; 10.107.3.4`,
        "10.107.0.0/16 on ngrokd1; ngrokd1; 10.107.3.4",
      ],
      routes: "0",
    });
  });

  test("leaves no link, address or route behind after 20 kills, also with a child", () => {
    expect(scene("killed")).toEqual({ changed: [] });
  }, 120_000);

  test.each([
    ["without /dev/net/tun", "mount -t tmpfs tmpfs /dev/net && exec", "no /dev/net/tun"],
    [
      "without the right",
      "exec setpriv --bounding-set -net_admin",
      "needs the right CAP_NET_ADMIN",
    ],
  ])("is loopback with the reason, %s", (_, before, reason) => {
    const { ground, remarks, devices } = scene("refused", before);
    expect({ ground, devices }).toEqual({ ground: "127.0.0.0/8", devices: [] });
    expect(remarks).toEqual([
      expect.stringMatching(
        new RegExp(`^Cannot make the interface "ngrokd0": .*${reason}.*; names get loopback`),
      ),
    ]);
  });

  test("leaves an interface of another program alone, and says so", () => {
    expect(scene("named")).toEqual({
      ground: "127.0.0.0/8",
      remarks: [
        'Cannot make the interface "ngrokd0": another program has one of this name; ' +
          "names get loopback addresses instead",
      ],
      devices: [],
    });
  });

  test("gives IPv4 addresses only on a system without IPv6, and says so if it was asked", () => {
    expect(scene("without6")).toEqual({
      ground: "10.107.0.0/16 on ngrokd0",
      remarks: ["Names get no IPv6 addresses: IPv6 is off on this machine"],
      answer: "10.107.3.4",
    });
  });
});

// biome-ignore lint/suspicious/noExplicitAny: each scene has facts of its own.
function scene(name: string, before = "exec"): any {
  const child = join(import.meta.dir, "linux.child.ts");
  const { stdout, stderr } = spawnSync(
    "unshare",
    ["-nm", "sh", "-c", `ip link set lo up && ${before} "$@"`, "sh", process.execPath, child, name],
    { encoding: "utf8" },
  );
  try {
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
  } catch {
    throw new Error(`the scene "${name}" failed: ${stdout}${stderr}`);
  }
}
