import { describe, expect, spyOn, test } from "bun:test";
import fc from "fast-check";
import {
  createFrameReader,
  decodeConnRequest,
  decodeConnResponse,
  encodeConnRequest,
  encodeConnResponse,
  maxPayload,
  type Reply,
} from "../../src/ingress/frame.ts";
import { NgrokdError } from "../../src/model/error.ts";

const text = fc.string({ unit: "grapheme", maxLength: 200 });
const notices = fc.array(text, { maxLength: 4 });
const accepted = fc.record({
  kind: fc.constant("accepted" as const),
  endpointId: text,
  proto: text,
  notices,
});
const refused = fc
  .record({ kind: fc.constant("refused" as const), code: text, message: text, notices })
  .filter(({ code, message }) => code + message !== "");
const reply: fc.Arbitrary<Reply> = fc.oneof(accepted, refused);
const identity = fc.record({
  uid: text,
  name: text,
  namespace: text,
  annotations: fc.dictionary(
    text.filter((key) => key !== "__proto__"),
    text,
  ),
});
const request = fc.record(
  {
    host: text.filter((host) => host !== ""),
    port: fc.integer({ min: 1, max: 65535 }),
    podIdentity: identity,
  },
  { requiredKeys: ["host", "port"] },
);

describe("the header's bytes", () => {
  test("a request has the bytes of ngrok's protocol: length, host, port", () => {
    expect(hex(encodeConnRequest({ host: "hello.demo", port: 80 }))).toBe(
      `0e00 0a0a ${hex(utf8("hello.demo"))} 1050`.replaceAll(" ", ""),
    );
    // An empty pod identity is field 3 with no bytes, as the operator sends it.
    expect(hex(encodeConnRequest({ host: "a", port: 1, podIdentity: {} }))).toBe(
      "07000a016110011a00",
    );
  });

  test("an answer has the bytes of ngrok's protocol", () => {
    const yes = encodeConnResponse({
      kind: "accepted",
      endpointId: "ep_1",
      proto: "tcp",
      notices: ["hi"],
    });
    expect(hex(yes)).toBe("11000a0465705f311203746370" + "2a040a026869");
    const no = encodeConnResponse({ kind: "refused", code: "E", message: "no", notices: [] });
    expect(hex(no)).toBe("07001a014522026e6f");
  });

  test("the length is little-endian and reaches to 65535", () => {
    const longest = encodeConnResponse({
      kind: "refused",
      code: "",
      message: "x".repeat(maxPayload - 4),
      notices: [],
    });
    expect(longest.length).toBe(2 + maxPayload);
    expect([...longest.subarray(0, 2)]).toEqual([0xff, 0xff]);
    const split = splitFrame(longest);
    expect(split.kind === "frame" && split.payload.length).toBe(maxPayload);
  });

  test("a message that is too long is an error and not a damaged frame", () => {
    const host = "x".repeat(maxPayload);
    expect(() => encodeConnRequest({ host, port: 1 })).toThrow(NgrokdError);
    expect(() =>
      encodeConnResponse({ kind: "refused", code: "", message: host, notices: [] }),
    ).toThrow(NgrokdError);
  });
});

describe("createFrameReader", () => {
  test("decodes every encoded frame and its rest from any cut of the bytes", () => {
    fc.assert(
      fc.property(
        reply,
        fc.uint8Array({ maxLength: 300 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        (sent, follows, cuts) => {
          const frame = encodeConnResponse(sent);
          const bytes = concat([frame, follows]);
          const feed = createFrameReader();
          const pieces = cut(bytes, cuts);
          let fed = 0;
          for (const [i, piece] of pieces.entries()) {
            const split = feed(piece);
            fed += piece.length;
            if (split.kind === "need-more") {
              expect(fed).toBeLessThan(frame.length);
              continue;
            }
            expect(fed).toBeGreaterThanOrEqual(frame.length);
            expect(decodeConnResponse(split.payload)).toEqual({ ok: true, value: sent });
            expect(concat([split.rest, ...pieces.slice(i + 1)])).toEqual(follows);
            // The bytes after it can be megabytes. So they are a view of the
            // original piece.
            expect(split.rest.buffer).toBe(piece.buffer);
            return;
          }
          throw new Error("no frame came out");
        },
      ),
    );
  });

  test("one byte at a time gives the frame with its last byte, then the next frame", () => {
    const feed = createFrameReader();
    for (const port of [1, 300, 65535]) {
      const bytes = encodeConnRequest({ host: "db.prod", port });
      const splits = [...bytes].map((byte) => feed(Uint8Array.of(byte)));
      expect(splits.slice(0, -1).every(({ kind }) => kind === "need-more")).toBe(true);
      const last = splits.at(-1);
      expect(last?.kind === "frame" && decodeConnRequest(last.payload)).toEqual({
        ok: true,
        value: { host: "db.prod", port },
      });
      expect(last?.kind === "frame" && last.rest.length).toBe(0);
    }
  });

  test("pieces without bytes change nothing", () => {
    const feed = createFrameReader();
    const bytes = encodeConnRequest({ host: "a", port: 1 });
    const kinds = [[], bytes.subarray(0, 1), [], bytes.subarray(1), []].map(
      (piece) => feed(Uint8Array.from(piece)).kind,
    );
    expect(kinds).toEqual(["need-more", "need-more", "need-more", "frame", "need-more"]);
  });

  test("never throws, and returns a frame exactly when the announced bytes are there", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const split = splitFrame(bytes);
        const [low, high] = bytes;
        const whole =
          low !== undefined && high !== undefined && bytes.length >= 2 + low + 256 * high;
        expect(split.kind).toBe(whole ? "frame" : "need-more");
        if (split.kind === "frame")
          expect(2 + split.payload.length + split.rest.length).toBe(bytes.length);
      }),
    );
  });

  test("copies each byte of a frame once, even from 64 KiB of single bytes", () => {
    const bytes = encodeConnResponse({
      kind: "refused",
      code: "",
      message: "x".repeat(maxPayload - 4),
      notices: [],
    });
    const feed = createFrameReader();
    using copies = spyOn(Uint8Array.prototype, "set");
    using joins = spyOn(Buffer, "concat");
    const kinds = Array.from(bytes, (_, i) => feed(bytes.subarray(i, i + 1)).kind);
    const copied = copies.mock.calls.reduce((sum, [source]) => sum + source.length, 0);
    expect(kinds.indexOf("frame")).toBe(bytes.length - 1);
    expect({ copied, joins: joins.mock.calls.length }).toEqual({ copied: bytes.length, joins: 0 });
  });
});

describe("decodeConnRequest", () => {
  test("gives back every request that encodeConnRequest writes", () => {
    fc.assert(
      fc.property(request, (sent) => {
        const split = splitFrame(encodeConnRequest(sent));
        expect(split.kind === "frame" && decodeConnRequest(split.payload)).toEqual({
          ok: true,
          value: sent,
        });
      }),
    );
  });

  test("refuses a request without a host, and a port that is none", () => {
    expect(decodeConnRequest(new Uint8Array(0))).toMatchObject({
      ok: false,
      reason: "the request names no host",
    });
    const ports = {
      "0": "",
      "-1": "10ffffffffffffffffff01",
      "65536": "10808004",
      "9223372036854775807": "10ffffffffffffffff7f",
    };
    for (const [port, field] of Object.entries(ports)) {
      const refusal = decodeConnRequest(unhex(`0a0161${field}`));
      expect(refusal).toMatchObject({
        ok: false,
        reason: `the request's port is ${port}, and ports are 1 to 65535`,
      });
    }
  });
});

describe("decodeConnResponse", () => {
  test("takes an error code or an error message alone for a refusal", () => {
    const both = unhex("0a0465705f31" + "1203746370" + "1a0145");
    expect(decodeConnResponse(both)).toEqual({
      ok: true,
      value: { kind: "refused", code: "E", message: "", notices: [] },
    });
    expect(decodeConnResponse(unhex("22026e6f"))).toMatchObject({
      ok: true,
      value: { kind: "refused", code: "", message: "no" },
    });
  });

  test("takes an answer without an error for a yes, as ngrok's clients do", () => {
    const yes = { kind: "accepted", endpointId: "", proto: "" } as const;
    expect(decodeConnResponse(new Uint8Array(0))).toEqual({
      ok: true,
      value: { ...yes, notices: [] },
    });
    expect(decodeConnResponse(unhex("2a040a026869"))).toEqual({
      ok: true,
      value: { ...yes, notices: ["hi"] },
    });
  });

  test("passes over fields that it does not know", () => {
    const more = unhex("0a0465705f31" + "7a03616263" + "8001ff01" + "12026464");
    expect(decodeConnResponse(more)).toMatchObject({
      ok: true,
      value: { endpointId: "ep_1", proto: "dd" },
    });
  });

  test("reads whole fields of a truncated message, and no cut refusal as accepted", () => {
    fc.assert(
      fc.property(reply, fc.nat(), (sent, at) => {
        const payload = encodeConnResponse(sent).subarray(2);
        // Nothing at all is a yes; the frame's length rules out such a cut.
        fc.pre(payload.length > 1);
        const read = decodeConnResponse(payload.subarray(0, 1 + (at % (payload.length - 1))));
        if (!read.ok) return expect(read.reason).not.toBe("");
        expect(read.value.kind).toBe(sent.kind);
        for (const [field, value] of Object.entries(read.value)) {
          const whole = Object.entries(sent).find(([name]) => name === field)?.[1];
          if (Array.isArray(value))
            expect(value).toEqual((whole as string[]).slice(0, value.length));
          else expect([whole, ""]).toContain(value);
        }
      }),
    );
  });

  test("never throws on garbage", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
        for (const decoded of [decodeConnResponse(bytes), decodeConnRequest(bytes)])
          expect(typeof decoded.ok).toBe("boolean");
      }),
      { numRuns: 2000 },
    );
  });

  test("survives input that is made to break parsers", () => {
    const nested = new Uint8Array(maxPayload).fill(0x0b); // groups within groups, 65535 deep
    const endless = new Uint8Array(64).fill(0xff); // a varint that never ends
    const huge = unhex("0affffffff07"); // a string of 2 GiB in 6 bytes
    const notUtf8 = unhex("0a02fffe");
    const wrongKind = unhex("0a0461626364" + "2801"); // notices as a number
    for (const payload of [nested, endless, huge, notUtf8]) {
      const { ok } = decodeConnResponse(payload);
      expect(ok).toBe(false);
    }
    expect(typeof decodeConnResponse(wrongKind).ok).toBe("boolean");
  });
});

const splitFrame = (bytes: Uint8Array) => createFrameReader()(bytes);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const unhex = (digits: string): Uint8Array => Uint8Array.from(Buffer.from(digits, "hex"));
const utf8 = (value: string): Uint8Array => new TextEncoder().encode(value);
const concat = (pieces: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(Buffer.concat(pieces));

/** The pieces between the cut points. Together they are `bytes`. */
function cut(bytes: Uint8Array, points: readonly number[]): Uint8Array[] {
  const edges = [
    0,
    ...points.map((point) => point % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ];
  return edges.slice(1).map((edge, i) => bytes.slice(edges[i] ?? 0, edge));
}
