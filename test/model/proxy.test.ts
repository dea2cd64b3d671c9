import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ipv6Bytes } from "../../src/model/ip.ts";
import {
  basicCredentials,
  exempt,
  type ProxyServer,
  parseProxyUrl,
  proxyFor,
  proxyForUrl,
  proxySecrets,
  proxyText,
  proxyUrl,
  proxyWays,
} from "../../src/model/proxy.ts";

const read = (text: string): ProxyServer => {
  const proxy = parseProxyUrl(text);
  if (!proxy.ok) throw new Error(proxy.reason);
  return proxy.value;
};

describe("parseProxyUrl", () => {
  test.each([
    ["http://proxy.corp:3128", { kind: "http", host: "proxy.corp", port: 3128 }],
    ["Proxy.Corp:3128", { kind: "http", host: "proxy.corp", port: 3128 }],
    ["http://proxy.corp/", { kind: "http", host: "proxy.corp", port: 80 }],
    [" socks5://10.0.0.1 ", { kind: "socks5", host: "10.0.0.1", port: 1080 }],
    ["socks5h://[2001:db8::1]:1081", { kind: "socks5", host: "2001:db8::1", port: 1081 }],
    [
      "http://alice:p%40ss%3Aword@proxy:1",
      {
        kind: "http",
        host: "proxy",
        port: 1,
        credentials: { username: "alice", password: "p@ss:word" },
      },
    ],
    [
      "bob@proxy:1",
      { kind: "http", host: "proxy", port: 1, credentials: { username: "bob", password: "" } },
    ],
  ] as const)("reads %j", (text, proxy) => {
    expect(read(text)).toEqual(proxy);
  });

  test.each([
    ["", /not a URL/],
    ["https://proxy:443", /https proxies/],
    ["socks4://proxy:1", /kind "socks4" is not supported/],
    ["http://proxy:1/path", /after its host/],
    ["http://proxy:1?x", /after its host/],
    ["http://proxy:0", /host or port/],
    ["http://proxy:65536", /not a URL/],
    ["socks5://pro xy", /./],
    ["http://u%:p@proxy:1", /% without a valid code/],
    ["http://a%3Ab:p@proxy:1", /colon/],
    [`socks5://u:${"x".repeat(256)}@proxy`, /255 bytes/],
    ["socks5://:p@proxy", /needs a user name/],
  ])("refuses %j", (text, reason) => {
    const proxy = parseProxyUrl(text);
    expect(proxy.ok ? "" : proxy.reason).toMatch(reason);
  });

  test("never quotes a password, and reads back the text of proxyUrl", () => {
    const word = fc
      .string({ unit: "grapheme", minLength: 6, maxLength: 20 })
      .filter((text) => text.isWellFormed());
    fc.assert(
      fc.property(word, fc.constantFrom("http", "socks5"), (password, kind) => {
        const proxy: ProxyServer = {
          kind,
          host: "proxy",
          port: 7,
          credentials: { username: "me", password },
        };
        expect(read(proxyUrl(proxy))).toEqual(proxy);
        expect(proxyText(proxy)).toBe(`${kind}://[redacted]@proxy:7`);
        expect(proxySecrets(proxy)).toContain(password);
        const wrong = parseProxyUrl(`ftp://me:${encodeURIComponent(password)}@proxy`);
        expect(wrong.ok || wrong.reason.includes(password)).toBe(false);
      }),
    );
  });

  test("writes Basic credentials in UTF-8", () => {
    expect(basicCredentials({ username: "Aladdin", password: "open sesame" })).toBe(
      "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
    );
    expect(
      Buffer.from(basicCredentials({ username: "é", password: "ü€" }), "base64").toString(),
    ).toBe("é:ü€");
  });
});

describe("exempt", () => {
  test.each([
    [
      "example.com",
      ["example.com", "Example.COM.", "api.example.com"],
      ["badexample.com", "example.org", "com"],
    ],
    [".example.com", ["api.example.com", "a.b.example.com"], ["example.com", "badexample.com"]],
    ["*.example.com", ["api.example.com"], ["example.com"]],
    ["a.test, b.test\tc.test,,", ["a.test", "b.test", "c.test"], ["d.test"]],
    ["*", ["example.com", "10.0.0.1", "::1"], []],
    [
      "10.0.0.0/8,192.0.2.7",
      ["10.255.0.1", "192.0.2.7"],
      ["11.0.0.1", "192.0.2.8", "x.192.0.2.7.test"],
    ],
    [
      "fd00::/8, [2001:db8::1]",
      ["fd12::9", "2001:db8:0::1"],
      ["fe80::1", "2001:db8::2", "10.0.0.1"],
    ],
    ["2001:db8::5", ["2001:db8:0:0::5"], ["2001:db8::6"]],
    ["example.com:443", ["example.com", "api.example.com"], ["example.org"]],
    ["example.com:80, [fd00::1]:80, 10.0.0.1:80", [], ["example.com", "fd00::1", "10.0.0.1"]],
    ["", [], ["example.com"]],
    [
      "http://example.com, 10.0.0.0/99, fd00::/200, [zz]",
      [],
      ["example.com", "10.0.0.1", "fd00::1"],
    ],
  ])("NO_PROXY=%j", (noProxy, named, others) => {
    expect(named.filter((host) => !exempt({ host, port: 443 }, noProxy))).toEqual([]);
    expect(others.filter((host) => exempt({ host, port: 443 }, noProxy))).toEqual([]);
  });

  test("never throws, and an address names itself in every spelling", () => {
    fc.assert(
      fc.property(fc.string(), fc.ipV6(), (noise, host) => {
        exempt({ host, port: 1 }, noise);
        exempt({ host: "example.com", port: 1 }, noise);
        const full = Buffer.from(ipv6Bytes(host))
          .toString("hex")
          .replaceAll(/(.{4})(?=.)/g, "$1:");
        expect(exempt({ host, port: 1 }, full)).toBe(true);
        expect(exempt({ host, port: 1 }, `${full}/128`)).toBe(true);
      }),
    );
  });
});

describe("proxyFor", () => {
  const proxy = read("http://proxy:3128");
  const rules = { proxy, fromEnvironment: true, noProxy: "direct.test" };

  test("is undefined for hosts in NO_PROXY, and without a proxy", () => {
    expect(proxyFor({ host: "api.test", port: 443 }, rules)).toBe(proxy);
    expect(proxyFor({ host: "direct.test", port: 443 }, rules)).toBeUndefined();
    expect(
      proxyFor({ host: "direct.test", port: 443 }, { ...rules, fromEnvironment: false }),
    ).toBeUndefined();
    expect(
      proxyFor({ host: "api.test", port: 443 }, { ...rules, proxy: undefined }),
    ).toBeUndefined();
  });

  test.each(["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "0:0:0:0:0:0:0:1"])(
    "reaches %s directly unless our own configuration has the proxy",
    (host) => {
      expect(proxyFor({ host, port: 443 }, rules)).toBeUndefined();
      expect(proxyFor({ host, port: 443 }, { ...rules, fromEnvironment: false })).toBe(proxy);
    },
  );
});

describe("proxyForUrl and proxyWays", () => {
  const proxy = read("http://proxy:3128");
  const rules = { proxy, fromEnvironment: false, noProxy: "direct.test [fd00::1]:8443" };

  test.each([
    ["https://api.test", true],
    ["https://[fd00::2]:8443/path", true],
    ["http://api.test", false],
    ["https://direct.test:9443", false],
    ["https://[fd00::1]:8443", false],
    ["https://[fd00::1]", true],
  ])("the way to %s has a proxy: %j", (url, hasProxy) => {
    expect(proxyForUrl(new URL(url), rules)).toBe(hasProxy ? proxy : undefined);
  });

  test("are texts, which are empty for direct connections", () => {
    expect(proxyWays("https://api.test", "direct.test", rules)).toEqual({
      api: "http://proxy:3128",
      ingress: "",
    });
    expect(proxyWays("http://api.test", "ingress.test:443", rules)).toEqual({
      api: "",
      ingress: "http://proxy:3128",
    });
    expect(proxyWays("https://direct.test", "no place:", rules)).toEqual({ api: "", ingress: "" });
  });
});
