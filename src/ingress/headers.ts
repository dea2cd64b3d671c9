import type { Parsed } from "../model/parsed.ts";
import { decodeConnResponse, encodeConnRequest, type PodIdentity, type Reply } from "./frame.ts";

/** One endpoint, as the ingress knows it. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/**
 * The header of a connection, in both directions. An endpoint nearly always has
 * the same request and the same response as before, and to encode and decode
 * them costs a tenth of a connection. So the last ones are kept.
 */
export interface Headers {
  /** As {@link encodeConnRequest}. The bytes must not change. */
  request(target: Target, identity?: PodIdentity): Uint8Array;
  /** As {@link decodeConnResponse}. */
  reply(target: Target, payload: Uint8Array): Parsed<Reply>;
}

/** Keeps nothing. */
export const freshHeaders: Headers = {
  request: ({ host, port }, identity) =>
    encodeConnRequest({ host, port, ...(identity && { podIdentity: identity }) }),
  reply: (_, payload) => decodeConnResponse(payload),
};

export function createHeaders(): Headers {
  const requests = new WeakMap<Target, Uint8Array>();
  const replies = new WeakMap<
    Target,
    { readonly payload: Buffer; readonly reply: Parsed<Reply> }
  >();
  return {
    request(target, identity) {
      if (identity !== undefined) return freshHeaders.request(target, identity);
      const known = requests.get(target);
      if (known !== undefined) return known;
      const request = freshHeaders.request(target);
      requests.set(target, request);
      return request;
    },
    reply(target, payload) {
      const known = replies.get(target);
      if (known?.payload.equals(payload) === true) return known.reply;
      const reply = freshHeaders.reply(target, payload);
      if (reply.ok && reply.value.kind === "accepted")
        replies.set(target, { payload: Buffer.from(payload), reply });
      return reply;
    },
  };
}
