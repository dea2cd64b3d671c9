import type { MachineRoute } from "../../exposure/ground.ts";
import {
  type Attribute,
  attributesIn,
  type NetlinkMessage,
  netlinkBytes,
  netlinkFlags,
  numberIn,
  u32,
} from "../../linux/netlink.ts";
import {
  type AnyIp,
  ipFromNumber,
  ipToNumber,
  ipv6Bytes,
  parseIp,
  type Subnet,
} from "../../model/ip.ts";

// The requests of rtnetlink(7) that an interface of ours needs, and what their
// replies say. Pure.

/** A link of this machine. */
export interface LinkFact {
  readonly index: number;
  readonly name: string;
  readonly isUp: boolean;
  /** `tun`, `dummy`, `bridge`…; empty for a link of a driver. */
  readonly kind: string;
}

/** An address of a link. */
export interface AddressFact {
  readonly index: number;
  /** The bytes of the address and its prefix length, as {@link keyOf} gives. */
  readonly key: string;
}

/** A route of any table. */
export interface RouteFact {
  /** The link; undefined for a route without one. */
  readonly index: number | undefined;
  readonly bytes: readonly number[];
  readonly bits: number;
  /** A route of the table `local` to this machine itself. */
  readonly isLocal: boolean;
}

/** A part of the address space: an address is one with all its bits. */
export interface Range {
  readonly bytes: readonly number[];
  readonly bits: number;
}

const [newLink, oldLink, getLink, newAddress, oldAddress, getAddress] = [16, 17, 18, 20, 21, 22];
const [newRoute, oldRoute, getRoute] = [24, 25, 26];
/** AF_INET and AF_INET6, by the length of an address. */
const familyOf = (bytes: readonly number[]): number => (bytes.length === 4 ? 2 : 10);
const { dump, create, exclusive, append } = netlinkFlags;
const up = 0x1;
const noDuplicateDetection = 0x2;
/** RT_TABLE_LOCAL; RTPROT_STATIC; RT_SCOPE_HOST; RTN_LOCAL. */
const [localTable, byAdministrator, hostScope, localType] = [255, 4, 254, 2];
/** RTM_F_CLONED: an entry of the cache. */
const cloned = 0x200;

export const keyOf = ({ bytes, bits }: Range): string => `${bytes.join(".")}/${bits}`;

export const addressRange = (ip: AnyIp): Range => {
  const bytes = bytesOf(ip);
  return { bytes, bits: bytes.length * 8 };
};
export const subnetRange = ({ first, bits }: Subnet): Range => ({
  bytes: bytesOf(ipFromNumber(first)),
  bits,
});
export const prefixRange = (prefix: readonly number[]): Range => ({
  bytes: [...prefix, ...Array<number>(16 - prefix.length).fill(0)],
  bits: prefix.length * 8,
});

/** The requests for all links, addresses and routes of this machine. */
export const questions = {
  links: netlinkBytes({ type: getLink, flags: dump, head: new Uint8Array(16) }),
  addresses: netlinkBytes({ type: getAddress, flags: dump, head: new Uint8Array(8) }),
  routes: netlinkBytes({ type: getRoute, flags: dump, head: new Uint8Array(12) }),
};

export function upRequest(index: number): Uint8Array {
  const head = new Uint8Array(16);
  const view = new DataView(head.buffer);
  view.setInt32(4, index, true);
  view.setUint32(8, up, true);
  view.setUint32(12, up, true);
  return netlinkBytes({ type: newLink, head });
}

export function removeRequest(index: number): Uint8Array {
  const head = new Uint8Array(16);
  new DataView(head.buffer).setInt32(4, index, true);
  return netlinkBytes({ type: oldLink, head });
}

export function addressRequest(what: "add" | "remove", index: number, range: Range): Uint8Array {
  const head = new Uint8Array(8);
  head.set([familyOf(range.bytes), range.bits, noDuplicateDetection]);
  new DataView(head.buffer).setUint32(4, index, true);
  const value = Uint8Array.from(range.bytes);
  return netlinkBytes({
    type: what === "add" ? newAddress : oldAddress,
    flags: what === "add" ? create | exclusive : 0,
    head,
    // IFA_LOCAL and IFA_ADDRESS.
    attributes: [
      { type: 2, value },
      { type: 1, value },
    ],
  });
}

/**
 * A route that makes every address of the range one of this machine. There may
 * be one on each of two interfaces, while names move from one to the other.
 */
export function routeRequest(what: "add" | "remove", index: number, range: Range): Uint8Array {
  const { bytes, bits } = range;
  const head = new Uint8Array(12);
  head.set([familyOf(bytes), bits, 0, 0, localTable, byAdministrator, hostScope, localType]);
  const attributes: Attribute[] = [
    { type: 1, value: Uint8Array.from(bytes) }, // RTA_DST
    { type: 4, value: u32(index) }, // RTA_OIF
  ];
  return netlinkBytes({
    type: what === "add" ? newRoute : oldRoute,
    flags: what === "add" ? create | append : 0,
    head,
    attributes,
  });
}

export function linksIn(messages: readonly NetlinkMessage[]): LinkFact[] {
  return messages.flatMap(({ type, body }) => {
    if (type !== newLink || body.length < 16) return [];
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    const attributes = attributesIn(body, 16);
    // IFLA_LINKINFO has IFLA_INFO_KIND.
    const kind = attributesIn(attributes.get(18) ?? new Uint8Array(), 0).get(1);
    return [
      {
        index: view.getInt32(4, true),
        name: textIn(attributes.get(3)),
        isUp: (view.getUint32(8, true) & up) !== 0,
        kind: textIn(kind),
      },
    ];
  });
}

const textIn = (value: Uint8Array = new Uint8Array()): string =>
  new TextDecoder().decode(value).replace(/\0.*$/s, "");

export function addressesIn(messages: readonly NetlinkMessage[]): AddressFact[] {
  return messages.flatMap(({ type, body }) => {
    if (type !== newAddress || body.length < 8) return [];
    const attributes = attributesIn(body, 8);
    const bytes = [...(attributes.get(2) ?? attributes.get(1) ?? [])];
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    return [{ index: view.getUint32(4, true), key: keyOf({ bytes, bits: body[1] ?? 0 }) }];
  });
}

export function routesIn(messages: readonly NetlinkMessage[]): RouteFact[] {
  return messages.flatMap(({ type, body }) => {
    const [family, bits = 0, , , table, , , kind] = body;
    if (type !== newRoute || body.length < 12 || (family !== 2 && family !== 10)) return [];
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    if ((view.getUint32(8, true) & cloned) !== 0) return [];
    const attributes = attributesIn(body, 12);
    const length = family === 2 ? 4 : 16;
    const bytes = [...(attributes.get(1) ?? new Uint8Array(length))];
    // Of several ways the first one: its link follows two numbers of 16 bits.
    const index = numberIn(attributes.get(4)) ?? numberIn(attributes.get(9)?.subarray(4));
    const isLocal = table === localTable && kind === localType;
    return [{ index, bytes, bits, isLocal }];
  });
}

/**
 * The routes that an interface must not hide: all but those of `own` links and
 * of multicast.
 */
export function foreignRoutes(
  routes: readonly RouteFact[],
  links: readonly LinkFact[],
  own: ReadonlySet<number>,
): MachineRoute[] {
  const names = new Map(links.map(({ index, name }) => [index, name]));
  return routes.flatMap(({ index, bytes, bits }): MachineRoute[] => {
    if (index !== undefined && own.has(index)) return [];
    const device = names.get(index ?? 0) ?? "";
    if (bytes.length === 16) return [{ to: undefined, to6: { bytes, bits }, device }];
    const ip = parseIp(bytes.join("."));
    return ip.ok ? [{ to: { first: ipToNumber(ip.value), bits }, to6: undefined, device }] : [];
  });
}

const bytesOf = (ip: AnyIp): number[] =>
  ip.includes(":") ? ipv6Bytes(ip) : ip.split(".").map(Number);
