import { describe, expect, test } from "bun:test";
import {
  addressBytes,
  createAddressBytes,
  createDiagRequest,
  diagReply,
  type Ends,
  writeDiagRequest,
} from "../../src/linux/sock-diag.ts";
import { ownerIn } from "../../src/net/callers.ts";

const v4: Ends = {
  own: { host: "127.0.0.1", port: 40_001 },
  other: { host: "127.0.0.2", port: 80 },
};
function diagRequest(ends: Ends, sequence: number): Uint8Array | undefined {
  const bytes = createDiagRequest();
  return writeDiagRequest(bytes, ends, sequence) ? bytes : undefined;
}
/** The question about a connection, the seventh one. */
const seventh = (ends: Ends): Uint8Array => diagRequest(ends, 7) ?? new Uint8Array(72);
const v6: Ends = { own: { host: "::1", port: 40_001 }, other: { host: "fd00::2", port: 443 } };

/** The kernel's answer about a socket, in its bytes. */
function answer(
  sequence: number,
  { own, other }: Ends,
  { family = 2, state = 1, uid = 1000, inode = 77 } = {},
): Uint8Array {
  const bytes = new Uint8Array(88);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, 20, true);
  view.setUint32(8, sequence, true);
  bytes.set([family, state], 16);
  view.setUint16(20, own.port);
  view.setUint16(22, other.port);
  // A request has the same fields, four bytes further on.
  const request = diagRequest({ own, other }, 1) ?? new Uint8Array(72);
  bytes.set(request.subarray(28, 44), 24);
  bytes.set(request.subarray(44, 60), 40);
  view.setUint32(80, uid, true);
  view.setUint32(84, inode, true);
  return bytes;
}

describe("a question about a socket", () => {
  test("names both ends in network order, in a message of 72 bytes", () => {
    const bytes = Buffer.from(diagRequest(v4, 7) ?? []);
    expect(bytes.length).toBe(72);
    expect(bytes.subarray(0, 16).toString("hex")).toBe("48000000140001000700000000000000");
    expect(bytes.subarray(16, 20).toString("hex")).toBe("02060000");
    expect(bytes.subarray(24, 28).toString("hex")).toBe("9c410050");
    expect([...bytes.subarray(28, 32)]).toEqual([127, 0, 0, 1]);
    expect([...bytes.subarray(44, 48)]).toEqual([127, 0, 0, 2]);
  });

  test("asks for IPv6, and for a mapped address as IPv4", () => {
    expect(diagRequest(v6, 1)?.[16]).toBe(10);
    const mapped = {
      own: { host: "::ffff:127.0.0.1", port: 40_001 },
      other: { host: "::ffff:127.0.0.2", port: 80 },
    };
    expect(diagRequest(mapped, 7)).toEqual(diagRequest(v4, 7));
  });

  test("has nothing of the question before it in the same bytes", () => {
    const bytes = createDiagRequest();
    for (const ends of [v6, v4, { own: v4.own, other: v4.own }, v6]) {
      expect(writeDiagRequest(bytes, ends, 7)).toBe(true);
      expect(bytes).toEqual(seventh(ends));
    }
  });

  test("has the same bytes if the addresses are kept, however many there are", () => {
    const bytesOf = createAddressBytes(3);
    const hosts = ["127.0.0.1", "::1", "fd00::2", "name", "10.0.0.9", "::ffff:10.0.0.9", ""];
    for (let n = 0; n < 200; n += 1) {
      const host = hosts[(n * n + (n >> 3)) % hosts.length] ?? "";
      expect({ host, bytes: bytesOf(host) }).toEqual({ host, bytes: addressBytes(host) });
    }
  });

  test("is impossible for a name, and for ends of two families", () => {
    expect(diagRequest({ ...v4, own: { host: "", port: 1 } }, 1)).toBeUndefined();
    expect(diagRequest({ own: v4.own, other: v6.other }, 1)).toBeUndefined();
  });
});

describe("the kernel's answer", () => {
  test("has the owner of the socket, in IPv4 and IPv6", () => {
    expect(diagReply(answer(7, v4), seventh(v4))).toEqual({ kind: "found", uid: 1000 });
    expect(diagReply(answer(7, v6, { family: 10 }), seventh(v6))).toEqual({
      kind: "found",
      uid: 1000,
    });
  });

  test("spells IPv4 of an IPv6 socket as a mapped address", () => {
    const bytes = answer(7, v4, { family: 10 });
    for (const [at, from] of [
      [24, v4.own.host],
      [40, v4.other.host],
    ] as const) {
      bytes.fill(0, at, at + 16);
      bytes.fill(0xff, at + 10, at + 12);
      bytes.set(from.split(".").map(Number), at + 12);
    }
    expect(diagReply(bytes, seventh(v4))).toEqual({ kind: "found", uid: 1000 });
  });

  test("calls root the owner of a closed socket, which is no user", () => {
    expect(diagReply(answer(7, v4, { uid: 0, inode: 0 }), seventh(v4))).toEqual({
      kind: "found",
      uid: undefined,
    });
    expect(diagReply(answer(7, v4, { uid: 0 }), seventh(v4))).toEqual({ kind: "found", uid: 0 });
    expect(diagReply(answer(7, v4, { inode: 0 }), seventh(v4))).toEqual({
      kind: "found",
      uid: 1000,
    });
  });

  test("about a program that listens there is about no client", () => {
    expect(diagReply(answer(7, v4, { state: 10 }), seventh(v4))).toEqual({ kind: "none" });
    const other = { ...v4, other: { host: "127.0.0.2", port: 81 } };
    expect(diagReply(answer(7, other), seventh(v4))).toEqual({ kind: "none" });
    const elsewhere = { ...v4, own: { host: "127.0.0.9", port: 40_001 } };
    expect(diagReply(answer(7, elsewhere), seventh(v4))).toEqual({ kind: "none" });
  });

  test("may be an error, or the answer to an earlier question", () => {
    const error = (errno: number): Uint8Array => {
      const bytes = new Uint8Array(36);
      new DataView(bytes.buffer).setUint16(4, 2, true);
      new DataView(bytes.buffer).setUint32(8, 7, true);
      new DataView(bytes.buffer).setInt32(16, -errno, true);
      return bytes;
    };
    expect(diagReply(error(2), seventh(v4))).toEqual({ kind: "none" });
    expect(diagReply(error(1), seventh(v4))).toEqual({ kind: "unusable" });
    expect(diagReply(answer(6, v4), seventh(v4))).toEqual({ kind: "stray" });
  });

  test("that is damaged, at any bit and any length, names no other user", () => {
    const whole = answer(7, v4);
    for (let length = 0; length < whole.length; length += 1) {
      expect(diagReply(whole.subarray(0, length), seventh(v4)).kind).not.toBe("found");
      // The bytes behind it are those of an earlier answer.
      expect(diagReply(whole, seventh(v4), length).kind).not.toBe("found");
    }
    for (let bit = 0; bit < 80 * 8; bit += 1) {
      const bytes = whole.slice();
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const reply = diagReply(bytes, seventh(v4));
      if (reply.kind === "found") expect({ bit, uid: reply.uid }).toEqual({ bit, uid: 1000 });
    }
    let seed = 20_261_128;
    const random = (): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return seed >>> 16;
    };
    for (let n = 0; n < 20_000; n += 1) {
      const bytes = Uint8Array.from({ length: random() % 128 }, () => random() & 0xff);
      const { kind } = diagReply(bytes, seventh(v4));
      expect({ n, kind, bytes }).not.toMatchObject({ kind: "found" });
    }
  });
});

describe("the kernel's tables of sockets", () => {
  const table = [
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
    "   0: 0200007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5001 1 0",
    "   1: 0100007F:9C41 0200007F:0050 01 00000000:00000000 00:00000000 00000000  1000        0 5002 1 0",
    "   2: 0100007F:9C42 0200007F:0050 06 00000000:00000000 03:00000B6C 00000000     0        0 0 3 0",
    "   3: 0000000000000000FFFF00000100007F:9C43 0000000000000000FFFF00000200007F:0050 01 0:0 0:0 0  1001        0 5003 1 0",
    "   4: 00000000000000000000000001000000:9C41 000000FD000000000000000002000000:01BB 01 0:0 0:0 0  1002        0 5004 1 0",
    "",
  ].join("\n");
  const from = (port: number): Ends => ({ ...v4, own: { host: "127.0.0.1", port } });
  test.each([
    ["a client of IPv4", v4, { uid: 1000 }],
    ["a closed one, without a user", from(40_002), { uid: undefined }],
    ["a client of IPv4 with a socket of IPv6", from(40_003), { uid: 1001 }],
    ["a client of IPv6", v6, { uid: 1002 }],
    ["no client that is not there", from(40_004), undefined],
    ["no client without an address", { ...v4, own: { host: "", port: 1 } }, undefined],
  ])("have %s", (_what, ends, owner) => {
    expect(ownerIn(table, ends)).toEqual(owner);
  });

  test("are read whatever is in them", () => {
    for (const text of [
      "",
      "\n",
      " 0100007F:9C41 0200007F:0050 ",
      " 0100007F:9C41 0200007F:0050 01\n",
    ])
      expect(ownerIn(text, v4)).toBeUndefined();
  });
});
