import { ownAddresses, type VirtualGround } from "../../exposure/ground.ts";
import { NgrokdError } from "../../model/error.ts";
import type { Routing, Tun } from "../../net/types.ts";
import { goInterface } from "./go-interface.ts";
import {
  addressesIn,
  addressRange,
  addressRequest,
  foreignRoutes,
  keyOf,
  type LinkFact,
  linksIn,
  prefixRange,
  questions,
  type Range,
  removeRequest,
  routeRequest,
  routesIn,
  subnetRange,
  upRequest,
} from "./rtnetlink.ts";
import type { Held, LinkSystem } from "./system.ts";

/**
 * Linux: a TUN device that nothing reads, with one `local` route for the subnet
 * and one for the IPv6 prefix. A route is enough for every address below it.
 * The device goes with its descriptor, and the routes go with the device. So a
 * killed daemon leaves nothing.
 */
export function linuxLinks(routing: Routing): LinkSystem {
  const devices = new Map<string, Device>();
  return {
    async routes(device) {
      const links = askFor(routing, "links", linksIn);
      const inherited = links.filter(({ name }) => routing.inherited.includes(name));
      const left = goInterface(device, links, askFor(routing, "addresses", addressesIn));
      const others = left === undefined ? inherited : [...inherited, left];
      const own = new Set([...devices.values(), ...others].map(({ index }) => index));
      return foreignRoutes(askFor(routing, "routes", routesIn), links, own);
    },
    hold: async (grounds) => hold(routing, devices, grounds),
    carry: async () => undefined,
    changed: async () => routing.changed(),
    async close() {
      devices.clear();
      routing.close();
    },
  };
}

/** An interface of ours. */
interface Device {
  readonly tun: Tun;
  readonly index: number;
  /** What we have put on it, by key. */
  readonly addresses: Map<string, Range>;
  readonly routes: Map<string, Range>;
}

function hold(
  routing: Routing,
  devices: Map<string, Device>,
  grounds: readonly VirtualGround[],
): Held {
  const wanted = Map.groupBy(grounds, ({ device }) => device);
  for (const name of devices.keys()) if (!wanted.has(name)) closeDevice(devices, name);
  const mended: string[] = [];
  const removed: string[] = [];
  let withoutIp6: string | undefined;
  for (const [name, here] of wanted) {
    const isNew = !devices.has(name);
    if (isNew && removeGoInterface(routing, name)) removed.push(name);
    const device = livingDevice(routing, devices, name, mended);
    try {
      withoutIp6 ??= fill(routing, device, here, mended);
    } catch (error) {
      if (isNew) closeDevice(devices, name);
      throw error;
    }
  }
  return { mended, removed, withoutIp6 };
}

/** Returns whether there was one. */
function removeGoInterface(routing: Routing, name: string): boolean {
  const links = askFor(routing, "links", linksIn);
  const left = goInterface(name, links, askFor(routing, "addresses", addressesIn));
  if (left === undefined) return false;
  const { errno } = routing.ask(removeRequest(left.index));
  if (errno !== 0) throw refused(`Cannot remove the interface "${name}" of the Go program`, errno);
  return true;
}

function closeDevice(devices: Map<string, Device>, name: string): void {
  devices.get(name)?.tun.close();
  devices.delete(name);
}

/** The device of this name; another one if it was removed or renamed. */
function livingDevice(
  routing: Routing,
  devices: Map<string, Device>,
  name: string,
  mended: string[],
): Device {
  const known = devices.get(name);
  const links = askFor(routing, "links", linksIn);
  const link = links.find(({ index }) => index === known?.index);
  if (known !== undefined && link?.name === name) {
    if (!link.isUp) mended.push("state");
    bringUp(routing, link);
    return known;
  }
  if (known !== undefined) mended.push("interface");
  closeDevice(devices, name);
  const device = newDevice(routing, name);
  devices.set(name, device);
  return device;
}

/** One that fails half way is closed: it would be in the way of the next. */
function newDevice(routing: Routing, name: string): Device {
  const tun = routing.tun(name);
  try {
    const made = askFor(routing, "links", linksIn).find((one) => one.name === name);
    if (made === undefined)
      throw new NgrokdError("network", `Cannot make the interface "${name}": it is gone at once`);
    bringUp(routing, made);
    return { tun, index: made.index, addresses: new Map(), routes: new Map() };
  } catch (error) {
    tun.close();
    throw error;
  }
}

function bringUp(routing: Routing, { index, name, isUp }: LinkFact): void {
  if (isUp) return;
  const { errno } = routing.ask(upRequest(index));
  if (errno !== 0) throw refused(`Cannot start the interface "${name}"`, errno);
}

/** Returns why there are no IPv6 addresses. */
function fill(
  routing: Routing,
  device: Device,
  grounds: readonly VirtualGround[],
  mended: string[],
): string | undefined {
  const { addresses, routes } = wantedOn(grounds);
  const { index } = device;
  const here = (key: { readonly index: number | undefined }): boolean => key.index === index;
  const present = {
    addresses: askFor(routing, "addresses", addressesIn)
      .filter(here)
      .map(({ key }) => key),
    routes: askFor(routing, "routes", routesIn)
      .filter((route) => here(route) && route.isLocal)
      .map(keyOf),
  };
  const parts = [
    { what: "address", wanted: addresses, ours: device.addresses, there: present.addresses },
    { what: "route", wanted: routes, ours: device.routes, there: present.routes },
  ] as const;
  let withoutIp6: string | undefined;
  for (const { what, wanted, ours, there } of parts) {
    const request = what === "address" ? addressRequest : routeRequest;
    const isThere = new Set(there);
    for (const [key, range] of wanted) {
      if (isThere.has(key)) continue;
      const { errno } = routing.ask(request("add", index, range));
      const isSix = range.bytes.length === 16;
      if (errno === 0) {
        if (ours.has(key)) mended.push(what);
        ours.set(key, range);
      } else if (isSix) withoutIp6 ??= "IPv6 is off on this machine";
      else throw refused(`Cannot add the ${what} ${keyOf(range)}`, errno);
    }
    for (const [key, range] of ours) {
      if (wanted.has(key)) continue;
      routing.ask(request("remove", index, range));
      ours.delete(key);
    }
  }
  return withoutIp6;
}

/** Pure: the addresses and routes of these grounds, by key. */
function wantedOn(grounds: readonly VirtualGround[]): {
  addresses: ReadonlyMap<string, Range>;
  routes: ReadonlyMap<string, Range>;
} {
  const addresses = grounds.flatMap((ground) => {
    const { ip, ip6 } = ownAddresses(ground);
    return [ip, ...(ip6 === undefined ? [] : [ip6])].map(addressRange);
  });
  const routes = grounds.flatMap(({ range, range6 }) => [
    subnetRange(range),
    ...(range6 === undefined ? [] : [prefixRange(range6)]),
  ]);
  const byKey = (ranges: readonly Range[]) => new Map(ranges.map((range) => [keyOf(range), range]));
  return { addresses: byKey(addresses), routes: byKey(routes) };
}

function askFor<T>(
  routing: Routing,
  what: keyof typeof questions,
  read: (messages: ReturnType<Routing["ask"]>["messages"]) => T,
): T {
  const { messages, errno } = routing.ask(questions[what]);
  if (errno !== 0) throw refused(`Cannot read the ${what} of this machine`, errno);
  return read(messages);
}

/** EPERM is 1, EACCES 13. */
function refused(action: string, errno: number): NgrokdError {
  return errno === 1 || errno === 13
    ? new NgrokdError("permission", `${action}: this needs the right CAP_NET_ADMIN`)
    : new NgrokdError("network", `${action}: the kernel says error ${errno}`);
}
