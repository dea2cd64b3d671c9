// The settings `server`: the daemon itself.
import { z } from "zod";
import { defaultSocketPath } from "../paths.ts";
import { group, setting, text } from "../setting.ts";
import * as values from "../values.ts";

const healthPort = z.union([z.literal("any"), z.int().min(1).max(65_535)]);

export const server = group("The daemon itself.", {
  log_level: setting(
    z.preprocess(values.logLevel, z.enum(["debug", "info", "warn", "error"])).default("info"),
    {
      description: "The lowest level of messages in the log.",
      allowed: "debug, info, warn or error",
    },
  ),
  log_format: setting(z.enum(["auto", "text", "json"]).default("auto"), {
    description:
      "The format of log lines: text, or one JSON object per line. `auto` means text on " +
      "a terminal, and JSON elsewhere.",
    allowed: "auto, text or json",
  }),
  socket_path: setting(text(values.socketPath).default(defaultSocketPath), {
    description: "The unix socket on which commands such as `ngrokd status` reach the daemon.",
    allowed: "an absolute path of at most 107 bytes (103 on macOS)",
    needsRestart: true,
  }),
  socket_read: setting(z.enum(["group", "all"]).default("group"), {
    description:
      "Who may ask the daemon for its state (`status`, `list`, `health`) beside root: the " +
      "group `ngrokd`, or all users of this machine. Only root and the group may change " +
      "something. `all` takes effect on Linux alone, where the daemon knows who asks.",
    allowed: "group or all",
    needsRestart: true,
  }),
  client_cert: setting(text(values.path).default("/etc/ngrokd/tls.crt"), {
    description:
      "The client certificate that ngrok signed (PEM). The daemon's state is kept in the " +
      "same folder.",
    allowed: "an absolute path",
    needsRestart: true,
  }),
  client_key: setting(text(values.path).default("/etc/ngrokd/tls.key"), {
    description: "The private key of the client certificate (PEM).",
    allowed: "an absolute path",
    needsRestart: true,
  }),
  cert_refresh_interval: setting(z.int().min(1).max(604_800).default(3600), {
    description:
      "The longest time in seconds between two checks of the client certificate. Every " +
      "poll checks it too, and a renewal is never late. A value below " +
      "`bound_endpoints.poll_interval` makes polls as frequent.",
    allowed: "a whole number, 1 to 604800",
  }),
  cert_warn_days: setting(z.int().min(0).max(3650).default(14), {
    description:
      "Warn in `ngrokd status` and /readyz if the client certificate ends within this " +
      "number of days and its renewal is due. 0 means to warn only if it has " +
      "expired or its renewal has failed.",
    allowed: "a whole number, 0 to 3650",
  }),
  health_address: setting(text(values.listenHost).default("127.0.0.1"), {
    description:
      "The address on which the health server (/healthz, /readyz, /status, /metrics) listens.",
    allowed: "an IP address, or localhost",
  }),
  health_port: setting(z.preprocess(values.healthPort, healthPort).default(8081), {
    description:
      "The port of the health server. The word any means a free port, which the log shows.",
    allowed: "a whole number, 1 to 65535, or any",
  }),
  health_hosts: setting(z.array(text(values.host)).default([]).readonly(), {
    description:
      "The names under which the health server may be asked, beside addresses and localhost. " +
      "It refuses others, since a web page could make such a name lead here.",
    allowed: "a list of host names",
  }),
  dashboard_address: setting(text(values.optional(values.loopbackPort)).default(""), {
    description:
      "Where browsers of this machine reach the dashboard and the API. Without an address " +
      "nothing is served. `ngrokd dashboard` prints a link, which works once.",
    allowed: "a loopback address and a port",
    example: "127.0.0.1:8082",
  }),
  ingress_ca: setting(text(values.optional(values.path)).default(""), {
    description:
      "An additional certificate authority to trust for the ingress: a PEM file, or a " +
      "folder of PEM files.",
    allowed: "an absolute path",
  }),
  ingress_ca_sha256: setting(z.array(text(values.fingerprint)).default([]).readonly(), {
    description:
      "SHA-256 fingerprints of CAs, beside that of ngrok's own, that are trusted as soon as " +
      "the ingress shows them.",
    allowed: "a list of SHA-256 fingerprints of certificates in hexadecimal",
    example: ["cfce8a27b74e0c51c654739a353e51c135260b5b977d29df67038be7ef6ff847"],
  }),
  insecure_skip_verify: setting(z.boolean().default(false), {
    description:
      "DANGEROUS: do not verify the ingress. Anyone on the network path can then read " +
      "and change every connection.",
    allowed: "true or false",
  }),
});
