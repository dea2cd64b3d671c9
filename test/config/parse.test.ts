import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { stringify } from "yaml";
import { parseConfig, type Reading } from "../../src/config/parse.ts";
import { problemText } from "../../src/config/problem.ts";
import { configSchema, defaultConfig } from "../../src/config/schema.ts";
import { valueAt } from "../../src/config/value-at.ts";
import { ngrokCa } from "../../src/ingress/trust.ts";
import { anyText } from "../support/texts.ts";
import { fileOfTheGoProgram } from "./support.ts";

const read = (text: string): Reading => parseConfig(text, "c.yml");
const said = (text: string): string[] => {
  const { problems, warnings } = read(text);
  return [...problems, ...warnings].map(problemText);
};

describe("parseConfig", () => {
  test.each([
    ["brackets", `x: ${"[".repeat(100_000)}`],
    ["brackets that close", `x: ${"[".repeat(10_000)}${"]".repeat(10_000)}`],
    ["maps in braces", `${"{a: ".repeat(10_000)}${"}".repeat(10_000)}`],
    ["items in one line", `x:\n  ${"- ".repeat(10_000)}`],
    ["indented maps", Array.from({ length: 500 }, (_, i) => `${" ".repeat(i)}a:`).join("\n")],
  ])("refuses %s that are nested deeper than any setting", (_, text) => {
    const { problems } = read(text);
    expect(problems).toMatchObject([{ kind: "syntax", line: expect.any(Number) }]);
    expect(problems[0]?.message).toBe("values are nested more than 32 levels deep here");
  });

  test("names a hundred unknown settings, and counts the rest", () => {
    const { warnings } = read(Array.from({ length: 50_000 }, (_, i) => `k${i}: 1`).join("\n"));
    expect(warnings).toHaveLength(101);
    expect(warnings[99]?.message).toStartWith('there is no setting "k99"');
    expect(warnings[100]?.message).toBe("49900 more names are no settings");
  });

  test.each([
    ["", "net:\n  overrides:\n", ""],
    [", behind an alias", "x: &many\n", "\nnet: { overrides: *many }"],
  ])("finds tens of thousands of wrong values in their lines%s", (_, before, after) => {
    const lines = Array.from({ length: 20_000 }, (_, i) => `    "h${i} x": ${i}`);
    const { problems } = read(`${before}${lines.join("\n")}${after}`);
    expect(problems).toHaveLength(20_000);
    const key = 'net.overrides["h19999 x"]';
    expect(problems.at(-1)).toMatchObject({ line: 20_002 - Number(after !== ""), key });
  });

  test("reads empty files, comments and empty values as defaults", () => {
    for (const text of [
      "",
      "\n",
      "# nothing\n",
      "---\n",
      "\ufeff",
      "~",
      "api:\nserver: {}\n",
      "api: {url: '', key: }\nbound_endpoints: {selectors: []}\n",
    ]) {
      const { values, problems, warnings } = read(text);
      expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
      expect(configSchema.parse(values)).toEqual(defaultConfig);
    }
  });

  test("reads rules of access with numbers as texts, and knows their lines", () => {
    const text = [
      "access:",
      "  rules:",
      "    - endpoint: db.internal:5432",
      "      users: [alice, 1000]",
      "    # for all others",
      '    - {endpoint: "*", from: [10.0.0.0/8]}',
      "",
    ].join("\n");
    const { values, problems, warnings, ruleLines } = read(text);
    expect({ problems, warnings, ruleLines }).toEqual({
      problems: [],
      warnings: [],
      ruleLines: [3, 6],
    });
    expect(configSchema.parse(values).access.rules).toEqual([
      { endpoint: "db.internal:5432", users: ["alice", "1000"] },
      { endpoint: "*", from: ["10.0.0.0/8"] },
    ]);
    expect(read("").ruleLines).toEqual([]);
    expect(read("access: {rules: 7}").ruleLines).toEqual([]);
  });

  test("names each wrong part of a rule, with its line", () => {
    const text = [
      "access:",
      "  rules:",
      "    - users: [alice]",
      "    - endpoint: a b",
      "    - endpoint: db",
      "      user: [alice]",
      "    - {endpoint: db, from: [10.0.0.1, 10.0.0.0/33]}",
      "    - {endpoint: db, users: []}",
      "    - db",
      "",
    ].join("\n");
    const names = "a host name, or host:port; * stands for any characters";
    const fields = "endpoint, users, groups, from";
    expect(said(text)).toEqual([
      `c.yml:3:7: access.rules[1].endpoint is empty; allowed: ${names}`,
      `c.yml:4:17: access.rules[2].endpoint is "a b"; allowed: ${names}`,
      `c.yml:6:13: access.rules[3].user is no field of a rule (${fields}); did you mean "users"?`,
      'c.yml:7:39: access.rules[4].from[2] is "10.0.0.0/33"; allowed: a list of IP addresses or ranges such as 10.0.0.0/8, with at least one',
      "c.yml:8:29: access.rules[5].users is a list; allowed: a list of names or numbers of users, with at least one",
      expect.stringMatching(
        /^c\.yml:9:7: access\.rules\[6\] is "db"; allowed: a list of rules, each/,
      ),
    ]);
  });

  test("loads the file of the Go program unchanged", () => {
    const { values, problems, warnings } = read(fileOfTheGoProgram);
    expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
    expect(configSchema.parse(values)).toEqual({
      ...defaultConfig,
      net: { ...defaultConfig.net, subnet: "10.107.0.0/16" },
    });
  });

  test("reads scalars as the Go program's YAML does", () => {
    const text = `api: {key: 12345678}
bound_endpoints: {selectors: [true, 0x10]}
dns: {enabled: yes, manage_resolv_conf: Off}
server: {log_level: WARNING}
`;
    expect(said(text)).toEqual([]);
    const config = configSchema.parse(read(text).values);
    expect(config.api.key).toBe("12345678");
    expect(config.server.log_level).toBe("warn");
    expect(config.bound_endpoints.selectors).toEqual(["true", "0x10"]);
    expect(config.dns).toMatchObject({ enabled: true, manage_resolv_conf: false });
  });

  test("follows anchors and merge keys", () => {
    const text = `api: &a {key: &k key-of-mine}
server: {client_key: /k}
net: {<<: {start_port: 7}, interface_name: x}
`;
    expect(read(text).values).toEqual({
      api: { key: "key-of-mine" },
      server: { client_key: "/k" },
      net: { start_port: 7, interface_name: "x" },
    });
  });
});

describe("parseConfig, of values that the Go program starts with,", () => {
  test.each([
    ["bound_endpoints.poll_interval", "0", 30],
    ["bound_endpoints.poll_interval", "-5", 30],
    ["bound_endpoints.poll_interval", "100000", 86_400],
    ["server.cert_refresh_interval", "0", 3600],
    ["server.cert_refresh_interval", "99999999", 604_800],
    ["net.start_port", "0", 9080],
    ["net.start_port", "70000", 9080],
    ["net.subnet", "10.107.0.0", "127.0.0.0/8"],
    ["net.subnet", "10.107.0.0/31", "127.0.0.0/8"],
    ["net.subnet", "10.0.0.0/4", "127.0.0.0/8"],
    ["net.subnet", "fd00::/8", "127.0.0.0/8"],
    ["net.interface_name", "a-very-long-interface", "ngrokd0"],
    ["net.listen_interface", "a-very-long-interface", "virtual"],
    ["dns.listen", '":53"', "127.0.0.1:53"],
    ["dns.listen", "localhost:53", "127.0.0.1:53"],
    ["dns.upstream", "[dns.example, 1.1.1.1]", ["1.1.1.1:53"]],
    ["server.client_cert", "certs/tls.crt", join(process.cwd(), "certs/tls.crt")],
    ["server.client_key", "./tls.key", join(process.cwd(), "tls.key")],
    ["server.socket_path", "ngrokd.sock", join(process.cwd(), "ngrokd.sock")],
    ["api.key", "short", ""],
  ])("takes %s: %s for a usable value, with a warning", (key, value, used) => {
    const [group = "", name = ""] = key.split(".");
    const { values, problems, warnings } = read(`${group}:\n  ${name}: ${value}\n`);
    expect(problems).toEqual([]);
    expect(warnings).toMatchObject([{ kind: "other-value", key, line: 2 }]);
    expect(warnings[0]?.message).toMatch(/; allowed: .*; .* is used instead$/);
    expect(valueAt(configSchema.parse(values), key.split("."))).toEqual(used);
  });

  test("refuses them when it is strict, as for `config edit`", () => {
    const { problems, warnings } = parseConfig("net: {start_port: 0}", "c.yml", { strict: true });
    expect(warnings).toEqual([]);
    expect(problems.map(({ kind }) => kind)).toEqual(["wrong-value"]);
  });

  test("names no key, though it cannot be one", () => {
    expect(said("api: {key: geheim7}")).toEqual([
      "c.yml:1:12: api.key is a text of 7 characters (not shown); " +
        "allowed: 8 to 512 characters, without spaces; none is used instead",
    ]);
  });

  test("takes 0 for the default health_port, and any for a free one", () => {
    const portOf = (text: string): unknown =>
      configSchema.parse(read(`server: {health_port: ${text}}`).values).server.health_port;
    expect(said("server: {health_port: 0}")).toEqual([]);
    expect(portOf("0")).toBe(8081);
    expect(portOf("any")).toBe("any");
  });

  test.each([
    ["verbose", "debug"],
    ["trace", "debug"],
    ["FATAL", "error"],
    ["panic", "error"],
  ])("takes the log level %s for %s", (level, ours) => {
    expect(said(`server: {log_level: ${level}}`)).toEqual([]);
    const { values } = read(`server: {log_level: ${level}}`);
    expect(configSchema.parse(values).server.log_level).toBe(ours as never);
  });

  test.each([
    "bound_endpoints: {poll_interval: soon}",
    "bound_endpoints: {poll_interval: 0.5}",
    "net: {subnet: home}",
    "net: {interface_name: a/b}",
    "server: {log_level: inof}",
    'server: {client_cert: "a\\nb"}',
    'api: {key: "a b"}',
  ])("still refuses %s", (text) => expect(read(text).problems).toHaveLength(1));
});

describe("parseConfig, of a wrong file,", () => {
  test("lists all problems at once, each with its position", () => {
    const text = `api:
  url: http://user:hunter2@example.com
  kye: value-of-kye
  key: "two words"
server:
  log_level: inof
  health_port: "8081"
bound_endpoints: {poll_interval: 0.5, selectors: [true, "", 3]}
net:
  network_accessible: false
  overrides: {foo.bar: "eth 0"}
dns: [1]
log_level: info
ingres_endpoint: foo
`;
    expect(said(text)).toEqual([
      'c.yml:2:8: api.url is "http://[redacted]@example.com"; allowed: an https URL; http for ' +
        "this machine alone (localhost, 127.0.0.1, [::1])",
      "c.yml:4:8: api.key is a text of 9 characters (not shown); allowed: 8 to 512 " +
        "characters, without spaces",
      'c.yml:6:14: server.log_level is "inof"; allowed: debug, info, warn or error',
      'c.yml:7:16: server.health_port is "8081"; allowed: a whole number, 1 to 65535, or any',
      "c.yml:8:34: bound_endpoints.poll_interval is 0.5; allowed: a whole number, 1 to 86400",
      'c.yml:8:57: bound_endpoints.selectors[2] is ""; allowed: a list of texts that ' +
        "are not empty",
      'c.yml:11:24: net.overrides["foo.bar"] is "eth 0"; allowed: host names, each with ' +
        "virtual, an IP address or the name of an interface",
      "c.yml:12:6: dns is a list; allowed: settings, each as `name: value` on a line of its " +
        "own below it",
      'c.yml:3:3: there is no setting "api.kye"; did you mean "api.key"?',
      'c.yml:10:3: there is no setting "net.network_accessible"; did you mean ' +
        '"net.listen_interface"?',
      'c.yml:13:1: there is no setting "log_level"; did you mean "server.log_level"?',
      'c.yml:14:1: there is no setting "ingres_endpoint"; did you mean "ingressEndpoint"?',
    ]);
  });

  test("counts lines and columns in files with CRLF", () => {
    expect(said("api:\r\n  url: x\r\n\r\nserver: {health_port: no}\r\n")).toEqual([
      expect.stringContaining("c.yml:2:8: api.url"),
      expect.stringContaining("c.yml:4:23: server.health_port"),
    ]);
  });

  test.each([
    [
      "- a list\n",
      "c.yml:1:1: the file is a list; allowed: settings, each as `name: value` on a line of " +
        "its own below it",
    ],
    [
      "a scalar\n",
      "c.yml:1:1: the file is a single value; allowed: settings, each as `name: value` on a " +
        "line of its own below it",
    ],
    [
      "api: 2cVr-secret-secret\n",
      "c.yml:1:6: api is a single value; allowed: settings, each as `name: value` on a line " +
        "of its own below it",
    ],
    [
      "api: {key:2cVr-secret-secret}\n",
      "c.yml:1:7: there is no such setting (its name is not shown); is a space missing after " +
        "a colon?",
    ],
    ["api: {url: a}\napi: {url: b}\n", "c.yml:2:1: the key api is set a second time"],
    [
      "names: { expand: { team.internal: [a] } }\n",
      'c.yml:1:35: names.expand["team.internal"] has a name that is not allowed; allowed: ' +
        "wildcards such as *.team.internal, each with a list of names below it",
    ],
    [
      'net: { overrides: { "a b": "0.0.0.0" } }\n',
      'c.yml:1:28: net.overrides["a b"] has a name that is not allowed; allowed: host names, ' +
        "each with virtual, an IP address or the name of an interface",
    ],
    ["<<: {}\n<<: {}\n", "c.yml:2:1: the key << is set a second time"],
    ['"#a": 1\n"#a": 2\n', "c.yml:2:1: a key is set a second time"],
    [
      "api: {url: *nowhere}\n",
      "c.yml:1:12: an alias (*) stands before the anchor (&) that it names, or there is no " +
        "such anchor",
    ],
    ["api: {}\n---\nserver: {}\n", "c.yml:2:1: a second document starts here; one is allowed"],
    ["api:\n\turl: x\n", "c.yml:2:1: Tabs are not allowed as indentation"],
    [
      "api:\n  key: |secret-on-the-header\n",
      "c.yml:2:9: Block scalar header includes extra characters",
    ],
    ["net: {<<: 1}\n", "c.yml:1:1: Merge sources must be maps or map aliases"],
    ["? [a]\n: 1\n", "c.yml:1:3: With stringKeys, all keys must be strings"],
  ])("explains the fault of %j", (text, answer) => {
    expect(said(text)[0]).toBe(answer);
    expect(said(text).join()).not.toContain("secret");
  });

  test("stops values that multiply through aliases", () => {
    const layers = [..."bcdefghi"].map(
      (name, i) => `${name}: &${name} [${Array(9).fill(`*${"abcdefgh"[i]}`).join(", ")}]`,
    );
    const { problems } = read(`a: &a [x, x, x, x, x, x, x, x, x]\n${layers.join("\n")}\n`);
    expect(problems.map(({ kind, message }) => [kind, message])).toEqual([
      ["syntax", "Excessive alias count indicates a resource exhaustion attack"],
    ]);
  });
});

describe("parseConfig, of anything,", () => {
  test("never throws, whatever the text", () => {
    const pieces = [
      "api",
      "key",
      "server",
      ":",
      ": ",
      "\n",
      "\n  ",
      "- ",
      "{",
      "}",
      "[",
      "]",
      "&a ",
      "*a",
      "<<",
      '"',
      "'",
      "|",
      ">",
      "#",
      "\t",
      "\r\n",
      "!!int ",
      "%YAML 1.1\n",
      "---",
      "...",
      "? ",
      "\u0000",
      "\ufeff",
      "__proto__",
      "1",
    ];
    const soup = fc.array(fc.oneof(fc.constantFrom(...pieces), anyText), { maxLength: 30 });
    fc.assert(
      fc.property(soup, (parts) => {
        for (const text of said(parts.join(""))) expect(text).toMatch(/^c\.yml:\d+:\d+: ./);
      }),
      { numRuns: 300 },
    );
  });

  test("never throws for any values, and accepts only the schema's", () => {
    const names = fc.constantFrom(
      "api",
      "key",
      "url",
      "server",
      "log_level",
      "bound_endpoints",
      "selectors",
      "net",
      "overrides",
      "access",
      "rules",
      "endpoint",
      "ingressEndpoint",
      "__proto__",
      "toString",
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.jsonValue({ maxDepth: 0 }),
        fc.array(tie("tree"), { maxLength: 3 }),
        fc.dictionary(names, tie("tree"), { maxKeys: 5 }),
      ),
    }));
    fc.assert(
      fc.property(tree, (root) => {
        const { values, problems } = read(stringify(root));
        if (problems.length === 0) configSchema.parse(values);
      }),
      { numRuns: 300 },
    );
  });

  test("reads back every configuration that was written", () => {
    fc.assert(
      fc.property(rightConfig, (config) => {
        const { values, problems, warnings } = read(stringify(config));
        expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
        expect(configSchema.parse(values)).toEqual(config);
      }),
      { numRuns: 100 },
    );
  });

  test("never quotes a key that it rejects", () => {
    const secret = fc
      .string({
        unit: fc.constantFrom(..."abcdefghijkmnpqrstuvwxyz234567"),
        minLength: 12,
        maxLength: 60,
      })
      .map((text) => `Q9${text}Q9`);
    const shape = fc.constantFrom(
      (key: string) => stringify({ api: { key: `${key} ${key}` } }),
      (key: string) => stringify({ api: { key: [key] } }),
      (key: string) => stringify({ api: key }),
      (key: string) => stringify({ api: [key] }),
      (key: string) => stringify({ api: { kye: key } }),
      (key: string) => `api: {key:${key}}\n`,
      (key: string) => `api:\n  key:${key}\n`,
      (key: string) => `api:\n  key: ${key}: x\n`,
      (key: string) => `api:\n  key: "${key}\n`,
      (key: string) => `api:\n  key: |${key}\n`,
      (key: string) => `api:\n  key: @${key}\n`,
      (key: string) => `api: {key: ${key}}}\n`,
      (key: string) => `${key}\n`,
      (key: string) => `api: {}\n${key}\n`,
    );
    fc.assert(
      fc.property(secret, shape, (key, text) => {
        const all = said(text(key));
        expect(all.length).toBeGreaterThan(0);
        expect(all.join("\n")).not.toContain(key);
        expect(JSON.stringify(read(text(key)).problems)).not.toContain(key);
      }),
    );
  });
});

const port = fc.integer({ min: 1, max: 65_535 });
const absolute = fc
  .array(fc.stringMatching(/^[a-zA-Z0-9 _.#:'"-]{1,12}$/), { minLength: 1, maxLength: 4 })
  .map((parts) => `/${parts.join("/")}`);
const label = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
const host = fc.array(label, { minLength: 2, maxLength: 3 }).map((labels) => labels.join("."));
const where = fc.constantFrom("virtual", "0.0.0.0", "eth0", "::");
const rightConfig = fc
  .record({
    api: fc.record({
      url: fc
        .tuple(
          host,
          port.filter((number) => number !== 443),
        )
        .map(([name, number]) => `https://${name}:${number}`),
      key: fc.stringMatching(/^[!-~]{8,60}$/),
    }),
    ingressEndpoint: fc.tuple(host, port).map(([name, number]) => `${name}:${number}`),
    server: fc.record({
      log_level: fc.constantFrom("debug", "info", "warn", "error"),
      log_format: fc.constantFrom("auto", "text", "json"),
      socket_path: absolute,
      client_cert: absolute,
      client_key: absolute,
      cert_refresh_interval: fc.integer({ min: 1, max: 604_800 }),
      health_address: fc.constantFrom("127.0.0.1", "0.0.0.0", "::1", "localhost"),
      health_port: port,
      ingress_ca: fc.oneof(fc.constant(""), absolute),
      ingress_ca_sha256: fc.constantFrom<string[]>([], [ngrokCa.fingerprint256]),
      insecure_skip_verify: fc.boolean(),
    }),
    bound_endpoints: fc.record({
      poll_interval: fc.integer({ min: 1, max: 86_400 }),
      selectors: fc.array(
        fc.string({ minLength: 1 }).filter((text) => text.trim() === text),
        { minLength: 1, maxLength: 3 },
      ),
    }),
    net: fc.record({
      subnet: fc.integer({ min: 0, max: 255 }).map((n) => `127.${n}.0.0/16`),
      interface_name: label,
      listen_interface: where,
      start_port: port,
      overrides: fc.dictionary(host, where, { maxKeys: 3 }),
    }),
    dns: fc.record({
      enabled: fc.boolean(),
      listen: fc.constant("127.0.0.1:53"),
      manage_resolv_conf: fc.boolean(),
      upstream: fc.constantFrom([], ["1.1.1.1:53"]),
    }),
  })
  .map((config) => configSchema.parse(config));
