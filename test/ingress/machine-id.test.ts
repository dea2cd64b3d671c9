import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hardwareIdIn, idIn, machineId } from "../../src/ingress/machine-id.ts";

const id = "0123456789abcdef0123456789abcdef";

describe("the id of the machine", () => {
  test("is the first line of machine-id(5), and none before the first boot", () => {
    expect(idIn(`${id}\n`)).toBe(id);
    expect(idIn(id)).toBe(id);
    for (const text of ["", "uninitialized\n", `${id}0\n`, `x${id}`]) expect(idIn(text)).toBe("");
  });

  test("is the UUID of the hardware on macOS", () => {
    const uuid = "01234567-89AB-CDEF-0123-456789ABCDEF";
    const tree = `+-o MacBookPro  <class IOPlatformExpertDevice>\n    "IOPlatformUUID" = "${uuid}"\n`;
    expect(hardwareIdIn(tree)).toBe(uuid);
    expect(hardwareIdIn("")).toBe("");
  });

  test("is asked of ioreg(8) there, and empty if that fails", () => {
    const folder = mkdtempSync(join(tmpdir(), "ngrokd-ioreg-"));
    try {
      const ioreg = join(folder, "ioreg");
      const uuid = "01234567-89AB-CDEF-0123-456789ABCDEF";
      const asked = "-rd1 -c IOPlatformExpertDevice";
      const script = (then: string): string =>
        `#!/bin/sh\n[ "$*" = "${asked}" ] || exit 64\n${then}\n`;
      writeFileSync(ioreg, script(`echo '    "IOPlatformUUID" = "${uuid}"'`), { mode: 0o755 });
      expect(machineId("darwin", ioreg)).toBe(uuid);
      writeFileSync(ioreg, script("exit 1"));
      expect(machineId("darwin", ioreg)).toBe("");
      expect(machineId("darwin", join(folder, "none"))).toBe("");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
