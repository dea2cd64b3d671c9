import {
  type Ip,
  type Ip6,
  ip6At,
  ipFromNumber,
  ipToNumber,
  isLoopbackSubnet,
  loopback,
  type Prefix6,
  parseIp,
  parsePrefix6,
  parseSubnet,
  prefix6Text,
  rangeHas,
  type Subnet,
  subnetHas,
  subnetsOverlap,
  subnetText,
} from "../model/ip.ts";

/**
 * Where the addresses of the names come from. `virtual`: an interface of our
 * own carries them. Its own address has the host part {@link ownHost}.
 */
export type Ground = LoopbackGround | VirtualGround;

export interface LoopbackGround {
  readonly kind: "loopback";
  readonly range: Subnet;
}

export interface VirtualGround {
  readonly kind: "virtual";
  readonly range: Subnet;
  /** The IPv6 addresses; undefined if there are none. */
  readonly range6: Prefix6 | undefined;
  /** The name of the interface. */
  readonly device: string;
}

/** The ground as configured. */
export interface GroundWish {
  readonly subnet: Subnet | "auto";
  readonly subnet6: Prefix6 | "auto" | "off";
  readonly device: string;
}

/** A route of this machine. Default routes count as none. */
export interface MachineRoute {
  /** IPv4; undefined for an IPv6 route. */
  readonly to: Subnet | undefined;
  /** IPv6: the first 16 bytes and their number of bits that count. */
  readonly to6: { readonly bytes: readonly number[]; readonly bits: number } | undefined;
  /** The name of the interface; empty if the route has none. */
  readonly device: string;
  /** It is not a route, but a name server. */
  readonly isServer?: true;
}

export interface GroundFacts {
  /** Without the routes of our own interface. */
  readonly routes: readonly MachineRoute[];
  /** The prefix of this machine. */
  readonly prefix: Prefix6;
  /** The name servers of this machine, which may be far behind a gateway. */
  readonly servers?: readonly Ip[];
  /** A saved address: `auto` keeps to its range if it can. */
  readonly saved: Ip | undefined;
}

export interface GroundDecision {
  readonly ground: Ground;
  /** Sentences for the user. */
  readonly remarks: readonly string[];
}

/** The ground that needs nothing of the machine. */
export const loopbackGround: LoopbackGround = { kind: "loopback", range: loopback };

/** The host part of the interface's own address. */
export const ownHost = 1;

/**
 * The subnets of `auto`, in their order: three of RFC 1918 that neither Docker
 * nor home routers give out, and one of RFC 2544 for machines whose VPN takes
 * all of those.
 */
export const autoSubnets: readonly Subnet[] = [
  { first: 0x0a6b0000, bits: 16 }, // 10.107.0.0/16
  { first: 0x0acf0000, bits: 16 }, // 10.207.0.0/16
  { first: 0xac100000, bits: 16 }, // 172.16.0.0/16
  { first: 0xc6120000, bits: 16 }, // 198.18.0.0/16
];

/** The wish in the texts of the configuration; they are valid there. */
export function groundWish(net: {
  readonly subnet: string;
  readonly subnet6: string;
  readonly interface_name: string;
}): GroundWish {
  const subnet = parseSubnet(net.subnet);
  const prefix = parsePrefix6(net.subnet6);
  const word = net.subnet6 === "off" ? "off" : "auto";
  return {
    subnet: net.subnet === "auto" ? "auto" : subnet.ok ? subnet.value : loopback,
    subnet6: prefix.ok ? prefix.value : word,
    device: net.interface_name,
  };
}

/** Whether the wish needs an interface of our own. */
export const needsDevice = ({ subnet }: GroundWish): boolean =>
  subnet === "auto" || !isLoopbackSubnet(subnet);

/**
 * Pure: the ground for a wish. The local route of an interface of ours comes
 * before every other route, so it must hide none: an explicit subnet that
 * contains a network of this machine is not used, and loopback is. If it is
 * only a part of a wider network, it is used, with a remark. `auto` takes a
 * subnet that touches no network at all.
 */
export function decideGround(wish: GroundWish, facts: GroundFacts): GroundDecision {
  const { subnet, device } = wish;
  if (subnet !== "auto" && isLoopbackSubnet(subnet))
    return { ground: { kind: "loopback", range: subnet }, remarks: [] };
  const routes = [...facts.routes, ...(facts.servers ?? []).map(serverRoute)];
  const { range, remarks } =
    subnet === "auto" ? chosen(routes, facts.saved) : checked(subnet, routes);
  if (range === undefined) return { ground: loopbackGround, remarks };
  const six = decidePrefix(wish, facts);
  return {
    ground: { kind: "virtual", range, range6: six.prefix, device },
    remarks: [...remarks, ...six.remarks],
  };
}

/** The IPv6 address that belongs to an address of the ground. */
export function ip6Of(ground: Ground, ip: Ip): Ip6 | undefined {
  if (ground.kind === "loopback" || ground.range6 === undefined) return undefined;
  if (!subnetHas(ground.range, ip)) return undefined;
  return ip6At(ground.range6, ipToNumber(ip) - ground.range.first);
}

/** Whether an address is one of the ground. */
export function groundHas(ground: Ground, address: string): boolean {
  const ip = parseIp(address);
  if (ip.ok) return subnetHas(ground.range, ip.value);
  const prefix = ground.kind === "virtual" ? ground.range6 : undefined;
  return prefix !== undefined && rangeHas(prefix6Text(prefix), address);
}

/** The addresses of the interface itself. */
export const ownAddresses = ({
  range,
  range6,
}: VirtualGround): { ip: Ip; ip6: Ip6 | undefined } => ({
  ip: ipFromNumber(range.first + ownHost),
  ip6: range6 === undefined ? undefined : ip6At(range6, ownHost),
});

/** Whether two grounds give the same addresses on the same interface. */
export const sameGround = (a: Ground, b: Ground): boolean => groundText(a) === groundText(b);

/** `127.0.0.0/8`, or `10.107.0.0/16 and fd…::/64 on ngrokd0`. */
export function groundText(ground: Ground): string {
  if (ground.kind === "loopback") return subnetText(ground.range);
  const { range, range6, device } = ground;
  const six = range6 === undefined ? "" : ` and ${prefix6Text(range6)}`;
  return `${subnetText(range)}${six} on ${device}`;
}

/** The ground as plain texts; a missing part is an empty text. */
export interface NetworkFacts {
  readonly kind: Ground["kind"];
  readonly interface: string;
  readonly subnet: string;
  readonly subnet6: string;
}

export function networkFacts(ground: Ground): NetworkFacts {
  const subnet = subnetText(ground.range);
  if (ground.kind === "loopback") return { kind: "loopback", interface: "", subnet, subnet6: "" };
  const { kind, device, range6 } = ground;
  const subnet6 = range6 === undefined ? "" : prefix6Text(range6);
  return { kind, interface: device, subnet, subnet6 };
}

interface Choice {
  readonly range: Subnet | undefined;
  readonly remarks: readonly string[];
}

function chosen(routes: readonly MachineRoute[], saved: GroundFacts["saved"]): Choice {
  const before = autoSubnets.filter((subnet) => saved !== undefined && subnetHas(subnet, saved));
  const inOrder = [...before, ...autoSubnets.filter((subnet) => !before.includes(subnet))];
  const range = inOrder.find((subnet) => routeInto(subnet, routes) === undefined);
  if (range !== undefined) return { range, remarks: [] };
  const list = autoSubnets
    .map((subnet) => overlapText(subnet, routeInto(subnet, routes)))
    .join("; ");
  return {
    range,
    remarks: [`net.subnet: auto finds no free subnet, and loopback is used: ${list}`],
  };
}

function checked(range: Subnet, routes: readonly MachineRoute[]): Choice {
  const inner = routeInto(range, routes, (to) => to.bits >= range.bits);
  if (inner !== undefined)
    return {
      range: undefined,
      remarks: [
        `${overlapText(range, inner)}, so loopback is used; net.subnet: auto takes a free one`,
      ],
    };
  const outer = routeInto(range, routes);
  const remark = `${overlapText(range, outer)}: this machine cannot reach that part of it; net.subnet: auto takes a free one`;
  return { range, remarks: outer === undefined ? [] : [remark] };
}

/** The narrowest route that touches a subnet. */
function routeInto(
  range: Subnet,
  routes: readonly MachineRoute[],
  counts: (to: Subnet) => boolean = () => true,
): MachineRoute | undefined {
  return routes
    .filter(({ to }) => to !== undefined && !isWide(to.bits) && subnetsOverlap(to, range))
    .filter(({ to }) => to !== undefined && counts(to))
    .sort((a, b) => (b.to?.bits ?? 0) - (a.to?.bits ?? 0))[0];
}

const serverRoute = (ip: Ip): MachineRoute => ({
  to: { first: ipToNumber(ip), bits: 32 },
  to6: undefined,
  device: "",
  isServer: true,
});

/** A default route, which a VPN may set in two or more parts. */
const isWide = (bits: number): boolean => bits < 8;

function overlapText(range: Subnet, route: MachineRoute | undefined): string {
  const to = route?.to === undefined ? "" : subnetText(route.to);
  if (route?.isServer)
    return `net.subnet ${subnetText(range)} contains the name server ${to.replace("/32", "")}`;
  const device = route?.device ? ` of the interface "${route.device}"` : "";
  return `net.subnet ${subnetText(range)} overlaps the network ${to}${device}`;
}

function decidePrefix(
  { subnet6 }: GroundWish,
  { routes, prefix: own }: GroundFacts,
): { prefix: Prefix6 | undefined; remarks: readonly string[] } {
  if (subnet6 === "off") return { prefix: undefined, remarks: [] };
  const prefix = subnet6 === "auto" ? own : subnet6;
  const other = routes.find(({ to6 }) => to6 !== undefined && touches(prefix, to6));
  if (other === undefined) return { prefix, remarks: [] };
  const what = `net.subnet6 ${prefix6Text(prefix)} overlaps a network of the interface "${other.device}"`;
  return { prefix: undefined, remarks: [`${what}, so names get no IPv6 addresses`] };
}

/** Within the first 64 bits, without routes for all unique local addresses. */
function touches(prefix: Prefix6, { bytes, bits }: NonNullable<MachineRoute["to6"]>): boolean {
  const shared = Math.min(bits, 64);
  if (shared < 16) return false;
  return prefix.every((byte, i) => {
    const inByte = Math.min(8, Math.max(0, shared - 8 * i));
    const mask = 0xff & (0xff << (8 - inByte));
    return (byte & mask) === ((bytes[i] ?? 0) & mask);
  });
}
