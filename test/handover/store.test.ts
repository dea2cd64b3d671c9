import { describe, expect, test } from "bun:test";
import type { Change } from "../../src/handover/estate.ts";
import { forgetting, storeSocket, storeWith, storing } from "../../src/handover/store.ts";

/** What a store is told of these changes. */
async function told(changes: readonly Change[], refusals = 0): Promise<[string, number[]][]> {
  const messages: [string, number[]][] = [];
  let refused = 0;
  const net = {
    async datagram(_path: string, text: string, descriptors: readonly number[] = []) {
      if (refused++ < refusals) return false;
      messages.push([text, [...descriptors]]);
      return true;
    },
  };
  const end = storeWith(net, "/run/notify", {
    follow(changed) {
      for (const change of changes) changed(change);
    },
  });
  await end();
  return messages;
}

const key = "tcp 127.0.0.2:80";

describe("storeWith", () => {
  test("stores a socket with its name, and forgets it when it closes", async () => {
    expect(await told([{ kind: "opened", key, fd: 7 }])).toEqual([[storing(key), [7]]]);
    expect(await told([{ kind: "closed", key }])).toEqual([[forgetting(key), []]]);
  });

  test("keeps a socket that opens and closes at once to itself", async () => {
    const changes: Change[] = [
      { kind: "opened", key, fd: 7 },
      { kind: "closed", key },
    ];
    expect(await told(changes)).toEqual([[forgetting(key), []]]);
  });

  test("leaves the control socket out: it says that a daemon runs", async () => {
    expect(await told([{ kind: "opened", key: "control", fd: 7 }])).toEqual([]);
  });

  test("tries again while systemd's queue is full", async () => {
    expect(await told([{ kind: "opened", key, fd: 7 }], 3)).toEqual([[storing(key), [7]]]);
  });
});

describe("storeSocket", () => {
  test("is that of systemd if it keeps descriptors for us", () => {
    const NOTIFY_SOCKET = "/run/systemd/notify";
    expect([
      storeSocket({ NOTIFY_SOCKET, FDSTORE: "100" }),
      storeSocket({ NOTIFY_SOCKET, NGROKD_FD_STORE: "yes" }),
      storeSocket({ NOTIFY_SOCKET, FDSTORE: "0" }),
      storeSocket({ NOTIFY_SOCKET }),
      storeSocket({ FDSTORE: "100" }),
    ]).toEqual([NOTIFY_SOCKET, NOTIFY_SOCKET, undefined, undefined, undefined]);
  });

  test("polls none of the descriptors, and names them without a colon", () => {
    expect(storing(key)).toBe("FDSTORE=1\nFDPOLL=0\nFDNAME=ngrokd tcp 127.0.0.2|80");
  });
});
