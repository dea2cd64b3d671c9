import { ipv6Text } from "../../model/ip.ts";

/**
 * The client's part of SOCKS5 (RFC 1928), as far as a proxy needs it that
 * resolves the names itself: no authentication, CONNECT alone, no UDP.
 */

/** The next step of the exchange. */
export type SocksStep =
  | { readonly kind: "more" }
  /** The reply ends the connection; the reason fits after "since". */
  | { readonly kind: "bad"; readonly reply: Uint8Array; readonly reason: string }
  /** `used` bytes are read. */
  | { readonly kind: "methods"; readonly used: number }
  | {
      readonly kind: "target";
      readonly used: number;
      readonly host: string;
      readonly port: number;
    };

const version = 5;
/** "No acceptable methods", for clients that insist on a password. */
const noMethod = Uint8Array.of(version, 0xff);
/** The choice of "no authentication". */
export const methodChosen = Uint8Array.of(version, 0);

/** Pure: the first message, with the methods that the client offers. */
export function methodsIn(bytes: Uint8Array): SocksStep {
  const [first, count = 0] = bytes;
  if (first === undefined) return { kind: "more" };
  if (first !== version)
    return bad(new Uint8Array(0), first === 4 ? "it speaks SOCKS4" : "it does not speak SOCKS5");
  if (bytes.length < 2 || bytes.length < 2 + count) return { kind: "more" };
  return bytes.subarray(2, 2 + count).includes(0)
    ? { kind: "methods", used: 2 + count }
    : bad(noMethod, "it insists on a password");
}

/** Pure: the second message, with the command and the target. */
export function targetIn(bytes: Uint8Array): SocksStep {
  if (bytes.length < 5) return { kind: "more" };
  const [first, command, , type, length = 0] = bytes;
  if (first !== version) return bad(reply("failed"), "its request is not valid");
  const size = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? 1 + length : undefined;
  if (size === undefined) return bad(reply("no-address"), "its kind of address is not known");
  const used = 4 + size + 2;
  if (bytes.length < used) return { kind: "more" };
  if (command !== 1) return bad(reply("no-command"), "it asks for something else than CONNECT");
  const address = bytes.subarray(4, 4 + size);
  const host =
    type === 1
      ? address.join(".")
      : type === 4
        ? ipv6Text([...address])
        : Buffer.from(address.subarray(1)).toString("latin1");
  const port = ((bytes[used - 2] ?? 0) << 8) | (bytes[used - 1] ?? 0);
  return { kind: "target", used, host, port };
}

const codes = {
  connected: 0,
  failed: 1,
  refused: 2,
  unreachable: 4,
  late: 6,
  "no-command": 7,
  "no-address": 8,
} as const;
export type SocksReply = keyof typeof codes;

/** Pure: a reply. The address in it is ours to choose, and nobody uses it. */
export const reply = (kind: SocksReply): Uint8Array =>
  Uint8Array.of(version, codes[kind], 0, 1, 0, 0, 0, 0, 0, 0);

const bad = (answer: Uint8Array, reason: string): SocksStep => ({
  kind: "bad",
  reply: answer,
  reason,
});
