import { describe, expect, test } from "bun:test";
import { bufferSize, roomInMemory } from "../../src/relay/memory-share.ts";

const [KiB, MiB, GiB] = [1024, 1024 ** 2, 1024 ** 3];

describe("roomInMemory", () => {
  test.each([
    [512 * MiB, 1024],
    [GiB, 2048],
    [8 * GiB, 16_384],
    [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
  ])("of %d bytes is for %d connections", (memory, connections) => {
    expect(roomInMemory(memory)).toBe(connections);
  });
});

describe("bufferSize", () => {
  test.each([
    ["the kernel's choice for few", 1, GiB, undefined],
    ["the kernel's choice up to a MiB each", 128, GiB, undefined],
    ["a quarter of the share beyond", 129, GiB, Math.floor((128 / 129) * 256 * KiB)],
    ["the same part of another memory", 2048, 8 * GiB, 128 * KiB],
    ["never less than a segment of loopback", 100_000, GiB, 64 * KiB],
    ["the kernel's choice without a known memory", 1e6, Number.POSITIVE_INFINITY, undefined],
    ["the kernel's choice for the first of all", 0, 8 * MiB, undefined],
  ])("is %s", (_name, open, memory, size) => {
    expect(bufferSize(open, memory)).toBe(size);
  });

  test("never grows with the number of connections", () => {
    const sizes = Array.from({ length: 3000 }, (_, open) => bufferSize(open, GiB) ?? MiB);
    expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
  });
});
