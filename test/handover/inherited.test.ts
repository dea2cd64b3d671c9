import { describe, expect, test } from "bun:test";
import {
  inheritedBy,
  keyOfStored,
  leftText,
  passedIn,
  storeName,
  withoutInherited,
} from "../../src/handover/inherited.ts";
import { leftDescriptors } from "../../src/model/environment.ts";

const passed = { LISTEN_PID: "7", LISTEN_FDS: "2", LISTEN_FDNAMES: "ngrokd tcp [||1]|80:health" };

describe("descriptors of systemd", () => {
  test("have its names, and numbers from 3 on", () => {
    expect(passedIn(passed, 7)).toEqual([
      { name: "ngrokd tcp [||1]|80", fd: 3 },
      { name: "health", fd: 4 },
    ]);
  });

  test("are none for another process, and for counts that are none", () => {
    expect(passedIn(passed, 8)).toEqual([]);
    for (const count of ["", "0", "-1", "x", "1.5"])
      expect(passedIn({ ...passed, LISTEN_FDS: count }, 7)).toEqual([]);
  });

  test("get their key from the name in the store, or else from their address", async () => {
    const closed: number[] = [];
    const net = {
      addressOf: async (fd: number) => ({ host: `127.0.0.${fd}`, port: 80 }),
      closeDescriptor: (fd: number) => void closed.push(fd),
    };
    const { held, problems } = await inheritedBy(net, passed, 7);
    expect({ held, problems, closed }).toEqual({
      held: [
        { key: "tcp [::1]:80", fd: 3 },
        { key: "tcp 127.0.0.4:80", fd: 4 },
      ],
      problems: [],
      closed: [],
    });
  });

  test("that are no listeners are closed, and named", async () => {
    const closed: number[] = [];
    const net = {
      addressOf: () => Promise.reject(new Error("no listener")),
      closeDescriptor: (fd: number) => void closed.push(fd),
    };
    const { held, problems } = await inheritedBy(net, passed, 7);
    expect(held.map(({ fd }) => fd)).toEqual([3]);
    expect(problems).toEqual([expect.stringContaining('"health"')]);
    expect(closed).toEqual([4]);
  });
});

describe("names in systemd's store", () => {
  test.each(["tcp 127.0.0.2:443", "tcp [fd00::2]:80", "udp 127.0.0.55:53", "tun ngrokd0"])(
    "bring the key %s back, and have no colon",
    (key) => {
      expect(storeName(key)).not.toContain(":");
      expect(keyOfStored(storeName(key))).toBe(key);
    },
  );

  test("of others are no keys", () => {
    expect(["stored", "", "health"].map(keyOfStored)).toEqual([undefined, undefined, undefined]);
  });
});

describe("the environment of a program in the same process", () => {
  test("brings keys and numbers back", () => {
    const held = [
      { key: "tcp [fd00::2]:80", fd: 12 },
      { key: "control", fd: 3 },
    ];
    const env = { NGROKD_INHERITED: leftText(held) };
    expect([...leftDescriptors(env)]).toEqual(held.map(({ key, fd }) => [key, fd]));
    expect([...leftDescriptors({})]).toEqual([]);
  });

  test("has nothing that only one process may read", () => {
    expect(withoutInherited({ ...passed, NGROKD_INHERITED: "a=3", PATH: "/bin" })).toEqual({
      PATH: "/bin",
    });
  });
});
