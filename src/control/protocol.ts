// The control socket: daemon and clients exchange JSON on a unix socket.

// The small zod: clients read one reply and end, and this one is ready in a
// fraction of the time.
import * as z from "zod/mini";

/**
 * The control socket's envelope: one JSON object a connection, one back
 * (docs/protocol.md, "The control socket"). The operations themselves are in
 * desk/operations.ts.
 */
export const requestSchema = z.object({
  command: z.string().check(z.maxLength(64)),
  args: z.nullish(z.array(z.string()).check(z.maxLength(16))),
});
export type Request = z.infer<typeof requestSchema>;

export type Reply =
  | { readonly success: true; readonly data: unknown }
  | {
      readonly success: false;
      readonly error: string;
      readonly code?: string;
      readonly hint?: string;
    };

export const replySchema = z.union([
  z.object({ success: z.literal(true), data: z.optional(z.unknown()) }),
  z.object({
    success: z.literal(false),
    error: z.string(),
    code: z.optional(z.string()),
    hint: z.optional(z.string()),
  }),
]);

/** Larger requests are refused. */
export const requestLimitBytes = 64 * 1024;
/**
 * The server closes the connection of a client that has not sent its whole
 * request, or not taken the reply, within these milliseconds.
 */
export const deadlinesMs = { request: 5000, reply: 30_000 } as const;

/**
 * The command whose reply is followed by a stream, in frames (net/framed), if
 * it names an endpoint. Without one it only tells whether the client may.
 */
export const streamCommand = "open";
/** The reply's data. */
export const streamSchema = z.object({
  endpoint_id: z.string(),
  proto: z.string(),
  notices: z.array(z.string()),
});
