import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { attributesIn, messagesIn, netlinkBytes, numberIn, u32 } from "../../src/linux/netlink.ts";
import { addressesIn, linksIn, routesIn } from "../../src/machine/link/rtnetlink.ts";

describe("a netlink message", () => {
  test("is written and read with its attributes, which are padded", () => {
    const bytes = netlinkBytes({
      type: 24,
      head: Uint8Array.of(1, 2, 3, 4),
      attributes: [
        { type: 1, value: Uint8Array.of(9, 9, 9) },
        { type: 4, value: u32(70_000) },
      ],
    });
    expect(bytes.length % 4).toBe(0);
    const { messages, end } = messagesIn(bytes);
    expect({ types: messages.map(({ type }) => type), end }).toEqual({
      types: [24],
      end: undefined,
    });
    const attributes = attributesIn(messages[0]?.body ?? new Uint8Array(), 4);
    expect([...(attributes.get(1) ?? [])]).toEqual([9, 9, 9]);
    expect(numberIn(attributes.get(4))).toBe(70_000);
  });

  test("ends a reply with its error, or with its end", () => {
    const error = new Uint8Array(Int32Array.of(-17).buffer);
    expect(messagesIn(netlinkBytes({ type: 2, head: error })).end).toBe(17);
    expect(messagesIn(netlinkBytes({ type: 2, head: new Uint8Array(4) })).end).toBe(0);
    expect(messagesIn(netlinkBytes({ type: 3, head: new Uint8Array(4) })).end).toBe(0);
  });

  test("never throws, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(3), (bytes, at) => {
        if (bytes.length > 16) bytes.set(Uint8Array.of(bytes.length & 255, 0, 0, 0), 0);
        const messages = [
          ...messagesIn(bytes.subarray(at)).messages,
          ...[16, 20, 24].map((type) => ({ type, body: bytes })),
        ];
        linksIn(messages);
        addressesIn(messages);
        routesIn(messages);
      }),
      { numRuns: 5000 },
    );
  });
});
