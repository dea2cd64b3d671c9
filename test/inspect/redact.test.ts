import { describe, expect, test } from "bun:test";
import { keepsField, withoutValues } from "../../src/inspect/redact.ts";

describe("keepsField", () => {
  const kept = (name: string, ...patterns: string[]): boolean => keepsField(name, patterns);

  test("keeps fields about the message alone, unless asked for more", () => {
    for (const name of ["Content-Type", "content-length", "Host", "User-Agent"])
      expect(`${name}: ${kept(name)}`).toBe(`${name}: true`);
    for (const name of ["Authorization", "Cookie", "Set-Cookie", "Referer", "X-Request-Id"])
      expect(`${name}: ${kept(name)}`).toBe(`${name}: false`);
  });

  test("keeps what a pattern means, but no credential", () => {
    expect(kept("X-Request-Id", "x-*")).toBe(true);
    expect(kept("Referer", "*")).toBe(true);
    for (const name of ["Authorization", "Set-Cookie", "X-Api-Key", "X-Auth", "X-Csrf-Token"])
      expect(`${name}: ${kept(name, "*", "x-*")}`).toBe(`${name}: false`);
  });

  test("keeps no protocol of a WebSocket, which may be a token", () => {
    expect(kept("Sec-WebSocket-Protocol")).toBe(false);
    expect(kept("Sec-WebSocket-Protocol", "*")).toBe(false);
    expect(kept("Sec-WebSocket-Protocol", "sec-websocket-protocol")).toBe(true);
  });

  test("keeps a credential that is named in full", () => {
    expect(kept("Authorization", "authorization")).toBe(true);
    expect(kept("Proxy-Authorization", "authorization")).toBe(false);
  });
});

describe("withoutValues", () => {
  test.each([
    ["/plain/path", "/plain/path"],
    ["/a?token=secret&b=&c", "/a?token=***&b=***&***"],
    ["/a?", "/a?"],
    ["/a?x=1?2=3&&y=2", "/a?x=***&&y=***"],
    ["http://me:word@a.demo/x?y=z", "http://***@a.demo/x?y=***"],
    ["http://a.demo/@x", "http://a.demo/@x"],
    ["a.demo:443", "a.demo:443"],
    ["*", "*"],
  ])("of %s are %s", (target, found) => {
    expect(withoutValues(target)).toBe(found);
  });
});
