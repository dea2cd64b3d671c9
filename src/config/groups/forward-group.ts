// The settings `forward`: limits and times of connections.
import { z } from "zod";
import { group, setting, text } from "../setting.ts";
import * as values from "../values.ts";

export const forward = group("Limits and times of connections. Times are in seconds.", {
  open_timeout: setting(z.int().min(1).max(300).default(10), {
    description:
      "The longest time for a new connection to open: dial, TLS and the ingress's " +
      "answer together.",
    allowed: "a whole number, 1 to 300",
  }),
  idle_timeout: setting(z.int().min(0).max(604_800).default(0), {
    description: "A connection without traffic for this long is ended. 0 means never.",
    allowed: "a whole number, 0 to 604800",
  }),
  half_close_timeout: setting(z.int().min(0).max(604_800).default(300), {
    description:
      "The longest time without traffic after one side has finished sending. A very " +
      "slow reader counts as idle while it empties the system's buffer, some megabytes. " +
      "0 means no limit.",
    allowed: "a whole number, 0 to 604800",
  }),
  drain_timeout: setting(z.int().min(0).max(3600).default(30), {
    description:
      "How long open connections may continue after the daemon stops or their endpoint " +
      "is removed; then they are reset.",
    allowed: "a whole number, 0 to 3600",
  }),
  handover_timeout: setting(z.int().min(0).max(604_800).default(43_200), {
    description:
      "How long open connections may continue in the old process after `ngrokd upgrade` or " +
      "`ngrokd service restart`; then they are reset.",
    allowed: "a whole number, 0 to 604800",
  }),
  rewrite_host: setting(z.boolean().default(false), {
    description:
      "Whether each request to an HTTP endpoint gets the endpoint's own name as its Host, " +
      "for clients that use an address or another port. TLS is never opened.",
    allowed: "true or false",
  }),
  early_data: setting(z.enum(["off", "on"]).default("off"), {
    description:
      "Whether the client's first bytes, at most 16 KiB, leave together with the request for " +
      "the endpoint. A new connection then costs one round trip less. It fails, and is not " +
      "tried again, if the connection to the ingress proves dead. `ngrokd doctor " +
      "--early-data HOST` tries whether ngrok's ingress supports it.",
    allowed: "off or on",
  }),
  workers: setting(z.union([z.literal("auto"), z.int().min(1).max(32)]).default(1), {
    description:
      "How many processes carry connections. With 1 the daemon does it itself. With more, each " +
      "worker uses a core of its own, and no other work of the daemon delays a byte; each takes " +
      "some 40 MB of memory. auto is 1 on at most two cores, and otherwise one less than the " +
      "cores, at most 4. Linux only.",
    allowed: "auto, or a whole number, 1 to 32",
    needsRestart: true,
  }),
  reserved_ports: setting(z.array(z.int().min(1).max(65_535)).default([22]).readonly(), {
    description:
      "Ports that no endpoint gets: while one is served, a program such as sshd cannot be " +
      "started on this port of all addresses. An empty list allows every port. The list of " +
      "endpoints warns of other ports that sshd or a socket unit of systemd wants, and of " +
      "those for remote logins.",
    allowed: "a list of whole numbers, 1 to 65535",
  }),
  max_connections: setting(z.int().min(0).max(1_000_000).default(0), {
    description:
      "The most open connections in total; others are reset at once. 0 means as many as " +
      "the limit of open files and the memory allow.",
    allowed: "a whole number, 0 to 1000000",
  }),
  max_connections_per_endpoint: setting(z.int().min(0).max(1_000_000).default(0), {
    description:
      "The most open connections of one endpoint; others are reset at once. 0 means no " +
      "such limit.",
    allowed: "a whole number, 0 to 1000000",
  }),
  proxy_url: setting(text(values.optional(values.proxyUrl)).default(""), {
    description:
      "The proxy for connections to ngrok's API and ingress, each in a tunnel that the " +
      "proxy cannot read. Hosts in NO_PROXY are reached directly. If this is not set, " +
      "HTTPS_PROXY or ALL_PROXY of the environment counts.",
    allowed:
      "http://host:port or socks5://host:port, with user:password@ before the host if " +
      "the proxy needs them",
    example: "http://proxy.example.com:3128",
    secret: values.withoutPassword,
  }),
  session_resumption: setting(z.boolean().default(true), {
    description:
      "Whether TLS handshakes with the ingress may resume an earlier session, which is " +
      "faster.",
    allowed: "true or false",
  }),
  pool: group(
    "Connections to the ingress that are ready in advance, so that a new local " +
      "connection does not wait for one.",
    {
      min: setting(z.int().min(0).max(1000).default(1), {
        description: "The fewest ready connections, even without recent demand.",
        allowed: "a whole number, 0 to 1000",
      }),
      max: setting(z.int().min(0).max(1000).default(32), {
        description:
          "The most ready connections; recent demand decides the number. 0 turns the pool off.",
        allowed: "a whole number, 0 to 1000",
      }),
      idle_timeout: setting(z.int().min(2).max(3600).default(60), {
        description:
          "How long a connection is kept ready. The daemon learns a shorter time if the " +
          "ingress closes connections earlier.",
        allowed: "a whole number, 2 to 3600",
      }),
    },
  ),
});
