import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Conn } from "../../../src/net/types.ts";
import { type Greeted, greet, longestGreeting, lookAt } from "../../../src/relay/greet/greet.ts";
import { isHttp2, prefaceOfHttp2, settingsFrame } from "../../../src/relay/greet/http2.ts";
import { host } from "../../machine/support.ts";
import { bytes, pair, scripted } from "../../support/conns.ts";
import { frame, helloFor, inRecords } from "./support.ts";

const hello = await helloFor("api.team.demo");
const nameless = await helloFor("");
const named = { kind: "tls", host: host("api.team.demo") } as const;
const request = (lines: string): Uint8Array => bytes(`${lines.replaceAll("\n", "\r\n")}\r\n\r\n`);
const noHost = { kind: "tls", host: undefined } as const;

const nameIn = (seen: Uint8Array, from?: number) => lookAt(seen, from).naming;

/** Undefined if the client finishes before its name is known. */
const greeted = (conn: Conn): Promise<Greeted | undefined> =>
  new Promise((resolve, reject) => {
    greet(conn, {
      greeted: resolve,
      left: (error) => (error === undefined ? resolve(undefined) : reject(error)),
    });
  });

describe("nameIn a ClientHello", () => {
  test("finds the name, and only at the last byte", () => {
    expect(nameIn(hello)).toEqual(named);
    const early = Array.from(hello.keys(), (n) => nameIn(hello.subarray(0, n)));
    expect([...new Set(early.map(({ kind }) => kind))]).toEqual(["more"]);
    for (const [n, naming] of early.entries())
      expect([n, naming.kind === "more" && naming.atLeast > n]).toEqual([n, true]);
  });

  test.each([1, 2, 3, 4, 5, 7, 64, 200])("finds it in records of %i bytes", (size) => {
    const cut = inRecords(hello, size);
    expect(nameIn(cut)).toEqual(named);
    expect(nameIn(cut.subarray(0, -1))).toMatchObject({ kind: "more" });
  });

  test("finds none if the client names none", () => {
    expect(nameIn(nameless)).toEqual(noHost);
  });

  test("takes a name in any case and with a dot at the end", async () => {
    const upper = Buffer.from(hello).toString("latin1").replace("api.team.demo", "API.Team.demo");
    expect(nameIn(Buffer.from(upper, "latin1"))).toEqual(named);
  });

  test("survives any damage", () => {
    fc.assert(
      fc.property(fc.nat(hello.length - 1), fc.nat(255), fc.nat(hello.length), (at, to, length) => {
        const damaged = hello.slice(0, length);
        damaged[at] = to;
        return ["more", "tls", "unreadable", "http"].includes(nameIn(damaged).kind);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ["another record first", [21, 3, 3, 0, 2, 1, 0]],
    ["a record without bytes", [22, 3, 1, 0, 0]],
    ["a record that is too long", [22, 3, 1, 0x40, 1]],
    ["another message than a ClientHello", [22, 3, 1, 0, 4, 2, 0, 0, 0]],
    ["an extension beyond the end", [22, 3, 1, 0, 4, 1, 0, 0, 0]],
  ])("refuses %s", (_, start) => {
    expect(nameIn(new Uint8Array(start)).kind).toBe("unreadable");
  });
});

describe("nameIn a request", () => {
  test.each([
    ["a Host", "GET / HTTP/1.1\nHost: a.demo"],
    ["a Host with a port", "GET / HTTP/1.1\nhost:a.demo:8080 "],
    ["a Host in capitals", "GET / HTTP/1.1\nAccept: */*\nHOST: A.Demo."],
    ["an absolute target", "GET http://a.demo:80/x?y HTTP/1.1\nHost: a.demo"],
    ["an absolute target without Host", "GET http://me@a.demo HTTP/1.0"],
    ["CONNECT", "CONNECT a.demo:443 HTTP/1.1\nHost: a.demo:443"],
    ["an empty line before it", "\nGET / HTTP/1.1\nHost: a.demo"],
  ])("finds the name with %s", (_, text) => {
    const all = request(text);
    expect(nameIn(all)).toEqual({ kind: "http", host: host("a.demo") });
    for (const n of all.keys()) expect([n, nameIn(all.subarray(0, n)).kind]).toEqual([n, "more"]);
  });

  test.each([
    ["no Host", "GET / HTTP/1.0", undefined],
    ["an empty Host", "GET / HTTP/1.1\nHost:", undefined],
    ["an address", "GET / HTTP/1.1\nHost: 192.0.2.1:80", ""],
    ["an IPv6 address", "GET / HTTP/1.1\nHost: [::1]", ""],
  ] as const)("finds none with %s", (_, text, named) => {
    expect(nameIn(request(text))).toEqual({ kind: "http", host: named });
  });

  test.each([
    ["two Host fields", "GET / HTTP/1.1\nHost: a.demo\nHost: b.demo"],
    ["another Host than its target", "GET http://a.demo/ HTTP/1.1\nHost: b.demo"],
    ["a field in two lines", "GET / HTTP/1.1\nX: 1\n Host: a.demo\nHost: b.demo"],
    ["a space before the colon", "GET / HTTP/1.1\nHost : a.demo"],
    [
      "both framings",
      "POST / HTTP/1.1\nHost: a.demo\nContent-Length: 1\nTransfer-Encoding: chunked",
    ],
    ["two lengths", "POST / HTTP/1.1\nHost: a.demo\nContent-Length: 1\nContent-Length: 2"],
    ["an unknown last coding", "POST / HTTP/1.1\nHost: a.demo\nTransfer-Encoding: chunked, x"],
    ["a signed length", "POST / HTTP/1.1\nHost: a.demo\nContent-Length: +1"],
    ["no version", "GET /\nHost: a.demo"],
  ])("refuses %s", (_, text) => {
    expect(nameIn(request(text))).toMatchObject({ kind: "unreadable", http: true });
  });

  test.each([
    ["spaces in a value", "unreadable", `GET / HTTP/1.1\nX:${" ".repeat(60_000)}\x01`],
    [
      "spaces between codings",
      "unreadable",
      `GET / HTTP/1.1\nTransfer-Encoding: a${" ".repeat(60_000)}b`,
    ],
    ["many fields", "http", `GET / HTTP/1.1\n${"a:\n".repeat(15_000)}b:`],
    ["a long target", "http", `GET ${"a+".repeat(30_000)} HTTP/1.1\nHost: a.demo`],
  ])("goes through its bytes once with %s", (_, kind, text) => {
    // With a search from each byte, one of them took 14 s, and so all of them
    // would take longer than a test may.
    const all = request(text);
    const kinds = Array.from({ length: 20 }, () => nameIn(all).kind);
    expect(new Set<string>(kinds)).toEqual(new Set([kind]));
  });

  test("refuses a line end that is no CR LF, and what is no HTTP at all", () => {
    expect(nameIn(bytes("GET / HTTP/1.1\nHost: a.demo\r\n\r\n")).kind).toBe("unreadable");
    expect(nameIn(bytes("SSH-2.0-OpenSSH_9.2\r\n")).kind).toBe("unreadable");
    expect(nameIn(new Uint8Array([0, 0, 0, 8])).kind).toBe("unreadable");
  });
});

describe("nameIn HTTP/2", () => {
  const settings = frame(4, 0, 0, new Uint8Array(0));
  const plain = (name: number, value: string): Buffer =>
    Buffer.concat([Buffer.from([name, value.length]), bytes(value)]);
  const first = (block: Uint8Array, flags = 4): Buffer =>
    Buffer.concat([prefaceOfHttp2, settings, frame(1, flags, 1, block)]);

  test("finds the authority of the first request", () => {
    // Literal with and without indexing; the method and the path are indexed.
    const block = Buffer.concat([Buffer.from([0x82, 0x84]), plain(0x41, "a.demo:80")]);
    const all = first(block);
    expect(nameIn(all)).toEqual({ kind: "http2", host: host("a.demo") });
    for (const n of all.keys()) expect([n, nameIn(all.subarray(0, n)).kind]).toEqual([n, "more"]);
  });

  test("reads Huffman codes, as RFC 7541 has them", () => {
    // Section C.4.1: `:authority: www.example.com`.
    const block = Buffer.from("828684418cf1e3c2e5f23a6ba0ab90f4ff", "hex");
    expect(nameIn(first(block))).toEqual({ kind: "http2", host: host("www.example.com") });
  });

  test("reads padding, a priority, a continuation, and a long path before it", () => {
    const path = plain(0x44, `/${"~".repeat(100)}`);
    const block = Buffer.concat([Buffer.from([0x3f, 0xe1, 0x1f]), path, plain(0x01, "a.demo")]);
    const inside = Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 9]), block.subarray(0, 50)]);
    const padded = Buffer.concat([inside, new Uint8Array(2)]);
    const all = Buffer.concat([first(padded, 0x28), frame(9, 4, 1, block.subarray(50))]);
    expect(nameIn(all)).toEqual({ kind: "http2", host: host("a.demo") });
  });

  test("survives any damage", () => {
    const whole = first(Buffer.concat([Buffer.from([0x82, 0x84]), plain(0x41, "a.demo")]));
    const { length } = whole;
    fc.assert(
      fc.property(fc.nat(length - 1), fc.nat(255), fc.nat(length), (at, to, end) => {
        const damaged = Buffer.from(whole.subarray(0, end));
        if (at < end) damaged[at] = to;
        // "PRI * HTTP/1.0" is a request of HTTP/1.
        const http = isHttp2(damaged) === false ? ["http"] : [];
        return ["more", "http2", "unreadable", ...http].includes(nameIn(damaged).kind);
      }),
      { numRuns: 2000 },
    );
  });

  test("takes the host field if there is no authority", () => {
    expect(nameIn(first(plain(0x66, "a.demo")))).toEqual({ kind: "http2", host: host("a.demo") });
    expect(nameIn(first(Buffer.from([0x82])))).toEqual({ kind: "http2", host: undefined });
  });
});

describe("greet", () => {
  const settings = frame(4, 0, 0, new Uint8Array(0));
  const first = frame(1, 4, 1, bytes("\x41\x06a.demo"));

  test("reads segments of one byte, and returns all of them", async () => {
    const conn = scripted(
      [...hello].map((byte) => new Uint8Array([byte])),
      "silence",
    );
    expect(await greeted(conn)).toEqual({ naming: named, bytes: hello });
  });

  test("looks seldom at a ClientHello in tiny records, also if they come one by one", async () => {
    const long = new Uint8Array(10_000);
    long.set([22, 3, 1, 0, 0, 1, 0, 39, 7]);
    const records = inRecords(long, 1);
    const chunks = Array.from({ length: records.length / 6 }, (_, i) =>
      records.subarray(6 * i, 6 * i + 6),
    );
    const conn = scripted(chunks, "FIN");
    const before = process.cpuUsage();
    expect((await greeted(conn))?.naming).toEqual(noHost);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(1000);
  });

  test("returns nothing if the client finishes before its name", async () => {
    expect(await greeted(scripted([hello.subarray(0, 60)], "FIN"))).toBeUndefined();
  });

  test("reads at most 64 KiB", async () => {
    const head = bytes(`GET / HTTP/1.1\r\nX: ${"x".repeat(longestGreeting)}`);
    expect((await greeted(scripted([head], "silence")))?.naming.kind).toBe("unreadable");
    const long = scripted([new Uint8Array([22, 3, 1, 0, 4, 1, 1, 0, 0])], "silence");
    expect((await greeted(long))?.naming.kind).toBe("unreadable");
  });

  test("goes through small HTTP/2 frames once, wherever they are", async () => {
    const opening = Buffer.concat([prefaceOfHttp2, settings]);
    const unknown = frame(11, 0, 1, new Uint8Array(0));
    const rest = frame(9, 0, 1, new Uint8Array(0));
    const half = frame(1, 0, 1, bytes("\x41\x06a.demo"));
    const outcome = async (before: Uint8Array, small: Uint8Array, size: number) => {
      const all = Buffer.concat([before, ...Array.from({ length: 7200 }, () => small)]);
      const pieces = Array.from({ length: Math.ceil(all.length / size) }, (_, i) =>
        all.subarray(i * size, i * size + size),
      );
      return (await greeted(scripted([opening, ...pieces], "FIN")))?.naming.kind;
    };
    // When each look began at the first frame, one round took 24 s. So all of
    // them would take longer than a test may.
    for (let round = 0; round < 3; round += 1) {
      expect(await outcome(new Uint8Array(0), unknown, 9)).toBeUndefined();
      expect(await outcome(new Uint8Array(0), unknown, 2)).toBeUndefined();
      expect(await outcome(first, unknown, 9)).toBeUndefined();
      expect(await outcome(half, rest, 9)).toBe("unreadable");
    }
  });

  test("takes the body of a client that has not read our SETTINGS yet", async () => {
    const body = frame(0, 0, 1, new Uint8Array(16_380).fill(7));
    const parts = [Buffer.concat([prefaceOfHttp2, settings]), first, body, body, body, body];
    const conn = scripted([...parts, frame(4, 1, 0, new Uint8Array(0))], "silence");
    const result = await greeted(conn);
    expect(result?.naming).toEqual({ kind: "http2", host: host("a.demo") });
    expect(Buffer.from(result?.bytes ?? []).equals(Buffer.concat(parts))).toBe(true);
    const endless = scripted(
      [...parts.slice(0, 2), ...Array.from({ length: 99 }, () => body)],
      "FIN",
    );
    expect(await greeted(endless)).toMatchObject({
      naming: { kind: "unreadable", reason: "it does not answer our HTTP/2 SETTINGS" },
    });
  });

  test("sends SETTINGS to HTTP/2 clients that wait, and keeps their ACK back", async () => {
    const [near, far] = await pair();
    const headers = frame(1, 5, 1, bytes("\x41\x06a.demo"));
    await near.write(Buffer.concat([prefaceOfHttp2, settings]));
    const result = greeted(far);
    expect(await near.read()).toEqual(settingsFrame);
    await near.write(headers);
    await near.write(Buffer.concat([frame(4, 1, 0, new Uint8Array(0)), bytes("rest")]));
    const found = await result;
    expect(found?.naming).toEqual({ kind: "http2", host: host("a.demo") });
    const passed = Buffer.concat([prefaceOfHttp2, settings, headers, bytes("rest")]);
    expect(Buffer.from(found?.bytes ?? []).equals(passed)).toBe(true);
    near.close();
    far.close();
  });
});
