import { describe, expect, test } from "bun:test";
import { decodeConnRequest, encodeConnResponse, type Reply } from "../../src/ingress/frame.ts";
import { createHeaders } from "../../src/ingress/headers.ts";

const payloadOf = (reply: Reply): Uint8Array => encodeConnResponse(reply).subarray(2);
const accepted = (endpointId: string): Reply => ({
  kind: "accepted",
  endpointId,
  proto: "tcp",
  notices: [],
});

describe("the headers of connections", () => {
  test("have one request for an endpoint, and another one with an identity", () => {
    const headers = createHeaders();
    const [one, two] = [
      { host: "one.test", port: 80 },
      { host: "two.test", port: 80 },
    ];
    const request = headers.request(one);
    expect(headers.request(one)).toBe(request);
    const requested = (bytes: Uint8Array) => decodeConnRequest(bytes.subarray(2));
    expect(requested(request)).toMatchObject({ ok: true, value: one });
    expect(requested(headers.request(two))).toMatchObject({ ok: true, value: two });
    const podIdentity = { name: "me" };
    expect(requested(headers.request(one, podIdentity))).toMatchObject({ value: { podIdentity } });
    expect(requested(headers.request(one))).toEqual({ ok: true, value: one });
  });

  test("decode a response again if it is another one", () => {
    const headers = createHeaders();
    const target = { host: "one.test", port: 80 };
    const [first, second] = [accepted("ep_1"), accepted("ep_2")];
    const refused: Reply = { kind: "refused", code: "ERR", message: "no", notices: ["a notice"] };
    const read = (reply: Reply) => headers.reply(target, payloadOf(reply));
    for (const reply of [first, first, second, refused, second, first, refused])
      expect(read(reply)).toEqual({ ok: true, value: reply });
    expect(headers.reply(target, Uint8Array.of(0xff)).ok).toBe(false);
  });

  test("keep a copy: the bytes of a connection may be used again", () => {
    const headers = createHeaders();
    const target = { host: "one.test", port: 80 };
    const payload = payloadOf(accepted("ep_1"));
    headers.reply(target, payload);
    payload.set(payloadOf(accepted("ep_2")));
    expect(headers.reply(target, payload)).toEqual({ ok: true, value: accepted("ep_2") });
  });
});
