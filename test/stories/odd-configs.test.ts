import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { type Cloud, registered } from "../support/cloud.ts";
import { type Daemon, defaultConfig, ngrokd } from "../support/ngrokd.ts";
import { faultsOf } from "../support/odd.ts";
import { stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

/**
 * Of one row: a text made of a right one. `ngrokd config check` is strict. The
 * running daemon takes what it can use, with a warning, or keeps the whole of
 * what it has.
 */
interface Oddity {
  readonly name: string;
  readonly text: (right: string) => string | Buffer;
  /** `valid`; or what `config check` says is wrong. */
  readonly check: string;
  /** What the daemon does with it; by default as `config check` judges. */
  readonly daemon?: "takes" | "keeps";
  /** What the reload or the log says of the change, or of what is wrong. */
  readonly says?: string;
}

const poll = (value: string) => (right: string) => right.replace("3600", value);
const server = (line: string) => (right: string) => right.replace("server:", `server:\n  ${line}`);
const end = (lines: string) => (right: string) => `${right}${lines}\n`;
const letters = "abcdefghi";
/** Nine to the power of nine items. */
const laughs = [...letters]
  .map(
    (letter, i) => `${letter}: &${letter} [${Array(9).fill(i === 0 ? "x" : `*${letters[i - 1]}`)}]`,
  )
  .join("\n");
const whole = "allowed: a whole number, 1 to 86400";

const texts: readonly Oddity[] = [
  { name: "no line end", text: (right) => right.trimEnd(), check: "valid" },
  { name: "lines of Windows", text: (right) => right.replaceAll("\n", "\r\n"), check: "valid" },
  { name: "a byte order mark", text: (right) => `\ufeff${right}`, check: "valid" },
  { name: "marks of a document", text: (right) => `---\n${right}...\n`, check: "valid" },
  {
    name: "a tab behind a colon",
    text: (right) => right.replace("url: ", "url:\t"),
    check: "valid",
  },
  { name: "escape sequences in a comment", text: end("# \x1b[31mred"), check: "valid" },
  { name: "nothing", text: () => "", check: "valid", daemon: "keeps", says: "it is empty now" },
  {
    name: "blanks",
    text: () => "\n\n  \n",
    check: "valid",
    daemon: "keeps",
    says: "it is empty now",
  },
  { name: "a list", text: () => "- api\n", check: "the file is a list" },
  { name: "a word", text: () => "hello\n", check: "the file is a single value" },
  { name: "a number", text: () => "42\n", check: "the file is a single value" },
  { name: "line ends of old Macs", text: (right) => right.replaceAll("\n", "\r"), check: ":1:5:" },
  { name: "UTF-16", text: (right) => Buffer.from(`\ufeff${right}`, "utf16le"), check: "not UTF-8" },
  { name: "Latin-1", text: (right) => Buffer.from(`# ü\n${right}`, "latin1"), check: "not UTF-8" },
  { name: "a NUL at the end", text: (right) => `${right}\0`, check: ":8:1:" },
  {
    name: "a NUL in a name",
    text: (right) => right.replace("poll_", "poll\0"),
    check: ":7:3: there is no such setting",
    daemon: "takes",
  },
  { name: "2 MB", text: (right) => right + "# x\n".repeat(500_000), check: "larger than 1 MiB" },
  {
    name: "two documents",
    text: (right) => `${right}---\n${right}`,
    check: ":8:1: a second document starts here",
  },
  {
    name: "tabs as indentation",
    text: (right) => right.replace("  url", "\turl"),
    check: ":2:1: Tabs are not allowed",
  },
  {
    name: "a line indented wrong",
    text: (right) => right.replace("  key", "   key"),
    check: ":2:8:",
  },
  {
    name: "no space behind a colon",
    text: (right) => right.replace("interval: ", "interval:"),
    check: ":7:3: bound_endpoints is a single value",
  },
  { name: "a bracket that stays open", text: end("forward: ["), check: ":9:1:" },
  {
    name: "a quote that stays open",
    text: (right) => right.replace("url: ", 'url: "'),
    check: "quote",
  },
  {
    name: "a conflict of git",
    text: (right) => `<<<<<<< HEAD\n${right}=======\n${right}>>>>>>> main\n`,
    check: ":1:1:",
  },
];

const structures: readonly Oddity[] = [
  {
    name: "an anchor and its alias",
    text: poll("&n 3600\nforward:\n  idle_timeout: *n"),
    check: "valid",
    says: "forward.idle_timeout is 3600",
  },
  {
    name: "an alias without an anchor",
    text: poll("*n"),
    check: ":7:18: an alias (*) stands before the anchor",
  },
  {
    name: "a merge key",
    text: (right) =>
      `x: &x\n  poll_interval: 3600\n${right.replace("poll_interval: 3600", "<<: *x")}`,
    check: ':1:1: there is no setting "x"',
    daemon: "takes",
  },
  {
    name: "a merge of a word",
    text: (right) => right.replace("poll_interval: 3600", "<<: word"),
    check: "Merge sources must be maps",
  },
  { name: "a billion laughs", text: (right) => `${laughs}\n${right}`, check: "alias" },
  {
    name: "a billion laughs in a setting",
    text: (right) => `${laughs}\n${right}  selectors: *i\n`,
    check: "alias",
  },
  {
    name: "5,000 brackets",
    text: end(`x: ${"[".repeat(5000)}${"]".repeat(5000)}`),
    check: "nested more than 32 levels deep",
  },
  {
    name: "200,000 brackets that stay open",
    text: end(`x: ${"[".repeat(200_000)}`),
    check: "nested more than 32 levels deep",
  },
  {
    name: "20,000 unknown names",
    text: end(Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`).join("\n")),
    check: "19900 more names are no settings",
    daemon: "takes",
  },
  {
    name: "a setting twice",
    text: end("  poll_interval: 5"),
    check: ":8:3: the key poll_interval is set a second time",
  },
  { name: "a group twice", text: end("api: {}"), check: ":8:1: the key api is set a second time" },
  { name: "a tag for what it is", text: poll("!!int 3600"), check: "valid" },
  {
    name: "an unknown tag",
    text: poll("!secret 3600"),
    check: ":7:18: Unresolved tag",
    daemon: "keeps",
    says: `is "3600"; ${whole}`,
  },
  {
    name: "a function of JavaScript",
    text: poll("!!js/function x"),
    check: ":7:18: Unresolved tag",
    daemon: "keeps",
    says: `is "x"; ${whole}`,
  },
  { name: "an empty group", text: end("forward:"), check: "valid" },
  {
    name: "a word for a group",
    text: end("forward: fast"),
    check: ":8:10: forward is a single value",
  },
  {
    name: "a list for a text",
    text: (right) => right.replace(/url: (.*)/, "url: [$1]"),
    check: ":2:8: api.url is a list",
  },
  {
    name: "a text for a list",
    text: end("  selectors: 'true'"),
    check: ':8:14: bound_endpoints.selectors is "true"',
  },
  { name: "a boolean in a list of texts", text: end("  selectors: [true]"), check: "valid" },
  {
    name: "a map in a list of texts",
    text: end("  selectors: [{a: b}]"),
    check: "bound_endpoints.selectors[1] is a map",
  },
  { name: "a list as a name", text: end("? [a, b]\n: c"), check: ":8:3:" },
  {
    name: "a number as a name",
    text: end("1: 2"),
    check: ":8:1: there is no such setting",
    daemon: "takes",
  },
  {
    name: "__proto__",
    text: end("__proto__: {polluted: yes}"),
    check: ":8:1: there is no such setting",
    daemon: "takes",
  },
  {
    name: "constructor",
    text: end("constructor: {prototype: {}}"),
    check: 'no setting "constructor"',
    daemon: "takes",
  },
  {
    name: "an unknown name",
    text: end("frobnicate: 1"),
    check: 'no setting "frobnicate"',
    daemon: "takes",
  },
  {
    name: "a name in another case",
    text: (right) => right.replace("poll_interval", "Poll_Interval"),
    check: 'did you mean "bound_endpoints.poll_interval"?',
    daemon: "takes",
  },
  {
    name: "a name with a hyphen",
    text: (right) => right.replace("poll_interval", "poll-interval"),
    check: 'did you mean "bound_endpoints.poll_interval"?',
    daemon: "takes",
  },
];

const values: readonly Oddity[] = [
  { name: "yes", text: end("forward: {session_resumption: yes}"), check: "valid" },
  {
    name: "Off",
    text: end("forward: {session_resumption: Off}"),
    check: "valid",
    says: "forward.session_resumption is false",
  },
  { name: "True", text: end("forward: {session_resumption: True}"), check: "valid" },
  {
    name: "a quoted true",
    text: end('forward: {session_resumption: "true"}'),
    check: 'is "true"; allowed: true or false',
  },
  {
    name: "a quoted number",
    text: poll('"3600"'),
    check: `:7:18: bound_endpoints.poll_interval is "3600"; ${whole}`,
  },
  { name: "0o17", text: poll("0o17"), check: "valid", says: "poll_interval is 15" },
  { name: "1e3", text: poll("1e3"), check: "valid", says: "poll_interval is 1000" },
  { name: "3600.0", text: poll("3600.0"), check: "valid", says: "Nothing has changed" },
  { name: "1.5", text: poll("1.5"), check: `is 1.5; ${whole}` },
  { name: "infinity", text: poll(".inf"), check: `is Infinity; ${whole}` },
  { name: "30s", text: poll("30s"), check: `is "30s"; ${whole}` },
  { name: "null", text: poll("null"), check: "valid", says: "poll_interval is 30" },
  {
    name: "20 digits",
    text: poll("9".repeat(20)),
    check: whole,
    daemon: "takes",
    says: "86400 is used instead",
  },
  {
    name: "-1",
    text: poll("-1"),
    check: `is -1; ${whole}`,
    daemon: "takes",
    says: "30 is used instead",
  },
  {
    name: "0",
    text: poll("0"),
    check: `is 0; ${whole}`,
    daemon: "takes",
    says: "30 is used instead",
  },
  {
    name: "the log level verbose",
    text: server("log_level: verbose"),
    check: "valid",
    says: "server.log_level is debug",
  },
  {
    name: "no log level",
    text: server("log_level: silly"),
    check: "allowed: debug, info, warn or error",
  },
  {
    name: "a subnet without its size",
    text: end("net: {subnet: 127.0.0.0}"),
    check: "an IPv4 subnet",
    daemon: "takes",
    says: '"127.0.0.0/8" is used instead',
  },
  {
    name: "a subnet of two",
    text: end("net: {subnet: 127.0.0.0/31}"),
    check: "an IPv4 subnet",
    daemon: "takes",
    says: '"127.0.0.0/8" is used instead',
  },
  {
    name: "a subnet of IPv6",
    text: end('net: {subnet: "fd00::/8"}'),
    check: "an IPv4 subnet",
    daemon: "takes",
    says: '"127.0.0.0/8" is used instead',
  },
  {
    name: "no subnet",
    text: end("net: {subnet: everything}"),
    check: 'net.subnet is "everything"',
  },
  {
    name: "an interface of 33 characters",
    text: end(`net: {interface_name: ${"x".repeat(33)}}`),
    check: "at most 15 characters",
    daemon: "takes",
    says: '"ngrokd0" is used instead',
  },
  {
    name: "a port without an address",
    text: end('dns: {listen: ":53"}'),
    check: "an IP address, or address:port",
    daemon: "takes",
    says: '"127.0.0.1:53" is used instead',
  },
  {
    name: "a DNS server by name",
    text: end("dns: {upstream: [dns.example]}"),
    check: "dns.upstream[1] is",
    daemon: "takes",
    says: "none is used instead",
  },
  {
    name: "a relative path",
    text: server("client_cert: tls.crt"),
    check: "allowed: an absolute path",
    daemon: "takes",
    says: '"/tls.crt" is used instead',
  },
  {
    name: "a path with a line end",
    text: server('client_cert: "/run/x\\ny"'),
    check: '"/run/x\\ny"',
  },
  {
    name: "the health port 0",
    text: server("health_port: 0"),
    check: "valid",
    says: "Nothing has changed",
  },
  {
    name: "a health port of 99999",
    text: server("health_port: 99999"),
    check: "server.health_port is 99999",
  },
  {
    name: "a key of three characters",
    text: (right) => right.replace(/key: .*/, "key: abc"),
    check: "api.key is a text of 3 characters (not shown)",
    daemon: "takes",
    says: "none is used instead",
  },
  {
    name: "a key of words",
    text: (right) => right.replace(/key: .*/, "key: abc def ghi"),
    check: "api.key is a text of 11 characters (not shown)",
  },
  {
    name: "an API without a scheme",
    text: (right) => right.replace(/url: .*/, "url: api.ngrok.com"),
    check: "allowed: an https URL",
  },
  {
    name: "an API by plain HTTP",
    text: (right) => right.replace(/url: .*/, "url: http://api.ngrok.com"),
    check: "allowed: an https URL",
  },
  {
    name: "an API of JavaScript",
    text: (right) => right.replace(/url: .*/, "url: 'javascript:alert(1)'"),
    check: "allowed: an https URL",
  },
  {
    name: "an API with a password",
    text: (right) => right.replace(/url: .*/, "url: https://me:secret@a.example"),
    check: "//[redacted]@a.example",
  },
];

let cloud: Cloud;
let daemon: Daemon;
let right: string;

stories("a configuration with odd", () => {
  beforeAll(async () => {
    ({ cloud, daemon } = await registered({
      config: { bound_endpoints: { poll_interval: 3600 } },
    }));
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.refresh();
    right = `api:
  url: ${cloud.apiUrl}
  key: ${cloud.apiKey}
server:
  ingress_ca: ${cloud.caFile}
bound_endpoints:
  poll_interval: 3600
`;
  });

  const put = (make: () => unknown): void => {
    rmSync(defaultConfig, { recursive: true, force: true });
    make();
  };
  const write = (text: string | Buffer) =>
    put(() => writeFileSync(defaultConfig, text, { mode: 0o600 }));

  const logSince = (mark: number): string =>
    daemon
      .lines()
      .slice(mark)
      .map(({ message }) => message)
      .join("\n");

  /** What holds after each row, whatever the file was. */
  const goesOn = async (): Promise<void> => {
    write(right);
    expect(await daemon.reload()).toMatchObject({ ok: true, warnings: [] });
    expect((await daemon.status()).pid).toBe(daemon.pid);
    expect(await daemon.endpoint("hello.demo")).toMatchObject({ state: "listening" });
  };

  const row = async ({ text, check, daemon: does, says = "" }: Oddity): Promise<void> => {
    const mark = daemon.lines().length;
    write(text(right));
    const before = readFileSync(defaultConfig);
    const checked = await ngrokd("config check");
    const isValid = check === "valid";
    expect({ code: checked.code, faults: faultsOf(checked) }).toEqual({
      code: isValid ? 0 : 2,
      faults: [],
    });
    expect(checked.out + checked.err).toContain(isValid ? `"${defaultConfig}" is valid` : check);
    const takes = does === undefined ? isValid : does === "takes";
    const reloaded = await ngrokd("reload");
    expect({ code: reloaded.code, faults: faultsOf(reloaded) }).toEqual({
      code: takes ? 0 : 1,
      faults: [],
    });
    const told = reloaded.out + reloaded.err;
    // The daemon may have read the file by itself before.
    await until("it is said", () => told.includes(says) || logSince(mark).includes(says));
    if (does === undefined && !isValid) expect(told).toContain(check);
    expect(readFileSync(defaultConfig).equals(before)).toBe(true);
    await goesOn();
  };

  test.each(texts)("text: $name", row);
  test.each(structures)("structure: $name", row);
  test.each(values)("values: $name", row);

  test.each([
    { name: "a folder", make: () => mkdirSync(defaultConfig), code: 1, error: "it is a folder" },
    {
      name: "a link to itself",
      make: () => symlinkSync("config.yml", defaultConfig),
      code: 1,
      error: "too many symbolic links",
    },
    {
      name: "a pipe without a writer",
      make: () => Bun.spawnSync(["mkfifo", defaultConfig]),
      code: 2,
      error: "it is a pipe to which nothing writes",
    },
    {
      name: "an endless device",
      make: () => symlinkSync("/dev/zero", defaultConfig),
      code: 2,
      error: "it is larger than 1 MiB",
    },
  ])("place: $name", async ({ make, code, error }) => {
    put(make);
    const checked = await ngrokd("config check");
    expect({ code: checked.code, faults: faultsOf(checked) }).toEqual({ code, faults: [] });
    expect(checked.err).toContain(error);
    const reloaded = await ngrokd("reload");
    expect({ code: reloaded.code, faults: faultsOf(reloaded) }).toEqual({ code: 1, faults: [] });
    expect(reloaded.err).toContain(error);
    await goesOn();
  });
});
