import { readFileSync } from "node:fs";
import { type Ip, parseIp } from "../../model/ip.ts";
import { serversIn } from "../../model/resolv-conf.ts";

/** The resolver's own file, and that of the servers behind systemd-resolved. */
const files = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/** The IPv4 name servers of this machine: no interface of ours may hide one. */
export const nameServers = (): Ip[] => [...new Set(files.flatMap((path) => ipv4In(textOf(path))))];

/** Pure: the IPv4 servers in the text of a resolv.conf, without loopback. */
export function ipv4In(text: string): Ip[] {
  return serversIn(text).flatMap((address) => {
    const ip = parseIp(address);
    return ip.ok && !ip.value.startsWith("127.") ? [ip.value] : [];
  });
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // Not every system has it.
  }
}
