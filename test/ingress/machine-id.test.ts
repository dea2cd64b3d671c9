import { describe, expect, test } from "bun:test";
import { hardwareIdIn, idIn } from "../../src/ingress/machine-id.ts";

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
});
