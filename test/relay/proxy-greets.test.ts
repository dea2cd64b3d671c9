import { describe, expect, test } from "bun:test";
import { proxyRequestIn } from "../../src/relay/greet/http-proxy.ts";
import { methodsIn, targetIn } from "../../src/relay/greet/socks5.ts";

describe("a SOCKS5 client", () => {
  test("offers methods, of which no authentication is taken", () => {
    expect(methodsIn(Uint8Array.of(5, 2, 0, 2, 9))).toEqual({ kind: "methods", used: 4 });
    expect(methodsIn(Uint8Array.of(5, 1, 2)).kind).toBe("bad");
    expect(methodsIn(Uint8Array.of(4, 1))).toMatchObject({ reason: "it speaks SOCKS4" });
  });

  test("names a host, an IPv4 address or an IPv6 address", () => {
    const name = [...new TextEncoder().encode("a.demo")];
    const target = (...bytes: number[]) => targetIn(Uint8Array.from([5, 1, 0, ...bytes]));
    expect(target(3, 6, ...name, 1, 187, 99)).toEqual({
      kind: "target",
      used: 13,
      host: "a.demo",
      port: 443,
    });
    expect(target(1, 10, 0, 0, 1, 0, 80)).toMatchObject({ host: "10.0.0.1", port: 80 });
    expect(target(4, ...Array(15).fill(0), 1, 0, 80)).toMatchObject({ host: "::1", port: 80 });
    expect(targetIn(Uint8Array.of(5, 3, 0, 1, 0, 0, 0, 0, 0, 0))).toMatchObject({
      kind: "bad",
      reason: "it asks for something else than CONNECT",
    });
  });

  test("is waited for at every byte of its messages", () => {
    const [methods, target] = [Uint8Array.of(5, 1, 0), Uint8Array.of(5, 1, 0, 3, 1, 97, 0, 80)];
    for (let i = 0; i < methods.length; i += 1)
      expect({ i, kind: methodsIn(methods.subarray(0, i)).kind }).toEqual({ i, kind: "more" });
    for (let i = 0; i < target.length; i += 1)
      expect({ i, kind: targetIn(target.subarray(0, i)).kind }).toEqual({ i, kind: "more" });
  });
});

describe("a client of an HTTP proxy", () => {
  const read = (...lines: string[]) =>
    proxyRequestIn(new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\nrest`));

  test("asks for a tunnel", () => {
    expect(read("CONNECT a.demo:443 HTTP/1.1", "Host: a.demo:443")).toMatchObject({
      kind: "tunnel",
      host: "a.demo",
      port: 443,
    });
    expect(read("CONNECT a.demo HTTP/1.1").kind).toBe("bad");
  });

  test("sends a request in absolute form, which gets the origin's form", () => {
    const request = read(
      "GET http://me@A.demo:81/x?y=1 HTTP/1.1",
      "Host: a.demo:81",
      "Proxy-Connection: keep-alive",
      "Proxy-Authorization: Basic secret",
      "Accept: */*",
    );
    expect(request).toMatchObject({ kind: "request", host: "a.demo", port: 81 });
    const head = request.kind === "request" ? new TextDecoder().decode(request.head) : "";
    expect(head).toBe(
      "GET /x?y=1 HTTP/1.1\r\nHost: A.demo:81\r\nAccept: */*\r\nConnection: close\r\n\r\n",
    );
  });

  test("may ask to switch protocols, and keeps that", () => {
    const request = read("GET http://a.demo HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket");
    const head = request.kind === "request" ? new TextDecoder().decode(request.head) : "";
    expect(head).toBe(
      "GET / HTTP/1.1\r\nHost: a.demo\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    );
  });

  test.each([
    ["another scheme", ["GET ftp://a.demo/ HTTP/1.1"]],
    ["https in absolute form", ["GET https://a.demo/ HTTP/1.1"]],
    ["two hosts", ["GET http://a.demo/ HTTP/1.1", "Host: b.demo"]],
    ["two lengths", ["GET http://a.demo/ HTTP/1.1", "Content-Length: 1", "Content-Length: 2"]],
    ["no port", ["GET http://a.demo:0/ HTTP/1.1"]],
    ["no HTTP", ["hello there"]],
  ])("is refused with %s", (_what, lines) => {
    expect(read(...lines).kind).toBe("bad");
  });

  test("asks the proxy itself", () => {
    expect(read("GET /proxy.pac HTTP/1.1", "Host: 127.0.0.1:3128")).toMatchObject({
      kind: "own",
      path: "/proxy.pac",
      authority: "127.0.0.1:3128",
    });
  });
});
