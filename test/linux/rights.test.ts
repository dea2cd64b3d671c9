import { describe, expect, test } from "bun:test";
import { controlOf, controlSize, descriptorsIn, messageHeader } from "../../src/linux/rights.ts";

describe("rights", () => {
  test("descriptors come back from the control data that passes them", () => {
    for (const descriptors of [[7], [3, 4], [9, 8, 7, 6, 5]])
      expect(descriptorsIn(controlOf(descriptors))).toEqual(descriptors);
  });

  test("control data is as long as the kernel wants it: whole words", () => {
    expect([1, 2, 3].map(controlSize)).toEqual([24, 24, 32]);
  });

  test("control data of another kind, cut or empty brings no descriptor", () => {
    const credentials = controlOf([7]);
    credentials[12] = 2;
    expect(descriptorsIn(credentials)).toEqual([]);
    expect(descriptorsIn(controlOf([7, 8]).subarray(0, 20))).toEqual([]);
    expect(descriptorsIn(new Uint8Array(0))).toEqual([]);
  });

  test("a message without an address and without descriptors has zeros there", () => {
    const header = messageHeader({
      name: 0,
      nameLength: 0,
      parts: 4096,
      control: 0,
      controlLength: 0,
    });
    expect([...header]).toEqual([0n, 0n, 4096n, 1n, 0n, 0n, 0n]);
  });
});
