import { describe, expect, test } from "bun:test";
import { StreamTail } from "../../src/model/stream-tail.ts";

const record = (type: number, length: number, fill = 0xaa): number[] => [
  type,
  3,
  3,
  length >> 8,
  length & 255,
  ...Array.from({ length }, () => fill),
];
const data = (length: number): number[] => record(23, length);
const endings = {
  "TLS 1.3": data(19),
  "TLS 1.2 with AES-GCM": record(21, 26),
  "TLS 1.2 with ChaCha20": record(21, 18),
};

/** The verdict on the bytes, which come in pieces of `size`. */
function whole(bytes: readonly number[], size: number): boolean {
  const tail = new StreamTail();
  for (let at = 0; at < bytes.length; at += size)
    tail.take(Uint8Array.from(bytes.slice(at, at + size)));
  return tail.whole;
}

const sizes = [1, 2, 3, 5, 7, 19, 23, 24, 25, 30, 31, 32, 100, 100_000];

describe("the tail of a TLS stream", () => {
  for (const [what, ending] of Object.entries(endings)) {
    test(`with the alert of ${what} is whole, however it is cut into pieces`, () => {
      for (const size of sizes)
        for (const before of [[], data(400), data(19), [...data(17), ...data(19), ...data(16)]])
          expect({
            size,
            before: before.length,
            whole: whole([...before, ...ending], size),
          }).toEqual({ size, before: before.length, whole: true });
    });

    test(`without a part of the alert of ${what} is not whole`, () => {
      for (const size of sizes)
        for (let left = 1; left < ending.length; left++) {
          const bytes = [...data(400), ...ending.slice(0, -left)];
          expect({ size, left, whole: whole(bytes, size) }).toEqual({ size, left, whole: false });
        }
    });
  }

  test("with data alone is not whole, also if bytes of it look like a head", () => {
    const lookalike = [...data(400).slice(0, -24), 23, 3, 3, 0, 18, ...Array(19).fill(23)];
    for (const size of sizes)
      for (const bytes of [
        data(18),
        data(20),
        data(400),
        lookalike,
        record(21, 27),
        record(22, 19),
      ])
        expect({ size, bytes: bytes.length, whole: whole(bytes, size) }).toEqual({
          size,
          bytes: bytes.length,
          whole: false,
        });
  });

  test("with an alert and then more is not whole", () => {
    for (const size of sizes)
      expect({ size, whole: whole([...endings["TLS 1.3"], 23], size) }).toEqual({
        size,
        whole: false,
      });
  });

  test("with two bytes of data that are alone in their piece is not whole", () => {
    const tail = new StreamTail();
    tail.take(Uint8Array.from(data(19)));
    tail.heldData();
    expect(tail.whole).toBe(false);
    tail.take(Uint8Array.from(endings["TLS 1.3"]));
    expect(tail.whole).toBe(true);
  });

  test("with data and an alert in one piece stays whole, also in an odd cut", () => {
    const [first, second] = [data(19), endings["TLS 1.3"]];
    for (let at = 1; at <= first.length; at++) {
      const tail = new StreamTail();
      tail.take(Uint8Array.from(first.slice(0, at)));
      tail.take(Uint8Array.from([...first.slice(at), ...second.slice(0, 5)]));
      tail.heldData();
      tail.take(Uint8Array.from(second.slice(5)));
      expect({ at, whole: tail.whole }).toEqual({ at, whole: true });
    }
  });

  test("is taken as whole while its last bytes were not seen", () => {
    const tail = new StreamTail();
    expect(tail.whole).toBe(true);
    tail.take(Uint8Array.from(data(400)));
    expect(tail.whole).toBe(false);
    tail.forget();
    expect(tail.whole).toBe(true);
    tail.take(Uint8Array.from(data(400)));
    expect(tail.whole).toBe(false);
  });
});
