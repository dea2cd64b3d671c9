import packet from "dns-packet";
import type { Zones } from "../../src/dns/answer.ts";
import { subnet } from "../machine/support.ts";

/** Names as a machine has them, and changes to them. */
export const zonesWith = (changes: Partial<Zones> = {}): Zones => ({
  names: new Map([
    ["api.corp.internal", ["10.107.0.2"]],
    ["known.team.internal", ["10.107.0.3", "fd00::3"]],
  ]),
  wildcards: ["team.internal", "deep.team.internal"],
  pointers: new Map([["10.107.0.2", "api.corp.internal"]]),
  ranges: [subnet("10.107.0.0/16")],
  ipv6: false,
  ...changes,
});

/** The bytes of a question. */
export function question(
  name: string,
  type: packet.RecordType = "A",
  more: Partial<packet.Packet> = {},
): Uint8Array {
  const flags = packet.RECURSION_DESIRED;
  return packet.encode({ type: "query", id: 4711, flags, questions: [{ name, type }], ...more });
}

export const decode = (bytes: Uint8Array): packet.DecodedPacket =>
  packet.decode(Buffer.from(bytes));

/** The code of a reply, such as `NXDOMAIN`. */
export const rcodeOf = (bytes: Uint8Array): string =>
  // The library's form of the code, which its types lack.
  (decode(bytes) as unknown as { rcode: string }).rcode;

/** The addresses and names in a reply. */
export const dataOf = (bytes: Uint8Array): string[] =>
  (decode(bytes).answers ?? []).map((one) => ("data" in one ? String(one.data) : ""));

/** A line for each answer, as dig prints it without numbers. */
export const ownersOf = (bytes: Uint8Array): string[] =>
  (decode(bytes).answers ?? []).map(({ name }) => name);
