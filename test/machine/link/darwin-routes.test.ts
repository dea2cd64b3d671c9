import { describe, expect, test } from "bun:test";
import { decideGround, type MachineRoute } from "../../../src/exposure/ground.ts";
import { routesIn } from "../../../src/machine/link/darwin-routes.ts";
import { parsePrefix6, subnetText } from "../../../src/model/ip.ts";
import { ip, subnet } from "../support.ts";

// As macOS 13 and later print it, with a VPN that takes 10.107/16 and a half of
// everything.
const printed = `Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
0/1                10.8.0.5           UGSc                utun4
default            192.168.0.1        UGScg                 en0
default            link#24            UCSIg               utun6
10.107/16          10.8.0.3           UGSc                utun6
10.207.0.9         10.207.0.9         UH                    lo0
127                127.0.0.1          UCS                   lo0
127.0.0.1          127.0.0.1          UH                    lo0
169.254            link#14            UCS                   en0      !
172.16             link#24            UCS                 utun6
192.168.0          link#14            UCS                   en0      !
192.168.0.1        bc:67:1c:40:3:f6   UHLWIir               en0   1193
224.0.0/4          link#14            UmCS                  en0      !
255.255.255.255/32 link#14            UCS                   en0      !

Internet6:
Destination                             Gateway                                 Flags               Netif Expire
default                                 fe80::%utun0                            UGcIg               utun0
::1                                     ::1                                     UHL                   lo0
fd7a:115c:a1e0::/48                     fe80::1%utun6                           Uc                  utun6
fe80::%lo0/64                           fe80::1%lo0                             UcI                   lo0
ff01::%lo0/32                           ::1                                     UmCI                  lo0
`;

const told = ({ to, to6, device }: MachineRoute): string =>
  `${device} ${to === undefined ? `v6/${to6?.bits}` : subnetText(to)}`;

describe("netstat of macOS", () => {
  test("tells the networks, with zeros and bits that it leaves out", () => {
    expect(routesIn(printed, [ip("10.207.0.9")]).map(told)).toEqual([
      "utun4 0.0.0.0/1",
      "utun6 10.107.0.0/16",
      "lo0 127.0.0.0/8",
      "lo0 127.0.0.1/32",
      "en0 169.254.0.0/16",
      "utun6 172.16.0.0/16",
      "en0 192.168.0.0/24",
      "en0 255.255.255.255/32",
      "lo0 v6/128",
      "utun6 v6/48",
    ]);
  });

  test("with the two columns of older systems tells the same", () => {
    const older = `Destination        Gateway            Flags        Refs      Use   Netif Expire
default            10.10.10.1         UGSc           20       16     en0
10.10.10/24        link#4             UCS             1        0     en0
192.168.220        link#12            UC              1        0  vmnet8
`;
    expect(routesIn(older).map(told)).toEqual(["en0 10.10.10.0/24", "vmnet8 192.168.220.0/24"]);
  });

  test("of another system, or without an answer, tells nothing", () => {
    const linux = `Kernel IP routing table
Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface
10.107.0.0      0.0.0.0         255.255.0.0     U         0 0          0 eth0
`;
    expect([...routesIn(linux), ...routesIn("")]).toEqual([]);
  });

  test("keeps the names out of a VPN's network, which no interface shows", () => {
    const prefix = parsePrefix6("fd11:2233:4455:6677::/64");
    if (!prefix.ok) throw new Error("not a prefix");
    const routes = routesIn(printed.replace(/^0\/1.*\n/m, ""));
    const facts = { routes, prefix: prefix.value, saved: undefined };
    const wish = { subnet6: "auto", device: "ngrokd0" } as const;
    const { ground } = decideGround({ ...wish, subnet: "auto" }, facts);
    expect(subnetText(ground.range)).toBe("198.18.0.0/16");
    const asked = decideGround({ ...wish, subnet: subnet("10.107.0.0/16") }, facts);
    expect(asked.ground.kind).toBe("loopback");
    expect(asked.remarks.join()).toContain("utun6");
  });
});
