import { onAbort, type Signal, throwIfAborted } from "../model/abort.ts";
import { NgrokdError } from "../model/error.ts";
import { isCut } from "../net/errors.ts";
import type { Conn } from "../net/types.ts";
import { createFrameReader, type PodIdentity } from "./frame.ts";
import { freshHeaders, type Headers, type Target } from "./headers.ts";
import { explained, unknownCertificate } from "./ingress-errors.ts";

/**
 * The response of the ingress to one request. A refusal is a value, not an
 * exception.
 */
export type Opened =
  | {
      readonly kind: "accepted";
      /** Its next bytes are the first of the endpoint's. */
      readonly conn: Conn;
      readonly endpointId: string;
      readonly proto: string;
      readonly notices: readonly string[];
    }
  | {
      readonly kind: "refused";
      readonly code: string;
      readonly message: string;
      readonly notices: readonly string[];
    };

/**
 * Takes the client's bytes that go out behind the request, in the same flight.
 * Called at most once, when the request is about to leave.
 */
export type Early = () => Uint8Array | undefined;

export interface UpgradeOptions {
  /** Default: nothing is kept. */
  readonly headers?: Headers;
  readonly first?: Promise<Uint8Array | null>;
  readonly early?: Early | undefined;
  readonly identity?: PodIdentity | undefined;
}

/**
 * Requests one endpoint on an unused connection after the handshake. The
 * connection is aborted unless the response is "accepted". `first` is the
 * pending read of a ready connection, if there is one. `identity` is who asks.
 * Rejects with NgrokdError
 * `protocol` for an invalid response, with an error for the broken connection,
 * or with the signal's reason.
 */
export async function upgrade(
  conn: Conn,
  target: Target,
  signal: Signal,
  { headers = freshHeaders, first, early, identity }: UpgradeOptions = {},
): Promise<Opened> {
  const unhook = onAbort(signal, () => conn.abort());
  try {
    throwIfAborted(signal);
    const request = headers.request(target, identity);
    const more = early?.();
    await conn.write(more === undefined ? request : Buffer.concat([request, more]));
    const { payload, rest } = await readFrame(conn, first);
    const reply = headers.reply(target, payload);
    if (!reply.ok)
      throw new NgrokdError(
        "protocol",
        `The ingress sent an invalid answer for "${target.host}": ${reply.reason}`,
      );
    if (reply.value.kind === "accepted") {
      conn.unread(rest);
      return { ...reply.value, conn };
    }
    conn.close();
    return reply.value;
  } catch (error) {
    conn.abort();
    if (signal.aborted) throw signal.reason;
    throw explained(error);
  } finally {
    unhook();
  }
}

async function readFrame(
  conn: Conn,
  first: Promise<Uint8Array | null> | undefined,
): Promise<{ payload: Uint8Array; rest: Uint8Array }> {
  const feed = createFrameReader();
  let seen = 0;
  let waiting = first;
  for (;;) {
    const bytes = await answerOf(() => waiting ?? conn.read());
    waiting = undefined;
    if (bytes === null)
      throw seen < 2
        ? unknownCertificate()
        : new NgrokdError(
            "protocol",
            "The ingress closed the connection in the middle of its answer",
          );
    seen += bytes.length;
    const split = feed(bytes);
    if (split.kind === "frame") return split;
  }
}

/** An answer that was cut off has ended, like any other. */
async function answerOf(
  read: () => Promise<Uint8Array | null> | Uint8Array | null,
): Promise<Uint8Array | null> {
  try {
    return await read();
  } catch (error) {
    if (isCut(error)) return null;
    throw error;
  }
}
