import { describe, expect, test } from "bun:test";
import { addressIn, socketAddress } from "../../src/net/bun-libc.ts";

describe("addressIn", () => {
  test.each(["/run/ngrokd.sock", "@abstract", "/ü"])("reads the unix path %s back", (path) => {
    expect(addressIn(socketAddress(path))).toEqual({ path });
  });

  test("reads an unnamed unix socket", () => {
    expect(addressIn(Uint8Array.of(1, 0))).toEqual({ path: "" });
  });

  test("reads IPv4 and IPv6 addresses with their port", () => {
    const v4 = Uint8Array.of(2, 0, 0x1f, 0x90, 127, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0);
    expect(addressIn(v4)).toEqual({ host: "127.0.0.2", port: 8080 });
    const v6 = new Uint8Array(28);
    v6.set([10, 0, 0, 80]);
    v6[23] = 1;
    expect(addressIn(v6)).toEqual({ host: "::1", port: 80 });
  });

  test("knows no other family, and no address that is cut", () => {
    expect(addressIn(Uint8Array.of(16, 0, 0, 0))).toBeUndefined();
    expect(addressIn(Uint8Array.of(2, 0, 0))).toBeUndefined();
    expect(addressIn(Uint8Array.of(10, 0, 0, 80, 0, 0))).toBeUndefined();
    expect(addressIn(new Uint8Array(0))).toBeUndefined();
  });
});
