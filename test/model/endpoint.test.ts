import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { bindingBelow, bindingsOf } from "../../src/model/binding.ts";
import { type ApiEndpoint, parseEndpointUrl } from "../../src/model/endpoint.ts";
import { host } from "../machine/support.ts";
import { anyText } from "../support/texts.ts";

const endpoint = (id: string, url: string, proto = ""): ApiEndpoint => ({ id, url, proto });

describe("parseEndpointUrl", () => {
  test.each([
    ["http://hello.demo", "", "http hello.demo 80"],
    ["https://hello.demo", "", "https hello.demo 443"],
    ["tls://hello.demo", "", "tls hello.demo 443"],
    ["tcp://hello.demo:5432", "", "tcp hello.demo 5432"],
    ["http://hello.demo:8080", "", "http hello.demo 8080"],
    ["HTTP://Hello.DEMO:8080/", "", "http hello.demo 8080"],
    ["http://hello.demo.", "", "http hello.demo 80"],
    ["http://service.namespace:65535", "tcp", "http service.namespace 65535"],
    ["hello.demo:22", "", "tcp hello.demo 22"],
    ["hello.demo", "https", "https hello.demo 443"],
    ["hello.demo", "HTTPS", "https hello.demo 443"],
    ["tcp://hello.demo:000022", "", "tcp hello.demo 22"],
  ])("reads %j (proto %j)", (url, proto, expected) => {
    const target = parseEndpointUrl(url, proto);
    expect(
      target.ok ? `${target.value.proto} ${target.value.host} ${target.value.port}` : target.reason,
    ).toBe(expected);
  });

  test.each([
    ["", "the endpoint has no URL"],
    ["tcp://hello.demo", 'the URL "tcp://hello.demo" names no port, and tcp has no default port'],
    ["hello.demo", 'the URL "hello.demo" names no port, and tcp has no default port'],
    ["http://hello.demo:0", 'the port of "http://hello.demo:0" is not 1 to 65535'],
    ["http://hello.demo:65536", 'the port of "http://hello.demo:65536" is not 1 to 65535'],
    ["http://hello.demo:", 'the port of "http://hello.demo:" is not 1 to 65535'],
    [
      "ssh://hello.demo",
      'the URL "ssh://hello.demo" has the scheme "ssh"; http, https, tls and tcp are supported',
    ],
    [
      "constructor://hello.demo:1",
      'the URL "constructor://hello.demo:1" has the scheme "constructor"; http, https, tls ' +
        "and tcp are supported",
    ],
    [
      "https://a.*.example.com",
      'the URL "https://a.*.example.com" has a "*" that is not the whole first label',
    ],
    [
      "tcp://*.example.com:1",
      'the URL "tcp://*.example.com:1" is a wildcard, which http, https and tls have, not tcp',
    ],
    ["https://", "the host name is empty"],
    ["https://user@hello.demo", 'the URL "https://user@hello.demo" is not [scheme://]host[:port]'],
    ["https://hello.demo/path", 'the URL "https://hello.demo/path" is not [scheme://]host[:port]'],
    ["https://hello.demo?q", 'the URL "https://hello.demo?q" is not [scheme://]host[:port]'],
    ["https://127.0.0.1", 'the host name "127.0.0.1" reads as an IP address'],
    [
      "https://[::1]:80",
      'the host name "[::1]" has a character that is not allowed in names, or a hyphen at a label\'s end',
    ],
    [
      "http://a.demo\n",
      'the host name "a.demo\\n" has a character that is not allowed in names, or a hyphen at a ' +
        "label's end",
    ],
    [
      "http://a\0.demo",
      'the host name "a\\u0000.demo" has a character that is not allowed in names, or a hyphen at a ' +
        "label's end",
    ],
    [
      "http://bücher.demo",
      'the host name "bücher.demo" has a character that is not allowed in names, or a hyphen at a ' +
        "label's end",
    ],
  ])("refuses %j, saying why", (url, reason) => {
    expect(parseEndpointUrl(url)).toEqual({ ok: false, reason });
  });

  test.each([
    "a".repeat(1e6),
    `http://${"a".repeat(1e6)}:80`,
    `http://a:${"1".repeat(1e6)}`,
    "/".repeat(1e6),
    ":".repeat(1e6),
  ])("refuses a megabyte with a short reason", (url) => {
    const target = parseEndpointUrl(url);
    expect(target.ok ? "" : target.reason).toMatch(
      /^the URL ".{80}" is not \[scheme:\/\/\]host\[:port\]$/,
    );
  });

  test("returns a valid host and port, or a reason, for every text", () => {
    const almost = fc.array(
      fc.constantFrom(
        "http",
        "tcp",
        "://",
        ":",
        "//",
        "/",
        "a.demo",
        "*.",
        "80",
        "99999",
        "@",
        "?",
        "\n",
      ),
      {
        maxLength: 7,
      },
    );
    const texts = fc.oneof(
      anyText,
      almost.map((parts) => parts.join("")),
      anyText.map((text) => `http://${text}:80`),
    );
    fc.assert(
      fc.property(texts, fc.string(), (url, proto) => {
        const target = parseEndpointUrl(url, proto);
        if (!target.ok) return expect(target.reason).toMatch(/^[^\p{Cc}\u2028\u2029]+$/u);
        expect(target.value.host).toMatch(/^[a-z0-9_.-]{1,253}$/);
        expect(target.value.port).toBeWithin(1, 65536);
      }),
    );
  });
});

describe("bindingsOf", () => {
  test("makes one binding of all endpoints with the same host and port", () => {
    const { bindings, bad } = bindingsOf([
      endpoint("ep_2", "http://hello.demo"),
      endpoint("ep_1", "http://hello.demo"),
      endpoint("ep_3", "HTTP://hello.demo:80/"),
      endpoint("ep_3", "HTTP://hello.demo:80/"),
    ]);
    expect(bad).toEqual([]);
    expect(bindings as unknown).toEqual([
      {
        key: "hello.demo:80",
        url: "HTTP://hello.demo:80/",
        ids: ["ep_1", "ep_2", "ep_3"],
        proto: "http",
        host: "hello.demo",
        port: 80,
      },
    ]);
  });

  test("returns the same result for the same list, without reading it again", () => {
    const list = [endpoint("ep_1", "http://hello.demo"), endpoint("ep_2", "https://*.team.demo")];
    expect(bindingsOf(list)).toBe(bindingsOf(list));
    expect(bindingsOf([...list])).toEqual(bindingsOf(list));
  });

  test("keeps the ports of one host apart, and sorts by key", () => {
    const { bindings } = bindingsOf(
      ["tcp://b.demo:2", "http://b.demo", "tcp://a.demo:9"].map((url) => endpoint(url, url)),
    );
    expect(bindings.map(({ key }) => key)).toEqual(["a.demo:9", "b.demo:2", "b.demo:80"]);
  });

  test("returns each bad endpoint with its reason, and binds the others", () => {
    const { bindings, bad } = bindingsOf([
      endpoint("ep_1", "http://good.demo"),
      endpoint("ep_2", "udp://b.demo:1"),
      endpoint("", ""),
      endpoint("", ""),
      endpoint("ep_3", "tcp://good.demo:80"),
    ]);
    expect(bindings.map(({ key, ids }) => `${key} ${ids}`)).toEqual(["good.demo:80 ep_1"]);
    expect(bad).toEqual([
      { id: "", url: "", reason: "the endpoint has no URL" },
      {
        id: "ep_3",
        url: "tcp://good.demo:80",
        reason: "good.demo:80 is already served as http for http://good.demo",
      },
      {
        id: "ep_2",
        url: "udp://b.demo:1",
        reason:
          'the URL "udp://b.demo:1" has the scheme "udp"; http, https, tls and tcp are supported',
      },
    ]);
  });

  test("keeps wildcards apart, and a name below one has a binding of its own", () => {
    const { bindings, wildcards, bad } = bindingsOf([
      endpoint("ep_2", "https://*.Team.internal"),
      endpoint("ep_1", "https://*.team.internal:443"),
      endpoint("ep_3", "https://team.internal"),
    ]);
    expect(bad).toEqual([]);
    expect(bindings.map(({ key }) => key)).toEqual(["team.internal:443"]);
    expect(wildcards).toEqual([
      {
        proto: "https",
        zone: host("team.internal"),
        port: 443,
        key: "*.team.internal:443",
        url: "https://*.Team.internal",
        ids: ["ep_1", "ep_2"],
      },
    ]);
    const below = wildcards.map((wildcard) => bindingBelow(wildcard, host("a.team.internal")));
    expect(below).toMatchObject([
      { key: "a.team.internal:443", host: "a.team.internal", wildcard: "*.team.internal:443" },
    ]);
  });

  test("does not depend on the order, and loses no endpoint", () => {
    const url = fc.constantFrom(
      "http://a.demo",
      "tcp://a.demo:80",
      "a.demo:80",
      "https://b.demo",
      "*.c",
      "",
      "tcp://b.demo",
      "x\ny",
    );
    const one = fc.record({
      id: fc.constantFrom("", "ep_1", "ep_2", "ep_3"),
      url,
      proto: fc.constantFrom("", "http", "https", "tcp", "udp"),
    });
    const lists = fc
      .array(one, { maxLength: 12 })
      .chain((list) =>
        fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
      );
    fc.assert(
      fc.property(lists, ([list, shuffled]) => {
        const { bindings, wildcards, bad } = bindingsOf(list);
        expect(bindingsOf(shuffled)).toEqual({ bindings, wildcards, bad });
        expect(new Set(bindings.map(({ key }) => key)).size).toBe(bindings.length);
        const bound = [...bindings, ...wildcards].flatMap(({ ids }) => ids);
        const told = new Set([...bound, ...bad.map(({ id }) => id)]);
        expect(list.filter(({ id }) => !told.has(id))).toEqual([]);
      }),
    );
  });
});
