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

/** All of IPv4 loopback, 127.0.0.0/8. */
export const loopback: Subnet = { first: 0x7f000000, bits: 8 };
export const isLoopbackSubnet = (subnet: Subnet): boolean =>
  subnet.bits >= 8 && subnet.first >>> 24 === 127;
