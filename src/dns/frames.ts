import { Buffer } from "node:buffer";

/** Pure: a message with its length in front (RFC 1035, section 4.2.2). */
export function frame(message: Uint8Array): Uint8Array {
  const framed = Buffer.alloc(message.length + 2);
  framed.writeUInt16BE(message.length);
  framed.set(message, 2);
  return framed;
}

/** Returns the messages that are complete with these bytes, in their order. */
export type Frames = (bytes: Uint8Array) => Uint8Array[];

/** Cuts a stream into messages, however its bytes arrive. */
export function createFrames(): Frames {
  let rest: Uint8Array = new Uint8Array(0);
  return (bytes) => {
    const all = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    const messages: Uint8Array[] = [];
    let at = 0;
    for (;;) {
      const left = all.length - at;
      const length = left < 2 ? 0 : (all[at] ?? 0) * 256 + (all[at + 1] ?? 0);
      if (left < 2 || left < 2 + length) break;
      messages.push(all.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
    rest = all.slice(at);
    return messages;
  };
}
