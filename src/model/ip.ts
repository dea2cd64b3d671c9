import ipaddr from "ipaddr.js";
import { type Parsed, parsed, quote, unparsed } from "./parsed.ts";

declare const brand: unique symbol;
/**
 * An IPv4 address in its one canonical spelling, four decimals without leading
 * zeros. Made only by {@link parseIp} and {@link ipFromNumber}.
 */
export type Ip = string & { readonly [brand]: "Ip" };

/**
 * A range of IPv4 addresses; `first` has its host bits cleared. Made only by
 * {@link parseSubnet}.
 */
export interface Subnet {
  readonly first: number;
  /** 0 to 32. */
  readonly bits: number;
}

/**
 * An IPv6 address in its canonical spelling (RFC 5952). Made only by
 * {@link parseIp6} and {@link ip6At}.
 */
export type Ip6 = string & { readonly [brand6]: "Ip6" };
declare const brand6: unique symbol;

/** An address of either family. */
export type AnyIp = Ip | Ip6;

/**
 * The first 8 bytes of the IPv6 addresses of a /64. Made only by
 * {@link parsePrefix6}.
 */
export type Prefix6 = readonly number[] & { readonly [brand6]: "Prefix6" };

export function parseIp(text: string): Parsed<Ip> {
  const parts = text.split(".");
  const good =
    parts.length === 4 &&
    parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
  return good ? parsed(text as Ip) : unparsed(`${quote(text)} is not an IPv4 address`);
}

/** The address as an unsigned 32-bit number, for ordering and arithmetic. */
export function ipToNumber(ip: Ip): number {
  return ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** Inverse of {@link ipToNumber}; `n` must be 0 to 2^32 - 1. */
export function ipFromNumber(n: number): Ip {
  return [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255].join(".") as Ip;
}

/** `10.107.0.0/16`; set host bits are cleared, as every router does. */
export function parseSubnet(text: string): Parsed<Subnet> {
  const [address = "", bitsText = "", ...rest] = text.split("/");
  const ip = parseIp(address);
  if (!ip.ok || rest.length > 0 || !/^(?:\d|[12]\d|3[0-2])$/.test(bitsText)) {
    return unparsed(`${quote(text)} is not an IPv4 subnet such as "127.0.0.0/8"`);
  }
  const bits = Number(bitsText);
  const size = 2 ** (32 - bits);
  return parsed({ first: Math.floor(ipToNumber(ip.value) / size) * size, bits });
}

export const subnetSize = (subnet: Subnet): number => 2 ** (32 - subnet.bits);
export const subnetHas = (subnet: Subnet, ip: Ip): boolean => {
  const n = ipToNumber(ip);
  return n >= subnet.first && n < subnet.first + subnetSize(subnet);
};
export const subnetText = (subnet: Subnet): string =>
  `${ipFromNumber(subnet.first)}/${subnet.bits}`;

/** Whether two ranges have an address in common. */
export const subnetsOverlap = (a: Subnet, b: Subnet): boolean =>
  a.first < b.first + subnetSize(b) && b.first < a.first + subnetSize(a);

/** All of IPv4 loopback, 127.0.0.0/8. */
export const loopback: Subnet = { first: 0x7f000000, bits: 8 };
export const isLoopbackSubnet = (subnet: Subnet): boolean =>
  subnet.bits >= 8 && subnet.first >>> 24 === 127;

/**
 * Whether a text is an IPv6 address in one of the three forms of RFC 4291,
 * section 2.2, without a zone. ipaddr.js alone would also take groups of five
 * digits and hexadecimal IPv4 parts.
 */
export function isIpv6(text: string): boolean {
  const groups = text.split(":");
  const strict = groups.every(
    (group, i) => /^[0-9a-f]{0,4}$/i.test(group) || (i === groups.length - 1 && parseIp(group).ok),
  );
  return strict && groups.length > 2 && ipaddr.IPv6.isValid(text);
}

/** The 16 bytes of an address; {@link isIpv6} must hold for it. */
export const ipv6Bytes = (address: string): number[] => ipaddr.IPv6.parse(address).toByteArray();

/**
 * The canonical text of an address (RFC 5952); the inverse of
 * {@link ipv6Bytes}.
 */
export const ipv6Text = (bytes: readonly number[]): string =>
  new ipaddr.IPv6([...bytes]).toRFC5952String();

/**
 * Whether `text` is a range such as `10.0.0.0/8` or `fd00::/8` that contains
 * the address `ip`. False for a range or an address that does not parse.
 */
export function rangeHas(text: string, ip: string): boolean {
  const v4 = parseIp(ip);
  if (v4.ok) {
    const subnet = parseSubnet(text);
    return subnet.ok && subnetHas(subnet.value, v4.value);
  }
  const [first = "", bits = "", ...rest] = text.split("/");
  if (!isIpv6(ip) || !isIpv6(first) || rest.length > 0) return false;
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > 128) return false;
  return ipaddr.IPv6.parse(ip).match(ipaddr.IPv6.parse(first), Number(bits));
}

/** Whether two texts are the same IPv6 address, each in any spelling. */
export const isSameIpv6 = (one: string, other: string): boolean =>
  isIpv6(one) && isIpv6(other) && ipv6Text(ipv6Bytes(one)) === ipv6Text(ipv6Bytes(other));

export function parseIp6(text: string): Parsed<Ip6> {
  return isIpv6(text)
    ? parsed(ipv6Text(ipv6Bytes(text)) as Ip6)
    : unparsed(`${quote(text)} is not an IPv6 address`);
}

/** A unique local prefix (RFC 4193), as `fd12:3456:789a::/64`. */
export function parsePrefix6(text: string): Parsed<Prefix6> {
  const [address = "", bits = "", ...rest] = text.split("/");
  const bytes = isIpv6(address) && bits === "64" && rest.length === 0 ? ipv6Bytes(address) : [];
  return bytes[0] === 0xfd
    ? parsed(bytes.slice(0, 8) as readonly number[] as Prefix6)
    : unparsed(`${quote(text)} is not an IPv6 prefix such as "fd12:3456:789a::/64"`);
}

export const prefix6Text = (prefix: Prefix6): string =>
  `${ipv6Text([...prefix, 0, 0, 0, 0, 0, 0, 0, 0])}/64`;

/**
 * Whether an IPv6 address can be the one that belongs to an IPv4 address: it is
 * a unique local one, and its host part is that of the IPv4 address in a subnet
 * of /8 to /30.
 */
export function hasHostPart(ip6: Ip6, ip: Ip): boolean {
  const bytes = ipv6Bytes(ip6);
  if (bytes[0] !== 0xfd || bytes.slice(8, 12).some((byte) => byte !== 0)) return false;
  const host = bytes.slice(12).reduce((sum, byte) => sum * 256 + byte, 0);
  const n = ipToNumber(ip);
  for (let bits = 2; bits <= 24; bits++) if (n % 2 ** bits === host) return true;
  return false;
}

/** The address with this host part, 0 to 2^32 - 1, below a prefix. */
export function ip6At(prefix: Prefix6, host: number): Ip6 {
  const part = [host >>> 24, (host >>> 16) & 255, (host >>> 8) & 255, host & 255];
  return ipv6Text([...prefix, 0, 0, 0, 0, ...part]) as Ip6;
}
