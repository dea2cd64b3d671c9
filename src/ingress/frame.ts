import {
  create,
  type DescMessage,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { type Parsed, parsed, unparsed } from "../model/parsed.ts";
import { ConnRequestSchema, ConnResponseSchema, PodIdentitySchema } from "./conn_header_pb.ts";

/** The client's request. Source: docs/protocol.md, "The ingress". */
export interface ConnRequest {
  /**
   * The endpoint's host name without port; for a wildcard endpoint the
   * requested name.
   */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
  readonly podIdentity?: PodIdentity;
}

export interface PodIdentity {
  readonly uid?: string;
  readonly name?: string;
  readonly namespace?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The response of the ingress. Its texts are unchanged: quote them in logs. */
export type Reply =
  | {
      readonly kind: "accepted";
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
 * `payload` is one protobuf message; `rest` has the first bytes of the stream.
 * Both may be empty and share memory with the input.
 */
export type Split =
  | { readonly kind: "need-more" }
  | { readonly kind: "frame"; readonly payload: Uint8Array; readonly rest: Uint8Array };

/** The longest payload that fits the two length bytes. */
export const maxPayload = 0xffff;

/**
 * Takes the frame from the front of bytes in pieces. Feed them in order until
 * the result is a frame. Then it starts again. Any two bytes are a valid
 * length, so this cannot fail.
 */
export function createFrameReader(): (bytes: Uint8Array) => Split {
  let pieces: Uint8Array[] = [];
  let total = 0;
  return (bytes) => {
    pieces.push(bytes);
    total += bytes.length;
    const size = frameSize(pieces);
    if (size === undefined || total < size) return { kind: "need-more" };
    // The frame ends in this last piece, so the rest is a view and no copy.
    const end = bytes.length - (total - size);
    const frame =
      pieces.length === 1
        ? bytes.subarray(0, end)
        : joined([...pieces.slice(0, -1), bytes.subarray(0, end)], size);
    pieces = [];
    total = 0;
    return { kind: "frame", payload: frame.subarray(lengthBytes), rest: bytes.subarray(end) };
  };
}

/**
 * The request with its length in front, ready to send. Throws NgrokdError
 * `protocol` if it is longer than {@link maxPayload}.
 */
export function encodeConnRequest({ host, port, podIdentity }: ConnRequest): Uint8Array {
  const identity =
    podIdentity &&
    create(PodIdentitySchema, { ...podIdentity, annotations: { ...podIdentity.annotations } });
  return framed(
    ConnRequestSchema,
    create(ConnRequestSchema, { host, port: BigInt(port), podIdentity: identity }),
  );
}

export function decodeConnRequest(payload: Uint8Array): Parsed<ConnRequest> {
  const message = decode(ConnRequestSchema, payload);
  if (!message.ok) return message;
  const { host, port, podIdentity } = message.value;
  if (host === "") return unparsed("the request names no host");
  if (port < 1n || port > 65535n)
    return unparsed(`the request's port is ${port}, and ports are 1 to 65535`);
  return parsed({
    host,
    port: Number(port),
    ...(podIdentity && { podIdentity: plainIdentity(podIdentity) }),
  });
}

/**
 * The response with its length in front, ready to send. Throws NgrokdError
 * `protocol` if it is longer than {@link maxPayload}.
 */
export function encodeConnResponse(reply: Reply): Uint8Array {
  const notices = reply.notices.map((Message) => ({ Message }));
  const fields =
    reply.kind === "accepted"
      ? { endpointId: reply.endpointId, proto: reply.proto }
      : { errorCode: reply.code, errorMessage: reply.message };
  return framed(ConnResponseSchema, create(ConnResponseSchema, { ...fields, notices }));
}

/**
 * An error code or an error message makes it a refusal. Anything else is a yes,
 * an empty response too, as for ngrok's own clients.
 */
export function decodeConnResponse(payload: Uint8Array): Parsed<Reply> {
  const message = decode(ConnResponseSchema, payload);
  if (!message.ok) return message;
  const { endpointId, proto, errorCode: code, errorMessage } = message.value;
  const notices = message.value.notices.map((notice) => notice.Message);
  if (code !== "" || errorMessage !== "")
    return parsed({ kind: "refused", code, message: errorMessage, notices });
  return parsed({ kind: "accepted", endpointId, proto, notices });
}

const lengthBytes = 2;

/** Length bytes included; undefined while they are not both there. */
function frameSize(pieces: readonly Uint8Array[]): number | undefined {
  let seen = 0;
  let size = 0;
  for (const piece of pieces) {
    for (const byte of piece.subarray(0, lengthBytes - seen)) {
      size += byte << (8 * seen);
      seen += 1;
    }
    if (seen === lengthBytes) return lengthBytes + size;
  }
  return undefined;
}

function joined(pieces: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

function framed<S extends DescMessage>(schema: S, message: MessageShape<S>): Uint8Array {
  const payload = toBinary(schema, message);
  if (payload.length > maxPayload) {
    const what = `it is ${payload.length} bytes long, and the two bytes of its length allow ${maxPayload}`;
    throw new NgrokdError("protocol", `Cannot encode "${schema.typeName}": ${what}`);
  }
  const frame = new Uint8Array(lengthBytes + payload.length);
  frame[0] = payload.length & 0xff;
  frame[1] = payload.length >>> 8;
  frame.set(payload, lengthBytes);
  return frame;
}

function decode<S extends DescMessage>(schema: S, payload: Uint8Array): Parsed<MessageShape<S>> {
  try {
    return parsed(fromBinary(schema, payload));
  } catch (error) {
    return unparsed(
      `its ${payload.length} bytes are not a protobuf message ${schema.typeName}: ${reasonOf(error)}`,
    );
  }
}

/**
 * protobuf-es adds a type name and unknown fields to its messages; ours are
 * plain.
 */
function plainIdentity({ uid, name, namespace, annotations }: Required<PodIdentity>): PodIdentity {
  return { uid, name, namespace, annotations: { ...annotations } };
}
