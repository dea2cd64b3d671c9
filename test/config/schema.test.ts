import { describe, expect, test } from "bun:test";
import { configSchema, defaultConfig, groups, settings } from "../../src/config/schema.ts";
import { valueAt, withValueAt } from "../../src/config/value-at.ts";

const accepts = (key: string, value: unknown): boolean =>
  configSchema.safeParse(withValueAt({}, key.split("."), value)).success;
const settled = (key: string, value: unknown): unknown =>
  valueAt(configSchema.parse(withValueAt({}, key.split("."), value)), key.split("."));

const fingerprint = Array.from({ length: 32 }, () => "CF").join(":");

/** For each setting, values that it accepts and values that it rejects. */
const cases: readonly [key: string, right: readonly unknown[], wrong: readonly unknown[]][] = [
  ["forward.open_timeout", [1, 300], [0, 301, 1.5, "10"]],
  ["forward.idle_timeout", [0, 604800], [-1, 604801, 0.5]],
  ["forward.half_close_timeout", [0, 604800], [-1, 604801, true]],
  ["forward.drain_timeout", [0, 3600], [-1, 3601, "30 s"]],
  ["forward.handover_timeout", [0, 604_800], [-1, 604_801, "12 h"]],
  ["forward.reserved_ports", [[], [22], [22, 3389]], [22, "22", [0], [65_536], ["22"]]],
  ["forward.max_connections", [0, 1000000], [-1, 1000001]],
  ["forward.max_connections_per_endpoint", [0, 1000000], [-1, 1000001]],
  [
    "forward.proxy_url",
    ["", "http://proxy:3128", "socks5h://u:p%40@[::1]", "proxy:3128"],
    ["https://proxy", "socks4://proxy", "http://", "http://a b", "http://p:1/x", 3128],
  ],
  ["forward.session_resumption", [true, false], [1, "maybe"]],
  ["forward.rewrite_host", [true, false], [1, "maybe"]],
  ["forward.early_data", ["off", "on"], [true, "ON", ""]],
  ["forward.workers", ["auto", 1, 2, 32], [0, 33, 1.5, "two", ""]],
  ["forward.pool.min", [0, 1000], [-1, 1001]],
  ["forward.pool.max", [0, 1000], [-1, 1001]],
  ["forward.pool.idle_timeout", [2, 3600], [1, 0, 3601]],
  [
    "api.url",
    [
      "https://api.ngrok.com",
      "https://x.example:8443/v2",
      "http://127.0.0.1:4040",
      "http://localhost:1",
      "http://[::1]:1",
    ],
    [
      "",
      "api.ngrok.com",
      "http://api.ngrok.com",
      "http://127.0.0.1.example.com",
      "http://localhost.example.com",
      "ftp://localhost",
      "https://user:pw@api.ngrok.com",
      "https://api.ngrok.com?a=b",
      "https://api.ngrok.com#x",
      1,
      null,
    ],
  ],
  [
    "api.key",
    ["", "2cVr_abcdefgh", " 2cVr_abcdefgh\n", "x".repeat(512)],
    ["short", "two words", "line\nbreak-here", "ümlaut-key", "x".repeat(513), 12345678],
  ],
  [
    "ingressEndpoint",
    ["ingress.example", "Ingress.Example:8443", "127.0.0.1:1", "[::1]:443", "localhost"],
    [
      "",
      ":443",
      "a b",
      "host:0",
      "host:65536",
      "host:https",
      "::1",
      "https://host",
      "-host",
      "host:443/",
    ],
  ],
  [
    "server.log_level",
    ["debug", "INFO", "Warning", "trace", "error"],
    ["", "loud", "constructor", 1, true],
  ],
  ["server.log_format", ["auto", "text", "json"], ["JSON", "", "logfmt"]],
  ["server.socket_read", ["group", "all"], ["ALL", "", "everyone", 1]],
  [
    "server.socket_path",
    ["/run/ngrokd.sock", `/${"s".repeat(102)}`],
    ["", "ngrokd.sock", "./x", `/${"s".repeat(107)}`, `/${"ü".repeat(54)}`, "/run/\0x", "/run/\nx"],
  ],
  ["server.client_cert", ["/etc/ngrokd/client.crt"], ["", "client.crt", "/a\u007fb"]],
  [
    "server.cert_refresh_interval",
    [1, 604_800],
    [0, -1, 1.5, 604_801, "3600", Number.NaN, Number.POSITIVE_INFINITY],
  ],
  [
    "server.health_address",
    ["0.0.0.0", "::", "::1", "localhost"],
    ["", "127.0.0.1:8081", "[::1]", "example.com", "127.1", "256.0.0.1"],
  ],
  ["server.health_port", [0, 1, 65_535], [-1, 65_536, 80.5, "8081", true]],
  [
    "server.health_hosts",
    [[], ["monitored.example", "MONITOR"]],
    ["monitored.example", [""], ["a b"], ["a.example:8081"], ["*.example"], [1]],
  ],
  [
    "server.dashboard_address",
    ["", "127.0.0.1:8082", "[::1]:8082", "localhost:8082", "127.9.0.1:1"],
    ["127.0.0.1", "0.0.0.0:8082", "[::]:8082", "10.0.0.1:8082", "example.com:80", ":8082", 8082],
  ],
  ["server.ingress_ca", ["", "/etc/ssl/my-ca.pem"], ["my-ca.pem"]],
  [
    "server.ingress_ca_sha256",
    [[], [fingerprint]],
    [["AB:CD"], [`${fingerprint}:00`], [fingerprint.replace("CF", "XX")], fingerprint],
  ],
  ["server.cert_warn_days", [0, 3650], [-1, 3651, 1.5, "14"]],
  ["server.insecure_skip_verify", [true, false], ["true", 1, "yes"]],
  ["bound_endpoints.poll_interval", [1, 86_400], [0, -30, 86_401, "30s", 0.5]],
  [
    "bound_endpoints.selectors",
    [["true"], ["endpoint.metadata.name == 'x'", "false"]],
    ["true", [""], ["  "], [1], {}],
  ],
  [
    "net.subnet",
    ["127.0.0.0/8", "127.7.0.0/16", "10.107.0.0/16", "192.168.0.0/30", "auto"],
    ["", "10.107.0.0", "10.107.0.0/33", "10.0.0.0/7", "10.0.0.0/31", "fd00::/64", "010.0.0.0/8"],
  ],
  [
    "net.subnet6",
    ["auto", "off", "fd12:3456:789a::/64"],
    ["", "on", "fd00::", "fd00::/48", "fe80::/64", "2001:db8::/64", "10.107.0.0/16"],
  ],
  ["net.interface_name", ["ngrokd0", "utun3"], ["", "a b", "a/b", "..", "sixteen-letters-"]],
  [
    "net.listen_interface",
    ["virtual", "0.0.0.0", "::", "eth0"],
    ["", "eth 0", "192.168.0.0/24", "127.0.0.999"],
  ],
  ["net.start_port", [1, 65_535], [0, 65_536]],
  [
    "net.overrides",
    [{}, { "api.example.com": "0.0.0.0", "*.example.com": "eth0" }],
    [{ "a b": "0.0.0.0" }, { "*": "eth0" }, { "a.b": "eth 0" }, { "a.b": "" }, [], "a.b"],
  ],
  ["names.allow", [[], ["a.b", "*", "*.b", "a*.b"]], ["a.b", ["a b"], [""], ["*. "], [1]]],
  ["names.deny", [[], ["*.b"]], ["a.b", ["a/b"]]],
  ["names.only", [[], ["*.b"]], ["a.b", ["a\nb"]]],
  [
    "names.alias",
    [{}, { "a.b": ["c", "d.e"], x: [] }],
    [{ "*.b": ["c"] }, { "a.b": "c" }, { "a.b": ["*"] }, { "a.b": ["c d"] }, []],
  ],
  [
    "names.pin",
    [{}, { "a.b": "127.0.0.9" }],
    [{ "a.b": "::1" }, { "a.b": "127.1" }, { "*.b": "127.0.0.9" }, { "a.b": ["127.0.0.9"] }],
  ],
  [
    "names.expand",
    [{}, { "*.team.internal": ["api", "a.b"], "*.x": [] }],
    [{ "team.internal": ["a"] }, { "*.x": "a" }, { "*.x": ["a b"] }, { "*.x": ["*"] }, []],
  ],
  ["dns.enabled", [true, false], ["on"]],
  [
    "dns.clients",
    [[], ["192.168.0.0/24", "fd00::/64"]],
    ["192.168.0.0/24", ["192.168.0.1"], ["fd00::/129"], ["0::ffff:a00:0/104"], ["x/8"], [""]],
  ],
  [
    "dns.listen",
    ["127.0.0.1:53", "127.0.0.1", "::1", "[::1]:5353"],
    ["", ":53", "localhost:53", "127.0.0.1:99999"],
  ],
  ["dns.manage_resolv_conf", [true], [1]],
  [
    "profiles",
    [{}, { work: {} }, { "a-b_2": { api: { key: "12345678" } } }],
    [{ Work: {} }, { default: {} }, { "2": {} }, { "a/b": {} }, { ["a".repeat(33)]: {} }, "work"],
  ],
  [
    "access.rules",
    [
      [],
      [{ endpoint: "*" }],
      [{ endpoint: "DB.internal:5432", users: ["alice", "1000"], groups: ["dba"] }],
      [{ endpoint: "*.internal", from: ["10.0.0.7", "10.0.0.0/8", "fd00::/8", "::1"] }],
    ],
    [
      {},
      ["*"],
      [{}],
      [{ users: ["alice"] }],
      [{ endpoint: "" }],
      [{ endpoint: "a b" }],
      [{ endpoint: "a.b:0" }],
      [{ endpoint: "a.b:65536" }],
      [{ endpoint: "*", users: [] }],
      [{ endpoint: "*", users: "alice" }],
      [{ endpoint: "*", users: ["a b"] }],
      [{ endpoint: "*", groups: [1] }],
      [{ endpoint: "*", from: ["10.0.0.0/33"] }],
      [{ endpoint: "*", from: ["::ffff:10.0.0.0/104"] }],
      [{ endpoint: "*", from: ["0:0:0:0:0:ffff:10.0.0.1"] }],
      [{ endpoint: "*", from: ["a.example"] }],
      [{ endpoint: "*", user: ["alice"] }],
    ],
  ],
  ["access.hosts", [[], ["api.internal", "*.internal"]], ["api.internal", [""], ["a b"], [1]]],
  ["identity.send", [true, false], ["yes", 1]],
  [
    "identity.annotations",
    [{}, { "ngrok.com/team": "" }, { "ngrok.com/a.b-C_1": "\u00fc".repeat(256) }],
    [
      { team: "a" },
      { "ngrok.com/": "a" },
      { "ngrok.com/user": "root" },
      { "ngrok.com/a/b": "a" },
      { "ngrok.com/-a": "a" },
      { "ngrok.com/a": "two\nlines" },
      { "ngrok.com/a": "x".repeat(257) },
      { "ngrok.com/a": 1 },
      Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`ngrok.com/a${i}`, ""])),
    ],
  ],
  ["identity.user", [true, false], ["yes", 1]],
  ["inspect.endpoints", [[], ["shop.demo", "*.internal:80"]], ["shop.demo", [""], ["a:0"], [1]]],
  ["inspect.headers", [[], ["location", "X-*"]], ["location", [""], ["a b"], ["a:b"], [1]]],
  ["inspect.queries", [true, false], ["yes", 1]],
  ["inspect.body_bytes", [0, 1, 1_048_576], [-1, 1_048_577, 1.5, "1"]],
  ["inspect.exchanges", [1, 10_000], [0, 10_001]],
  ["inspect.minutes", [1, 1440], [0, 1441]],
  ["dns.upstream", [[], ["1.1.1.1", "[2606:4700::1111]:53"]], ["1.1.1.1", ["dns.google"], [""]]],
];

describe("the schema", () => {
  test("has the defaults of the Go program, but for the loopback range", () => {
    expect(defaultConfig).toEqual({
      api: { url: "https://api.ngrok.com", key: "" },
      ingressEndpoint: "kubernetes-binding-ingress.ngrok.io:443",
      server: {
        log_level: "info",
        log_format: "auto",
        socket_path: "/var/run/ngrokd.sock",
        socket_read: "group",
        client_cert: "/etc/ngrokd/tls.crt",
        client_key: "/etc/ngrokd/tls.key",
        cert_refresh_interval: 3600,
        cert_warn_days: 14,
        health_address: "127.0.0.1",
        health_port: 8081,
        health_hosts: [],
        dashboard_address: "",
        ingress_ca: "",
        ingress_ca_sha256: [],
        insecure_skip_verify: false,
      },
      bound_endpoints: { poll_interval: 30, selectors: ["true"] },
      forward: {
        open_timeout: 10,
        idle_timeout: 0,
        half_close_timeout: 300,
        drain_timeout: 30,
        handover_timeout: 43_200,
        rewrite_host: false,
        early_data: "off",
        workers: 1,
        reserved_ports: [22],
        max_connections: 0,
        max_connections_per_endpoint: 0,
        proxy_url: "",
        session_resumption: true,
        pool: { min: 1, max: 32, idle_timeout: 60 },
      },
      net: {
        subnet: "127.0.0.0/8",
        subnet6: "auto",
        interface_name: "ngrokd0",
        listen_interface: "virtual",
        start_port: 9080,
        overrides: {},
      },
      names: { allow: [], deny: [], only: [], alias: {}, pin: {}, expand: {} },
      dns: {
        enabled: false,
        listen: "127.0.0.1:53",
        clients: [],
        manage_resolv_conf: false,
        upstream: [],
      },
      profiles: {},
      access: { rules: [], hosts: [] },
      identity: { send: false, annotations: {}, user: false },
      inspect: {
        endpoints: [],
        headers: [],
        queries: false,
        body_bytes: 0,
        exchanges: 1000,
        minutes: 60,
      },
    });
  });

  test("accepts its own defaults and examples", () => {
    expect(configSchema.parse(defaultConfig)).toEqual(defaultConfig);
    expect(
      settings
        .filter(({ key, example }) => example !== undefined && !accepts(key, example))
        .map(({ key }) => key),
    ).toEqual([]);
  });

  test("returns a frozen configuration", () => {
    for (const { api, bound_endpoints, forward, net, dns, ...rest } of [
      defaultConfig,
      configSchema.parse({ net: { overrides: { "a.b": "virtual" } } }),
    ]) {
      const parts = [
        api,
        forward,
        forward.pool,
        bound_endpoints,
        bound_endpoints.selectors,
        net,
        net.overrides,
        dns,
        dns.upstream,
        rest.server,
      ];
      expect(parts.filter((part) => !Object.isFrozen(part))).toEqual([]);
    }
    expect(Object.isFrozen(defaultConfig)).toBe(true);
  });

  test("explains every setting and group in sentences", () => {
    for (const description of [
      ...settings.map(({ description }) => description),
      ...Object.values(groups),
    ])
      expect(description).toMatch(/^[A-Z].*\.$/);
    for (const { allowed } of settings) expect(allowed).toMatch(/[^.]$/);
    expect(settings.length).toBeGreaterThanOrEqual(39);
    expect(Object.keys(groups)).toEqual([
      "api",
      "server",
      "bound_endpoints",
      "forward",
      "forward.pool",
      "net",
      "names",
      "dns",
      "access",
      "identity",
      "inspect",
    ]);
  });

  test.each(cases)("%s accepts right values and rejects wrong ones", (key, right, wrong) => {
    expect(right.filter((value) => !accepts(key, value))).toEqual([]);
    expect(wrong.filter((value) => accepts(key, value))).toEqual([]);
  });

  test("has a case above for every setting but one path", () => {
    const tested = new Set(cases.map(([key]) => key));
    expect(settings.map(({ key }) => key).filter((key) => !tested.has(key))).toEqual([
      "server.client_key",
    ]);
  });

  test.each([
    ["api.url", "https://API.ngrok.com/", "https://api.ngrok.com"],
    ["api.key", "  2cVr_abcdefgh\n", "2cVr_abcdefgh"],
    ["ingressEndpoint", "Ingress.Example", "ingress.example:443"],
    ["ingressEndpoint", "[::1]", "[::1]:443"],
    ["server.log_level", "WARNING", "warn"],
    ["server.log_level", "trace", "debug"],
    ["forward.proxy_url", "Proxy", "http://proxy:80"],
    ["forward.proxy_url", "socks5h://me:p@[::1]", "socks5://me:p@[::1]:1080"],
    ["net.subnet", "127.7.3.4/16", "127.7.0.0/16"],
    ["net.subnet6", "FD12:0:0:1::5/64", "fd12:0:0:1::/64"],
    ["dns.listen", "::1", "[::1]:53"],
    ["names.allow", ["*.A.b", "C."], ["*.a.b", "c"]],
    ["dns.upstream", ["1.1.1.1"], ["1.1.1.1:53"]],
    ["net.overrides", { "*.Example.com": "virtual" }, { "*.example.com": "virtual" }],
    [
      "access.rules",
      [{ endpoint: "DB.Internal:080", from: ["10.1.2.3/8", "10.1.2.3", "FD00::1", "::/0"] }],
      [
        {
          endpoint: "db.internal:80",
          from: ["10.0.0.0/8", "10.1.2.3/32", "fd00::1/128", "::/0"],
        },
      ],
    ],
    ["names.expand", { "*.Team.internal": ["API"] }, { "*.team.internal": ["api"] }],
    ["dns.clients", ["192.168.0.9/24"], ["192.168.0.0/24"]],
  ])("normalizes %s %j", (key, value, spelling) => {
    expect(settled(key, value)).toEqual(spelling);
  });
});
