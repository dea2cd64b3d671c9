import { describe, expect, test } from "bun:test";
import { readResolvConf } from "../../src/model/resolv-conf.ts";

describe("readResolvConf", () => {
  test("reads the first three servers and the last search list", () => {
    const text = [
      "# nameserver 9.9.9.9",
      "nameserver 192.0.2.1 # office",
      "  nameserver\tfe80::1%eth0",
      "nameserver 192.0.2.1",
      "nameserver 192.0.2.2",
      "nameserver 192.0.2.3",
      "domain old.example",
      "search corp.example . lab.example ; later",
    ].join("\n");
    expect(readResolvConf(text)).toEqual({
      servers: ["192.0.2.1", "fe80::1%eth0", "192.0.2.2"],
      search: ["corp.example", "lab.example", "later"],
    });
    expect(readResolvConf("")).toEqual({ servers: [], search: [] });
  });
});
