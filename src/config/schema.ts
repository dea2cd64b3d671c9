import { z } from "zod";
import { defaultSocketPath } from "./paths.ts";
import { type Described, group, groupsIn, setting, settingsIn, text } from "./setting.ts";
import { isRecord, valueAt } from "./value-at.ts";
import * as values from "./values.ts";

const healthPort = z.union([z.literal("any"), z.int().min(1).max(65_535)]);

const nameLists = {
  allow: setting(z.array(text(values.nameGlob)).default([]).readonly(), {
    description:
      "Names that may be served although they mean something else without ngrokd. Such names " +
      "are refused otherwise.",
    allowed: "a list of names; * stands for any characters",
    example: ["shop.example.com", "*.corp.example.com"],
  }),
  deny: setting(z.array(text(values.nameGlob)).default([]).readonly(), {
    description: "Names that are never served. They come before names.allow.",
    allowed: "a list of names; * stands for any characters",
    example: ["*.bank.example"],
  }),
  only: setting(z.array(text(values.nameGlob)).default([]).readonly(), {
    description: "If there is one, no other name is served.",
    allowed: "a list of names; * stands for any characters",
    example: ["*.internal"],
  }),
};

/**
 * The only description of the configuration file: names, defaults, allowed
 * values and meanings. It makes the template of `config init`,
 * docs/configuration.md and the error messages. The keys are those of the Go
 * program and a few new ones. {@link Config} keeps their spelling, so that
 * file, code and messages use the same names.
 */
const ownShape = {
  api: group("The address of ngrok's API, and the key for it.", {
    url: setting(text(values.apiUrl).default("https://api.ngrok.com"), {
      description:
        "The URL of ngrok's API. Another address is for tests, for example with `ngrokd " +
        "cloud`.",
      allowed: "an https URL; http for this machine alone (localhost, 127.0.0.1, [::1])",
    }),
    key: setting(text(values.optional(values.apiKey)).default(""), {
      description:
        "The API key of your ngrok account, from https://dashboard.ngrok.com/api-keys. " +
        "`ngrokd set-api-key` checks a key and writes it here.",
      allowed: "8 to 512 characters, without spaces",
      secret: true,
    }),
  }),
  ingressEndpoint: setting(
    text(values.ingress).default("kubernetes-binding-ingress.ngrok.io:443"),
    {
      description:
        "The ingress, which carries the connections. If this is not set, the address that " +
        "ngrok returns at the registration is used.",
      allowed: "host or host:port; the port is 443 unless named",
    },
  ),
  server: group("The daemon itself.", {
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
  }),
  bound_endpoints: group("The endpoints to serve, and how soon a change is noticed.", {
    poll_interval: setting(z.int().min(1).max(86_400).default(30), {
      description: "The time in seconds between two polls of ngrok's list of endpoints.",
      allowed: "a whole number, 1 to 86400",
    }),
    selectors: setting(z.array(z.string().trim().min(1)).default(["true"]).readonly(), {
      description: "CEL expressions that select the endpoints of your account; 'true' selects all.",
      allowed: "a list of texts that are not empty",
    }),
  }),
  forward: group("Limits and times of connections. Times are in seconds.", {
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
  }),
  net: group("The addresses that endpoints get on this machine.", {
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
  }),
  names: group("The names of endpoints on this machine.", {
    ...nameLists,
    alias: setting(
      z
        .record(text(values.host), z.array(text(values.host)).readonly())
        .default({})
        .readonly(),
      {
        description:
          "More names for the address of an endpoint, in the hosts file. The service sees the name " +
          "that the client uses, unless `forward.rewrite_host` is on.",
        allowed: "host names of endpoints, each with a list of host names",
        example: { "db.internal": ["db", "postgres"] },
      },
    ),
    pin: setting(z.record(text(values.host), text(values.pinnedIp)).default({}).readonly(), {
      description:
        "The address of a host name. No other name gets it. It must be in net.subnet, and " +
        "other names move away from it.",
      allowed: "host names, each with an IPv4 address",
      example: { "db.internal": "127.0.0.9" },
    }),
    expand: setting(
      z
        .record(text(values.wildcardPattern), z.array(text(values.host)).readonly())
        .default({})
        .readonly(),
      {
        description:
          "Names of a wildcard endpoint that are put into the hosts file, each without the " +
          "wildcard's own part. They need no DNS server.",
        allowed: "wildcards such as *.team.internal, each with a list of names below it",
        example: { "*.team.internal": ["api", "shop"] },
      },
    ),
  }),
  dns: group(
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
  ),
  access: group("Who may connect to the endpoints.", {
    rules: setting(z.array(accessRule()).default([]).readonly(), {
      description:
        "Which users of this machine, and which other machines, may connect to an endpoint. The " +
        "first rule whose `endpoint` fits decides alone. `users` and `groups` name the users who " +
        "may; without them every user may. `from` has the addresses of other machines that may; " +
        "without it none may. An endpoint without a rule is for every user of this machine, and " +
        "for no other machine unless `net.listen_interface` or `net.overrides` opens it.",
      allowed:
        "a list of rules, each with `endpoint` (a host name or host:port; * stands for any " +
        "characters), and with `users`, `groups` or `from` (IP addresses or ranges)",
      example: [
        { endpoint: "db.internal", users: ["alice"] },
        { endpoint: "*", from: ["10.0.0.0/8"] },
      ],
      fields: {
        endpoint: "a host name, or host:port; * stands for any characters",
        users: "a list of names or numbers of users, with at least one",
        groups: "a list of names or numbers of groups, with at least one",
        from: "a list of IP addresses or ranges such as 10.0.0.0/8, with at least one",
      },
    }),
    hosts: setting(z.array(text(values.nameGlob)).default([]).readonly(), {
      description:
        "More names under which HTTP endpoints may be asked, beside their own, those of " +
        "`names.alias`, and addresses, if `forward.rewrite_host` is on. Others are refused, since a web page could make such a " +
        "name lead here. Without rewriting, the service itself sees the name.",
      allowed: "a list of names; * stands for any characters",
      example: ["*.proxy.internal"],
    }),
  }),
  identity: group(
    "What the ingress learns of this machine with each connection, so that traffic policies of " +
      "ngrok can tell machines and users apart.",
    {
      send: setting(z.boolean().default(false), {
        description:
          "Whether each request to the ingress carries a hash of this machine's id, its host name " +
          "and the annotations. ngrok's operator sends the same fields for pods.",
        allowed: "true or false",
      }),
      annotations: setting(
        z
          .record(text(values.annotationName), text(values.annotationValue))
          .refine((all) => Object.keys(all).length <= 32)
          .default({})
          .readonly(),
        {
          description: "Further facts, by names of your choice.",
          allowed:
            "at most 32 names such as ngrok.com/team, but not ngrok.com/user, each with a text of " +
            "at most 256 characters",
          example: { "ngrok.com/team": "payments" },
        },
      ),
      user: setting(z.boolean().default(false), {
        description:
          "Whether the annotation ngrok.com/user names the user of this machine who connects. The " +
          "system is then asked for the owner of each connection.",
        allowed: "true or false",
      }),
    },
  ),
  inspect: group(
    "Reading the HTTP/1 exchanges of chosen endpoints as they pass, for `ngrokd http`. They are " +
      "kept in memory alone.",
    {
      endpoints: setting(z.array(text(values.endpointGlob)).default([]).readonly(), {
        description:
          "The HTTP endpoints whose new connections are read. Without any, nothing is read or " +
          "kept. Exchanges of an endpoint that is taken out are forgotten at once.",
        allowed: "a list of host names, or host:port; * stands for any characters",
        example: ["shop.example.com", "*.internal"],
      }),
      headers: setting(z.array(text(values.fieldGlob)).default([]).readonly(), {
        description:
          "More header fields whose values are kept. Without any, only fields that describe the " +
          "message keep theirs, such as Content-Type. `*` does not mean Authorization, Cookie " +
          "and other credentials: each of those must be named in full.",
        allowed: "a list of names of header fields; * stands for any characters",
        example: ["location", "x-request-*"],
      }),
      queries: setting(z.boolean().default(false), {
        description: "Whether the values in the queries of addresses are kept, too.",
        allowed: "true or false",
      }),
      body_bytes: setting(z.int().min(0).max(1_048_576).default(0), {
        description:
          "The most bytes that are kept of each body. 0 means that no body is kept, and that no " +
          "request can be replayed.",
        allowed: "a whole number, 0 to 1048576",
      }),
      exchanges: setting(z.int().min(1).max(10_000).default(1000), {
        description: "The most exchanges that are kept, of all endpoints together.",
        allowed: "a whole number, 1 to 10000",
      }),
      minutes: setting(z.int().min(1).max(1440).default(60), {
        description: "How long each exchange is kept, in minutes.",
        allowed: "a whole number, 1 to 1440",
      }),
    },
  ),
};

/** The settings of one more account; all others are those of the daemon. */
const profileShape = {
  api: ownShape.api,
  ingressEndpoint: ownShape.ingressEndpoint,
  server: group("The files of the profile.", {
    client_cert: setting(text(values.optional(values.path)).default(""), {
      description: "The client certificate. The profile's state is kept in the same folder.",
      allowed: "an absolute path",
    }),
    client_key: setting(text(values.optional(values.path)).default(""), {
      description: "The private key of the client certificate.",
      allowed: "an absolute path",
    }),
  }),
  bound_endpoints: ownShape.bound_endpoints,
  names: group(
    "Rules for the names of the profile. A list without entries is that of the top level.",
    nameLists,
  ),
};

const shape = {
  ...ownShape,
  profiles: setting(
    z.record(text(values.profileName), z.object(profileShape).readonly()).default({}).readonly(),
    {
      description:
        "More accounts that this daemon serves, by a name of your choice. The settings outside " +
        "are the profile `default`, which is used if it has a key or if there is no other. A " +
        "profile has its own api, ingressEndpoint, bound_endpoints, server.client_cert and " +
        "server.client_key, each with the same default; its files are in profiles/NAME of the " +
        "state folder. It may also have names.allow, names.deny and names.only; a list without " +
        "entries is that of the top level. If two profiles have a host name, the first one in " +
        "this order serves it.",
      allowed:
        "names of at most 32 small letters, digits, - and _ that begin with a letter, each with " +
        "its settings below it",
      example: { work: { api: { key: "key-of-the-other-account" } } },
    },
  ),
};

function accessRule() {
  const some = (rule: values.Rule) => z.array(text(rule)).min(1).readonly().optional();
  return z
    .strictObject({
      endpoint: text(values.endpointGlob),
      users: some(values.accountName),
      groups: some(values.accountName),
      from: some(values.anyRange),
    })
    .readonly();
}

export const configSchema = z.object(shape).readonly();
export type Config = z.output<typeof configSchema>;
export type ProfileConfig = Config["profiles"][string];

/** A setting's dotted name, such as `server.log_level`. */
export type SettingKey = KeysOf<Config>;
type KeysOf<C> = {
  [K in keyof C & string]: IsValue<C[K]> extends true ? K : `${K}.${KeysOf<C[K]>}`;
}[keyof C & string];
/** A map with names chosen by the user is a value and not a group. */
type IsValue<T> = T extends string | number | boolean | readonly unknown[]
  ? true
  : string extends keyof T
    ? true
    : false;

/** A setting's dotted name below a profile, or the profile itself. */
export type ProfileKey = `profiles.${string}`;

/** Every setting at its default. */
export const defaultConfig: Config = configSchema.parse({});

export interface Setting<Key extends string = SettingKey> extends Described {
  readonly key: Key;
}

/** All settings in the order of the documentation. */
export const settings = settingsIn(shape, defaultConfig) as readonly Setting[];

/** The settings of a profile, by their names below it. */
export const profileSettings = settingsIn(profileShape, z.object(profileShape).parse({}));

/**
 * Every single setting that these values have or may have: those of the top
 * level, and those of each profile.
 */
export function settingsFor(root: unknown): readonly Setting<SettingKey | ProfileKey>[] {
  return [
    ...settings.filter(({ key }) => key !== "profiles"),
    ...profileNames(root).flatMap((name) => settingsOfProfile(name)),
  ];
}

/** The settings of a profile, by their names from the root of the file. */
export const settingsOfProfile = (name: string): Setting<ProfileKey>[] =>
  profileSettings.map((one) => ({
    ...one,
    key: `profiles.${name}.${one.key}`,
    path: ["profiles", name, ...one.path],
  }));

/** A profile without settings. */
export const emptyProfile: ProfileConfig = z.object(profileShape).readonly().parse({});

/** The names of the profiles beside the default one, in their order. */
export function profileNames(root: unknown): string[] {
  const profiles = valueAt(root, ["profiles"]);
  return isRecord(profiles) ? Object.keys(profiles) : [];
}

/** The description of each group of settings, by its dotted name. */
export const groups: Readonly<Record<string, string>> = groupsIn(shape);
