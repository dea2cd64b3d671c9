// The settings `dns`: the name server for wildcards.
import { z } from "zod";
import { group, setting, text } from "../setting.ts";
import * as values from "../values.ts";

export const dns = group(
  "A DNS server of the daemon's own. It gives every name below a wildcard endpoint an address " +
    "when a program asks for it.",
  {
    enabled: setting(z.boolean().default(false), {
      description:
        "Whether the DNS server runs, and this machine asks it for the names below wildcards. " +
        "`ngrokd plan` shows what changes on the machine.",
      allowed: "true or false",
    }),
    listen: setting(text(values.dnsAddress).default("127.0.0.1:53"), {
      description: "The address of the DNS server, by UDP and TCP.",
      allowed: "an IP address, or address:port; the port is 53 unless named",
    }),
    clients: setting(z.array(text(values.network)).default([]).readonly(), {
      description:
        "Networks whose machines may ask the DNS server too. This machine always may; all " +
        "others are refused.",
      allowed: "a list of subnets",
      example: ["192.168.0.0/24"],
    }),
    manage_resolv_conf: setting(z.boolean().default(false), {
      description:
        "Whether /etc/resolv.conf may be changed, if neither systemd-resolved nor the dnsmasq " +
        "of NetworkManager sends the right questions to the DNS server. It is then the first " +
        "name server there, until the daemon stops.",
      allowed: "true or false",
    }),
    upstream: setting(z.array(text(values.dnsAddress)).default([]).readonly(), {
      description:
        "DNS servers for all other names, asked at the same time. Without any, the DNS server " +
        "refuses these names, and the resolver asks its next server.",
      allowed: "a list of IP addresses, or address:port",
      example: ["1.1.1.1:53"],
    }),
  },
);
