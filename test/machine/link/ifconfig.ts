import { readFileSync, writeFileSync } from "node:fs";
import type { NetworkInterfaceInfo } from "node:os";
import { join } from "node:path";

/**
 * A stand-in for ifconfig(8) of macOS. It keeps the addresses of lo0 in a file,
 * prints them as `ifconfig lo0` does, and fails as network_cmds of Apple does:
 * to remove an address that is not there is EADDRNOTAVAIL of SIOCDIFADDR, and
 * to add one again is no error.
 */
const program = `#!/bin/sh
file="$(dirname "$0")/lo0"
[ "$1" = lo0 ] || { echo "ifconfig: interface $1 does not exist" >&2; exit 1; }
shift
add() { grep -qxF "$1" "$file" || echo "$1" >>"$file"; }
remove() {
  grep -qxF "$1" "$file" || { echo "ifconfig: ioctl (SIOCDIFADDR): Can't assign requested address" >&2; exit 1; }
  grep -vxF "$1" "$file" >"$file.new"; mv "$file.new" "$file"
}
case "$*" in
"")
  echo "lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384"
  echo "	options=1203<RXCSUM,TXCSUM,TXSTATUS,SW_TIMESTAMP>"
  while read -r one; do
    case $one in
    127.0.0.1) echo "	inet $one netmask 0xff000000" ;;
    *:*) echo "	inet6 $one prefixlen 128" ;;
    *) echo "	inet $one netmask 0xffffffff" ;;
    esac
  done <"$file" ;;
"inet6 "*" prefixlen 128 alias") add "$2" ;;
"inet6 "*" -alias") remove "$2" ;;
"alias "*" 255.255.255.255") add "$2" ;;
"-alias "*) remove "$2" ;;
*) echo "ifconfig: $*: bad value" >&2; exit 1 ;;
esac
`;

/** Puts the program into a folder. Returns its path. */
export function makeIfconfig(folder: string): string {
  const path = join(folder, "ifconfig");
  writeFileSync(path, program, { mode: 0o755 });
  writeFileSync(join(folder, "lo0"), "127.0.0.1\n");
  return path;
}

/** The addresses of its lo0, as node:os tells them. */
export function lo0In(folder: string): { lo0: NetworkInterfaceInfo[] } {
  const addresses = readFileSync(join(folder, "lo0"), "utf8").trim().split("\n");
  const lo0 = addresses.map((address) => {
    const bits = address.includes(":") ? 128 : address === "127.0.0.1" ? 8 : 32;
    return { address, cidr: `${address}/${bits}` } as NetworkInterfaceInfo;
  });
  return { lo0 };
}
