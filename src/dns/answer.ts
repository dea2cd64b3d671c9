import { type Hostname, parseHostname } from "../model/hostname.ts";
import { parseIp, type Subnet, subnetHas } from "../model/ip.ts";
import { classes, type DnsRecord, type Reply, rcodes, types } from "./message.ts";

/** The names of this machine, as plain data. */
export interface Zones {
  /** The addresses of each name, in lower case. */
  readonly names: ReadonlyMap<string, readonly string[]>;
  /** The zone of each wildcard: `team.internal` for `*.team.internal`. */
  readonly wildcards: readonly string[];
  /** The name of each address. */
  readonly pointers: ReadonlyMap<string, string>;
  /** The ranges that have only ngrokd's addresses. */
  readonly ranges: readonly Subnet[];
  /** Whether a name gets an IPv6 address too. */
  readonly ipv6: boolean;
}

export interface Question {
  readonly name: string;
  readonly type: number;
  readonly klass: number;
}

/** The answer to one question. */
export type Answer =
  | ({ readonly kind: "reply" } & Reply)
  /** A name below a wildcard that has no address yet. */
  | { readonly kind: "fresh"; readonly host: Hostname; readonly zone: string }
  /** Not a name of ours. */
  | { readonly kind: "outside" };

/**
 * Pure: the answer to a question. A served name never gets silence. For a type
 * that it lacks, the answer is that there is no such record.
 */
export function answer(question: Question, zones: Zones): Answer {
  const { type, klass } = question;
  if (klass !== classes.IN && klass !== classes.ANY) return { kind: "outside" };
  const name = question.name.toLowerCase();
  const addresses = zones.names.get(name);
  const zone = zoneOf(name, zones);
  if (type === types.AXFR || type === types.IXFR)
    return addresses === undefined && zone === undefined ? { kind: "outside" } : refused;
  if (addresses !== undefined) return known(type, addresses, zone ?? name);
  if (zone === undefined) return pointerAnswer(name, type, zones);
  if (name === zone) return soaOnly(type, zone);
  const host = parseHostname(name);
  if (!host.ok) return negative(zone, rcodes.NXDOMAIN);
  const wantsAddress =
    type === types.A || type === types.ANY || (type === types.AAAA && zones.ipv6);
  return wantsAddress ? { kind: "fresh", host: host.value, zone } : negative(zone, rcodes.NOERROR);
}

/** Pure: the reply for a name whose addresses are known now. */
export function known(type: number, addresses: readonly string[], zone: string): Answer {
  const records = addresses.flatMap((data): DnsRecord[] => {
    const kind = data.includes(":") ? "AAAA" : "A";
    return type === types.ANY || type === types[kind] ? [{ type: kind, data }] : [];
  });
  return records.length > 0 ? positive(records) : negative(zone, rcodes.NOERROR);
}

/** Pure: there is no such name, or no such record if `rcode` is NOERROR. */
export const negative = (zone: string, rcode: number): Answer => ({
  kind: "reply",
  rcode,
  authoritative: true,
  answers: [],
  authorities: [soa(zone)],
});

/** Pure: an answer without records. */
export const empty = (rcode: number): Reply => ({
  rcode,
  authoritative: false,
  answers: [],
  authorities: [],
});

const refused: Answer = { kind: "reply", ...empty(rcodes.REFUSED) };

const positive = (answers: readonly DnsRecord[]): Answer => ({
  kind: "reply",
  rcode: rcodes.NOERROR,
  authoritative: true,
  answers,
  authorities: [],
});

const soa = (zone: string): DnsRecord => ({ type: "SOA", data: zone, owner: zone });

const soaOnly = (type: number, zone: string): Answer =>
  type === types.SOA || type === types.ANY ? positive([soa(zone)]) : negative(zone, rcodes.NOERROR);

/** The longest zone that has this name. */
function zoneOf(name: string, { wildcards }: Zones): string | undefined {
  let best: string | undefined;
  for (const zone of wildcards)
    if ((name === zone || name.endsWith(`.${zone}`)) && zone.length > (best?.length ?? -1))
      best = zone;
  return best;
}

/** `4.3.107.10.in-addr.arpa`, and the shorter names above it. */
const reversed = /^((?:\d{1,3}\.){1,4})in-addr\.arpa$/;

function pointerAnswer(name: string, type: number, { pointers, ranges }: Zones): Answer {
  const parts = reversed.exec(name)?.[1]?.split(".").slice(0, -1).reverse();
  if (parts === undefined) return { kind: "outside" };
  const first = parseIp([...parts, "0", "0", "0"].slice(0, 4).join("."));
  if (!first.ok) return { kind: "outside" };
  const host = parts.length === 4 ? pointers.get(first.value) : undefined;
  if (host !== undefined) {
    const wanted = type === types.PTR || type === types.ANY;
    return wanted ? positive([{ type: "PTR", data: host }]) : negative(name, rcodes.NOERROR);
  }
  const range = ranges.find((one) => subnetHas(one, first.value) && one.bits <= parts.length * 8);
  if (range === undefined) return { kind: "outside" };
  const zone = parts.slice(0, Math.ceil(range.bits / 8)).reverse();
  return negative(
    `${zone.join(".")}.in-addr.arpa`,
    parts.length === 4 ? rcodes.NXDOMAIN : rcodes.NOERROR,
  );
}
