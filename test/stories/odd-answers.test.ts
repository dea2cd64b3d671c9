import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { type Front, frontOf, type Odd } from "../support/front.ts";
import { type Daemon, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { faultsOf } from "../support/odd.ts";
import { foreignHosts, stories } from "../support/story.ts";
import { page } from "../support/web.ts";

/** Of one row: what stands in place of the list of bound endpoints. */
interface Oddity {
  readonly name: string;
  /** `hello`: the right item of the list. */
  readonly answer: (hello: object, path: string) => Odd;
  /** The reason why the poll fails; without one it succeeds. */
  readonly error?: string;
}

const json = (value: unknown, status = 200): Odd => ({ status, body: JSON.stringify(value) });
const text = (body: string | Uint8Array, status = 200): Odd => ({ status, body });
const raw = (bytes: string): Odd => ({ raw: bytes });
const listOf = (...endpoints: unknown[]) => ({ endpoints, uri: "", next_page_uri: null });
const refusal = (status: number, error_code: unknown, msg: unknown): Odd =>
  json({ error_code, status_code: status, msg, details: { operation_id: "op_1" } }, status);
const redirect = (status: number, location: string): Odd => ({ status, headers: { location } });
const busy = (status: number, after: string): Odd => ({
  status,
  headers: { "retry-after": after },
});
const packed = (encoding: string, body: string | Uint8Array): Odd => ({
  headers: { "content-encoding": encoding },
  body,
});
const foreign = "something that is not in ngrok's format";
const noList = "ngrok's answer has no list of endpoints";
const noHttp = "is no valid HTTP";
const stays = "and the API key goes nowhere else";

const statuses: readonly Oddity[] = [
  {
    name: "200 and the page of a hotel's network",
    answer: () => text("<html>Log in"),
    error: "200 with an HTML page",
  },
  { name: "200 without a body", answer: () => text(""), error: "200 with an empty body" },
  { name: "201 with a list", answer: (hello) => json(listOf(hello), 201) },
  { name: "204", answer: () => ({ status: 204 }), error: "204 with an empty body" },
  { name: "205", answer: () => ({ status: 205 }), error: "205 with an empty body" },
  {
    name: "300",
    answer: () => ({ status: 300 }),
    error: "300, which is no answer to this request",
  },
  {
    name: "304",
    answer: () => ({ status: 304 }),
    error: "304, which is no answer to this request",
  },
  { name: "301 to itself", answer: (_, path) => redirect(301, path), error: stays },
  {
    name: "302 to another server",
    answer: () => redirect(302, "http://127.0.0.2:9/"),
    error: 'redirects to "http://127.0.0.2:9/"',
  },
  { name: "307 to a script", answer: () => redirect(307, "javascript:alert(1)"), error: stays },
  { name: "308 to no URL", answer: () => redirect(308, "http://["), error: stays },
  { name: "400 in another format", answer: () => text("{}", 400), error: `400 with ${foreign}` },
  { name: "401 as a page", answer: () => text("<h1>no", 401), error: "401 with an HTML page" },
  {
    name: "403 with a code",
    answer: () => refusal(403, "ERR_NGROK_205", "suspended"),
    error: "403: suspended (ERR_NGROK_205, operation op_1)",
  },
  { name: "404 of a proxy", answer: () => text("<html>", 404), error: "404 with an HTML page" },
  { name: "407", answer: () => text("", 407), error: "407 with an empty body" },
  { name: "418", answer: () => text("teapot", 418), error: `418 with ${foreign}` },
  { name: "429 with a time", answer: () => busy(429, "1"), error: "429 with an empty body" },
  {
    name: "429 with thirty thousand years",
    answer: () => busy(429, "999999999999"),
    error: "429 with an empty body",
  },
  {
    name: "429 with a time that is past",
    answer: () => busy(429, "Wed, 21 Oct 2015 07:28:00 GMT"),
    error: "429 with an empty body",
  },
  {
    name: "429 with a word for a time",
    answer: () => busy(429, "soon"),
    error: "429 with an empty body",
  },
  { name: "500", answer: () => text("", 500), error: "500 with an empty body" },
  {
    name: "502 of a proxy",
    answer: () => text("<html>bad gateway", 502),
    error: "502 with an HTML page",
  },
  { name: "599", answer: () => text("", 599), error: "599 with an empty body" },
  {
    name: "999",
    answer: () => raw("HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\n{}"),
    error: `999 with ${foreign}`,
  },
  {
    name: "a text with lines and colours",
    answer: () => refusal(400, "ERR_NGROK_1", "\x1b[31mred\u202e\n\nerror: it"),
    error: "400: [31mred",
  },
  {
    name: "a text of 100 KB",
    answer: () => refusal(400, "ERR_NGROK_1", "x".repeat(100_000)),
    error: "xxx (ERR_NGROK_1",
  },
  { name: "a text that is a number", answer: () => refusal(400, 5, 7), error: "answered 400" },
  {
    name: "a code that is none",
    answer: () => refusal(400, "ERR_NGROK_<b>", "m"),
    error: "400: m (operation op_1)",
  },
  {
    name: "an error with 200",
    answer: () => json({ error_code: "ERR_NGROK_1", msg: "no" }),
    error: noList,
  },
];

/** Made once: this process answers other requests meanwhile. */
const bomb = gzipSync(Buffer.alloc(200_000_000, 32));

const bytes: readonly Oddity[] = [
  { name: "nothing", answer: () => raw(""), error: "the connection was cut" },
  { name: "another protocol", answer: () => raw("SSH-2.0-OpenSSH_9\r\n"), error: noHttp },
  {
    name: "HTTP/1.0 without a length",
    answer: (hello) => raw(`HTTP/1.0 200 OK\r\n\r\n${JSON.stringify(listOf(hello))}`),
  },
  {
    name: "100 Continue before the answer",
    answer: (hello) =>
      raw(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\n${JSON.stringify(listOf(hello))}`),
  },
  {
    name: "101",
    answer: () => raw("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
    error: noHttp,
  },
  {
    name: "less than it announces",
    answer: () => raw('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"endpoints":['),
    error: "the connection was cut",
  },
  {
    name: "a chunk without a size",
    answer: () => raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n"),
    error: noHttp,
  },
  {
    name: "two lengths",
    answer: () => raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 7\r\n\r\n{}"),
    error: noHttp,
  },
  {
    name: "5,000 headers",
    answer: () => raw(`HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(5000)}\r\n{}`),
    error: noHttp,
  },
  { name: "gzip", answer: (hello) => packed("gzip", gzipSync(JSON.stringify(listOf(hello)))) },
  { name: "gzip that is none", answer: () => packed("gzip", "{}"), error: noHttp },
  {
    name: "200 MB in 200 KB of gzip",
    answer: () => packed("gzip", bomb),
    error: "answered with more than 8388608 bytes",
  },
  { name: "a byte order mark", answer: (hello) => text(`\ufeff${JSON.stringify(listOf(hello))}`) },
  {
    name: "UTF-16",
    answer: () => text(Buffer.from('{"endpoints":[]}', "utf16le")),
    error: foreign,
  },
  {
    name: "half of a list",
    answer: (hello) => text(JSON.stringify(listOf(hello)).slice(0, 60)),
    error: foreign,
  },
  {
    name: "a list with more behind it",
    answer: (hello) => text(`${JSON.stringify(listOf(hello))}{}`),
    error: foreign,
  },
  {
    name: "JSON with a comment",
    answer: (hello) => text(`/**/${JSON.stringify(listOf(hello))}`),
    error: foreign,
  },
  { name: "NaN", answer: () => text('{"endpoints":[NaN]}'), error: foreign },
  { name: "null", answer: () => text("null"), error: foreign },
  { name: "a number", answer: () => text("7"), error: foreign },
  { name: "a list without a name", answer: (hello) => json([hello]), error: noList },
  { name: "no list", answer: () => json({}), error: noList },
  { name: "a map for a list", answer: () => json({ endpoints: {} }), error: noList },
  { name: "a text for a list", answer: () => json({ endpoints: "x" }), error: noList },
  {
    name: "5,000 brackets",
    answer: () => text(`{"endpoints":[${"[".repeat(5000)}${"]".repeat(5000)}]}`),
    error: noList,
  },
  {
    name: "an item of 5 MB",
    answer: (hello) => json(listOf(hello, { description: "x".repeat(5_000_000) })),
    error: noList,
  },
  {
    name: "the list twice, the second right",
    answer: (hello) => text(`{"endpoints":[],"endpoints":[${JSON.stringify(hello)}]}`),
  },
  { name: "an item twice", answer: (hello) => json(listOf(hello, hello)) },
  { name: "items that are none", answer: (hello) => json(listOf(hello, null, 7, "x", [], {})) },
  {
    name: "fields of other types",
    answer: (hello) => json(listOf(hello, { id: 7, url: {}, proto: [] })),
  },
  {
    name: "unknown fields",
    answer: (hello) => json({ ...listOf({ ...hello, more: { a: [1] } }), extra: 1 }),
  },
  {
    name: "the prototype of all",
    answer: (hello) =>
      text(`{"__proto__":{"endpoints":[]},"endpoints":[${JSON.stringify(hello)}]}`),
  },
  {
    name: "a next page that is this one",
    answer: (hello, path) => json({ ...listOf(hello), next_page_uri: path }),
    error: "the pages lead in a circle",
  },
  {
    name: "pages without end",
    answer: (_, path) =>
      json({ ...listOf(), next_page_uri: `${path.split("?")[0]}?before_id=${Math.random()}` }),
    error: "the list does not end within 1000 pages",
  },
  {
    name: "a next page that is a number",
    answer: (hello) => json({ ...listOf(hello), next_page_uri: 7 }),
    error: noList,
  },
  {
    name: "a next page elsewhere",
    answer: (hello) => json({ ...listOf(hello), next_page_uri: "//evil.example/" }),
    error: stays,
  },
  {
    name: "a next page that is a script",
    answer: (hello) => json({ ...listOf(hello), next_page_uri: "javascript:1" }),
    error: stays,
  },
];

let cloud: Cloud;
let front: Front;
let daemon: Daemon;
let hello: { id: string };

/** A daemon that has one endpoint, behind a server on the way. */
async function begin(): Promise<void> {
  cloud = await startCloud();
  front = await frontOf(cloud.apiUrl);
  const config = configFor(cloud, { api: { url: front.url } });
  writeConfig({ ...config, bound_endpoints: { poll_interval: 3600 } });
  daemon = await serve();
  await cloud.add("http://hello.demo", page("hello").address);
  await daemon.refresh();
  await daemon.becomes("hello.demo", "listening");
  const { operator_id } = await daemon.status();
  const bound = `/kubernetes_operators/${operator_id}/bound_endpoints`;
  [hello] = (await cloud.api("GET", bound)).endpoints;
}

stories("in place of ngrok's list, an API answers with", () => {
  beforeAll(begin);

  const row = async ({ answer, error }: Oddity): Promise<void> => {
    front.odd = { calls: /^GET .*bound_endpoints/, answer: (path) => answer(hello, path) };
    const polled = await ngrokd("refresh");
    front.odd = undefined;
    expect({ code: polled.code, faults: faultsOf(polled) }).toEqual({
      code: error === undefined ? 0 : 1,
      faults: [],
    });
    expect(polled.err).toContain(error ?? "");
    expect((await daemon.status()).pid).toBe(daemon.pid);
    expect(await daemon.endpoint("hello.demo")).toMatchObject({ state: "listening" });
    expect((await run(["curl", "-sS", "http://127.0.0.2/"])).out).toBe("hello");
  };

  test.each(statuses)("$name: what is served stays, and the reason is told", row);
  test.each(bytes)("$name: no more is believed than can be", row);
});

/** Of one row: an endpoint's URL, and what comes of it. */
type Url = readonly [url: string, outcome: { readonly name: string } | { readonly reason: string }];
const bad = "has a character that is not allowed in names, or a hyphen at a label's end";
const urls: readonly Url[] = [
  ["http://UPPER.demo", { name: "upper.demo" }],
  ["HTTP://scheme.demo", { name: "scheme.demo" }],
  ["http://dot.demo.", { name: "dot.demo" }],
  ["http://single", { name: "single" }],
  ["http://under_score.demo", { name: "under_score.demo" }],
  ["http://_srv._tcp.demo", { name: "_srv._tcp.demo" }],
  ["http://xn--mlaut-jva.demo", { name: "xn--mlaut-jva.demo" }],
  [`http://${"x".repeat(63)}.demo`, { name: `${"x".repeat(63)}.demo` }],
  ["tcp://zeros.demo:00080", { name: "zeros.demo" }],
  ["tls://tls.demo", { name: "tls.demo" }],
  [`http://${"x".repeat(64)}.demo`, { reason: "is longer than 63 characters" }],
  [
    `http://${Array(130).fill("a").join(".")}`,
    { reason: "259 characters long, and 253 are allowed" },
  ],
  ["http://ümlaut.demo", { reason: bad }],
  ["http://-lead.demo", { reason: bad }],
  ["http://trail-.demo", { reason: bad }],
  ["http://spa ce.demo", { reason: bad }],
  ["http://tab\t.demo", { reason: bad }],
  ["http://line\n127.0.0.9 evil.demo", { reason: bad }],
  ["http://nul\0.demo", { reason: bad }],
  ["http://\u202eomed.live", { reason: bad }],
  ["http://two..demo", { reason: "has an empty label" }],
  ["http://.lead.demo", { reason: "has an empty label" }],
  ["http://dots.demo..", { reason: "has an empty label" }],
  ["http://127.0.0.1", { reason: "reads as an IP address" }],
  ["http://10.1.2.3:8080", { reason: "reads as an IP address" }],
  ["http://2130706433", { reason: "reads as an IP address" }],
  ["http://0x7f.0x1", { reason: "reads as an IP address" }],
  ["http://[::1]", { reason: bad }],
  ["http://localhost", { reason: "localhost" }],
  ["http://x.localhost", { reason: "localhost" }],
  ["http://ip6-localhost", { reason: "ip6-localhost" }],
  ["http://db.internal", { reason: "another line of the hosts file" }],
  ["http://", { reason: "the host name is empty" }],
  ["https://*.wild.demo", { reason: "a wildcard needs dns.enabled: true" }],
  ["udp://u.demo:53", { reason: 'the scheme "udp"' }],
  ["javascript:alert(1)", { reason: bad }],
  ["tcp://portless.demo", { reason: "names no port" }],
  ["tcp://zero.demo:0", { reason: "is not 1 to 65535" }],
  ["tcp://many.demo:65536", { reason: "is not 1 to 65535" }],
  ["tcp://ssh.demo:22", { reason: "forward.reserved_ports" }],
  ["http://u:p@user.demo", { reason: "is not [scheme://]host[:port]" }],
  ["http://path.demo/path", { reason: "is not [scheme://]host[:port]" }],
  ["http://query.demo?q", { reason: "is not [scheme://]host[:port]" }],
  ["http://hash.demo#x", { reason: "is not [scheme://]host[:port]" }],
];

stories("an endpoint with the URL", () => {
  let items: Awaited<ReturnType<Daemon["list"]>>;
  let shown: string;

  beforeAll(async () => {
    await begin();
    const all = urls.map(([url], i) => ({ id: `ep_${i}`, url, proto: "" }));
    front.odd = { calls: /^GET .*endpoints/, answer: () => json(listOf(hello, ...all)) };
    await daemon.refresh();
    items = await daemon.list();
    const { code, out, err } = await ngrokd("list");
    expect({ code, err, faults: faultsOf({ code, out, err }) }).toEqual({
      code: 0,
      err: "",
      faults: [],
    });
    shown = out;
  });

  test.each(urls)("%j is served or listed with a reason", (url, outcome) => {
    const item = items.find(({ ids }) =>
      ids.includes(`ep_${urls.findIndex(([one]) => one === url)}`),
    );
    if ("name" in outcome) {
      expect(item).toMatchObject({ state: "listening", hostname: outcome.name });
      expect(readFileSync("/etc/hosts", "utf8")).toContain(`${item?.ip}\t${outcome.name}\n`);
    } else {
      expect(item).toMatchObject({ state: "unsupported" });
      expect(item?.reason).toContain(outcome.reason);
    }
  });

  test("of these adds no line but its own to the hosts file, and none for 127.0.0.1", () => {
    const names = urls.flatMap(([, outcome]) => ("name" in outcome ? [outcome.name] : []));
    const added = readFileSync("/etc/hosts", "utf8").slice(foreignHosts.length).split("\n");
    const lines = added.filter((line) => line !== "" && !line.startsWith("#"));
    expect(lines.map((line) => line.split("\t")[1]).sort()).toEqual(
      [...names, "hello.demo"].sort(),
    );
    expect(lines.every((line) => /^127\.0\.0\.(?!1\t)\d+\t/.test(line))).toBe(true);
    expect(shown).toContain("\\u202e");
  });
});
