import type { AddressFact, LinkFact } from "./rtnetlink.ts";

/**
 * Pure: the interface of this name that the Go program has left behind;
 * undefined if there is none. That program makes a link of the kind `dummy`,
 * which stays when its daemon is killed. It has addresses of one subnet, and
 * among them the one that ends in .1. Another link of the name is not ours to
 * remove.
 */
export function goInterface(
  name: string,
  links: readonly LinkFact[],
  addresses: readonly AddressFact[],
): LinkFact | undefined {
  const link = links.find((one) => one.name === name && one.kind === "dummy");
  const ranges = addresses.flatMap(({ index, key }) => (index === link?.index ? rangeIn(key) : []));
  const [first] = ranges;
  if (link === undefined || first === undefined) return undefined;
  const isOneSubnet = ranges.every((range) => range.bits === first.bits && range.net === first.net);
  return isOneSubnet && ranges.some(({ last }) => last === 1) ? link : undefined;
}

interface Range {
  readonly bits: number;
  /** The first address of the subnet. */
  readonly net: number;
  /** The last part of the address. */
  readonly last: number;
}

/** Of an IPv4 address; an IPv6 address says nothing here. */
function rangeIn(key: string): Range[] {
  const [address = "", bitsText = ""] = key.split("/");
  const parts = address.split(".").map(Number);
  const [a = 0, b = 0, c = 0, last = 0] = parts;
  const bits = Number(bitsText);
  if (parts.length !== 4) return [];
  const size = 2 ** (32 - bits);
  const whole = ((a * 256 + b) * 256 + c) * 256 + last;
  return [{ bits, net: Math.floor(whole / size) * size, last }];
}
