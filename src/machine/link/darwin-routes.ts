import type { MachineRoute } from "../../exposure/ground.ts";
import { type AnyIp, ipv6Bytes, isIpv6, isSameIpv6, parseSubnet } from "../../model/ip.ts";

/** The program that prints the routes, and its arguments. */
export const netstatPath = "/usr/sbin/netstat";
export const netstatWords: readonly string[] = ["-rn"];

/**
 * Pure: the routes in the output of netstat(1) of macOS. Default routes,
 * multicast, neighbours, link-local addresses and `ours` are left out. The
 * header names the columns, since older systems have two more of them (`Refs`,
 * `Use`). An IPv4 destination lacks its last zeros, and also its bits if they
 * follow from the octets that are left: `127`, `192.168.1`, `10.107/16`.
 */
export function routesIn(text: string, ours: readonly AnyIp[] = []): MachineRoute[] {
  const isOurs = (destination: string): boolean =>
    ours.some((one) => one === destination || isSameIpv6(one, destination));
  let columns: readonly string[] = [];
  return text.split("\n").flatMap((line): MachineRoute[] => {
    const words = line.trim().split(/\s+/);
    if (words[0] === "Destination") {
      columns = words;
      return [];
    }
    const word = (name: string): string => words[columns.indexOf(name)] ?? "";
    const [destination, flags, device] = [word("Destination"), word("Flags"), word("Netif")];
    if (device === "" || /[mbW]/.test(flags) || isOurs(destination)) return [];
    return routeTo(destination, device);
  });
}

function routeTo(destination: string, device: string): MachineRoute[] {
  const [address = "", bits] = destination.split("/");
  if (address.includes(":")) {
    if (!isIpv6(address) || /^(?:fe[89ab]|ff)/i.test(address)) return [];
    return [
      { to: undefined, to6: { bytes: ipv6Bytes(address), bits: Number(bits ?? 128) }, device },
    ];
  }
  const octets = address.split(".");
  const whole = [...octets, "0", "0", "0"].slice(0, 4).join(".");
  const to = parseSubnet(`${whole}/${bits ?? octets.length * 8}`);
  if (!to.ok || to.value.bits === 0) return [];
  return [{ to: to.value, to6: undefined, device }];
}
