// The settings `net`: the addresses of endpoints.
import { z } from "zod";
import { group, setting, text } from "../setting.ts";
import * as values from "../values.ts";

export const net = group("The addresses that endpoints get on this machine.", {
  subnet: setting(text(values.rangeOrAuto).default("127.0.0.0/8"), {
    description:
      "The range of the addresses. Loopback addresses need nothing of this machine. For " +
      "any other subnet, such as 10.107.0.0/16, the daemon makes a virtual interface, and " +
      "auto takes one that overlaps no network of this machine. If there can be no " +
      "interface, names get loopback addresses, with a warning.",
    allowed: "auto, or an IPv4 subnet of /8 to /30, such as 127.0.0.0/8 or 10.107.0.0/16",
  }),
  subnet6: setting(text(values.prefixOrWord).default("auto"), {
    description:
      "The IPv6 addresses that names get too on the virtual interface: auto is a prefix of " +
      "this machine's own, and off means none. Loopback addresses are IPv4 only.",
    allowed: "auto, off, or a prefix such as fd12:3456:789a::/64",
  }),
  interface_name: setting(text(values.interfaceName).default("ngrokd0"), {
    description: "The name of the virtual interface (Linux).",
    allowed: "the name of an interface, at most 15 characters",
  }),
  listen_interface: setting(text(values.listenInterface).default("virtual"), {
    description:
      "With virtual, only this machine reaches the endpoints. Anything else makes them " +
      "reachable from other machines too, on one address: HTTP and TLS endpoints share the " +
      "port of their URL, and the name that a client asks for decides.",
    allowed: "virtual, an IP address (0.0.0.0 or :: for all), or the name of an interface",
  }),
  start_port: setting(z.int().min(1).max(65_535).default(9080), {
    description:
      "The first port for endpoints that other machines cannot reach on the port of their " +
      "URL, since it is taken. An endpoint keeps its port.",
    allowed: "a whole number, 1 to 65535",
  }),
  overrides: setting(
    z.record(text(values.hostPattern), text(values.listenInterface)).default({}).readonly(),
    {
      description: "A different listen_interface for host names, or for all names below one.",
      allowed: "host names, each with virtual, an IP address or the name of an interface",
      example: { "api.example.com": "0.0.0.0" },
    },
  ),
});
