import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { readHead } from "../../../src/relay/greet/request-head.ts";
import { createRequestStream, type Manners } from "../../../src/relay/greet/request-stream.ts";
import { host } from "../../machine/support.ts";
import { bytes } from "../../support/conns.ts";

const guard: Manners = { only: [host("a.demo")], rewrite: undefined };
const rewriting: Manners = { only: undefined, rewrite: "a.demo" };
const crlf = (text: string): string => text.replaceAll("\n", "\r\n");

const bodies = [
  ["no body", "GET /1 HTTP/1.1\nHost: a.demo\n\n"],
  ["a length", "POST /2 HTTP/1.1\nHost: a.demo\nContent-Length: 11\n\nHost: b.demo".slice(0, -1)],
  [
    "chunks",
    "POST /3 HTTP/1.1\nHost: a.demo\nTransfer-Encoding: chunked\n\n5;x=y\nab\r\rc\nA\n0123456789\n0\nX: y\n\n",
  ],
  ["an empty line before it", "\nGET /4 HTTP/1.1\nAccept: */*\nHost: a.demo\n\n"],
] as const;
const other = crlf("GET /secret HTTP/1.1\nHost: b.demo\n\n");

/** The text that passes if `text` arrives in these pieces. */
function passed(manners: Manners, text: string, cuts: readonly number[] = []) {
  const stream = createRequestStream(manners);
  const all = Buffer.from(text, "latin1");
  const edges = [0, ...[...cuts].sort((a, b) => a - b), all.length];
  const out = edges.slice(1).flatMap((end, i) => stream.take(all.subarray(edges[i], end)));
  return { text: Buffer.concat(out).toString("latin1"), state: stream.state };
}

describe("a guarded stream", () => {
  const mixed = crlf(bodies.map(([, text]) => text).join(""));

  test.each(bodies)("passes requests with %s, and ends before another host", (_, text) => {
    const found = passed(guard, crlf(text) + other);
    expect(found.text).toBe(crlf(text));
    expect(found.state).toEqual({
      kind: "over",
      reason: 'it names the host "b.demo" on a connection to "a.demo"',
    });
  });

  test("does so wherever the bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(mixed.length + other.length)), (cuts) => {
        const found = passed(guard, mixed + other, cuts);
        return found.text === mixed && found.state.kind === "over";
      }),
      { numRuns: 500 },
    );
    const each = Array.from({ length: mixed.length + other.length }, (_, i) => i);
    expect(passed(guard, mixed + other, each).text).toBe(mixed);
  });

  test("returns the same bytes if all of them pass", () => {
    const stream = createRequestStream(guard);
    const head = bytes(crlf("POST / HTTP/1.1\nHost: a.demo\nContent-Length: 100\n\nab"));
    expect(stream.take(head)).toBe(head);
    const body = new Uint8Array(97);
    expect(stream.take(body)).toBe(body);
    const end = new Uint8Array(1);
    expect(stream.take(end)).toBe(end);
    expect(passed(guard, other).state.kind).toBe("over");
  });

  test("takes a head that was read before for the same bytes alone", () => {
    const text = bytes(crlf("GET / HTTP/1.1\nHost: a.demo\n\n"));
    const head = readHead(text);
    if (head.kind !== "head") throw new Error("The head is not whole");
    const known = createRequestStream(guard, { head, bytes: text });
    expect(known.take(text)).toBe(text);
    const misled = createRequestStream(guard, { head, bytes: text });
    expect(misled.take(bytes(other)).length).toBe(0);
    expect(misled.state.kind).toBe("over");
    const judged = createRequestStream({ ...guard, only: [host("b.demo")] }, { head, bytes: text });
    expect(judged.take(text).length).toBe(0);
    expect(judged.state.kind).toBe("over");
  });

  test("passes later requests without a Host", () => {
    const text = crlf("GET / HTTP/1.1\nHost: a.demo\n\nGET / HTTP/1.0\n\n");
    expect(passed(guard, text)).toEqual({ text, state: { kind: "open" } });
  });

  test.each([
    ["both framings", "POST / HTTP/1.1\nContent-Length: 3\nTransfer-Encoding: chunked\n\n"],
    ["a chunk size that is no number", "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n-1\n\n"],
    [
      "a chunk size in 65 bits",
      `POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n${"f".repeat(13)}\n`,
    ],
    ["a body beyond its length", "POST / HTTP/1.1\nContent-Length: 1\n\n12 / HTTP/1.1\n\n."],
  ])("ends at %s", (_, text) => {
    expect(passed(guard, crlf(text) + other).state.kind).toBe("over");
  });

  const chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  const odd = "a chunk has another length than its size";
  test.each([
    ["a chunk beyond its size", `${chunked}1\r\nxAB1\r\nx\r\n0\r\n\r\n`, odd],
    // A server for which the LF ends the chunk reads the size 1F.
    ["a chunk before a bare LF", `${chunked}1\r\nx\n1F\r\n`, odd],
    [
      "chunks in HTTP/1.0",
      `${chunked.replace("/1.1", "/1.0")}0\r\n\r\n`,
      "it has a Transfer-Encoding in HTTP/1.0",
    ],
    [
      "a CONNECT to another host",
      "CONNECT b.demo:443 HTTP/1.1\r\nHost: a.demo\r\n\r\n",
      "its target and its Host field have different hosts",
    ],
  ])("ends at %s, and says so", (_, text, reason) => {
    expect(passed(guard, text + other).state).toEqual({ kind: "over", reason });
  });

  test("ends at a head that is longer than 64 KiB", () => {
    const whole = `GET / HTTP/1.1\r\nX: ${"x".repeat(70_000)}\r\n\r\n`;
    expect(passed(guard, whole).state).toEqual({
      kind: "over",
      reason: "its head is longer than 64 KiB",
    });
    expect(passed(guard, `GET / HTTP/1.1\r\nX: ${"x".repeat(70_000)}`)).toMatchObject({
      text: "",
      state: { kind: "over" },
    });
  });

  test("ends at a line of a body that is longer than 8 KiB", () => {
    const head = crlf("POST / HTTP/1.1\nHost: a.demo\nTransfer-Encoding: chunked\n\n");
    const kindAfter = (size: number) => passed(guard, head + "1".padEnd(size)).state.kind;
    expect(kindAfter(8192)).not.toBe("over");
    expect(kindAfter(8193)).toBe("over");
  });
});

describe("a request to switch protocols", () => {
  const upgrade = crlf("GET /ws HTTP/1.1\nHost: a.demo\nUpgrade: websocket\n\n");
  const frames = "\x81\x85frames GET / HTTP/1.1\r\nHost: b.demo\r\n\r\n";

  test("holds the client back until the server has answered", () => {
    const stream = createRequestStream(guard);
    expect(text(stream.take(bytes(upgrade + frames)))).toBe(upgrade);
    expect(stream.state).toEqual({ kind: "held" });
  });

  test("ends if the reply to an earlier request could be taken for its own", () => {
    const tunnel = crlf("CONNECT a.demo:80 HTTP/1.1\nHost: a.demo\n\n");
    for (const switching of [upgrade, tunnel]) {
      const stream = createRequestStream(guard);
      const first = crlf(bodies[0][1]);
      expect(text(stream.take(bytes(first + switching)))).toBe(first);
      stream.answer(bytes("HTTP/1.1 200 Yes\r\n\r\n"));
      expect(text(stream.take(bytes(other)))).toBe("");
      expect(stream.state.kind).toBe("over");
    }
    const stream = createRequestStream(guard);
    stream.take(bytes(crlf(bodies[0][1])));
    stream.answer(bytes("HTTP/1.1 200 Yes\r\n\r\n"));
    expect(text(stream.take(bytes(upgrade)))).toBe(upgrade);
  });

  test("lets all bytes pass after 101, also with interim replies and in pieces", () => {
    const stream = createRequestStream(guard);
    stream.take(bytes(upgrade));
    for (const byte of bytes(crlf("HTTP/1.1 103 Early Hints\nX: y\n\nHTTP/1.1 101 Yes\n\n")))
      stream.answer(new Uint8Array([byte]));
    expect(stream.state).toEqual({ kind: "open" });
    expect(text(stream.take(Buffer.from(frames, "latin1")))).toBe(frames);
    expect(text(stream.take(bytes(other)))).toBe(other);
  });

  test("goes on with requests after any other reply", () => {
    const stream = createRequestStream(guard);
    stream.take(bytes(upgrade));
    stream.answer(bytes("HTTP/1.1 426 Upgrade Required\r\n\r\n"));
    expect(text(stream.take(bytes(other)))).toBe("");
    expect(stream.state.kind).toBe("over");
  });

  test("is CONNECT too, with any reply of 200 to 299", () => {
    const connect = crlf("CONNECT a.demo:80 HTTP/1.1\nHost: a.demo:80\n\n");
    for (const [status, kind] of [
      ["200 OK", "open"],
      ["407 No", "over"],
    ]) {
      const stream = createRequestStream(guard);
      stream.take(bytes(connect));
      stream.answer(bytes(`HTTP/1.1 ${status}\r\n\r\n`));
      stream.take(bytes(other));
      expect([status, stream.state.kind]).toEqual([status, kind]);
    }
  });

  test("takes no reply into account that comes without such a request", () => {
    const stream = createRequestStream(guard);
    stream.take(bytes(crlf("GET / HTTP/1.1\nHost: a.demo\n\n")));
    stream.answer(bytes("HTTP/1.1 101 Odd\r\n\r\n"));
    stream.take(bytes(other));
    expect(stream.state.kind).toBe("over");
  });
});

describe("a rewriting stream", () => {
  const before = crlf(
    bodies.map(([, body]) => body.replace("\nHost: a.demo", "\nHOST:  192.0.2.1:9080 ")).join(""),
  );

  test("gives every request the host, and no body another byte", () => {
    const after = crlf(bodies.map(([, body]) => rewritten(body)).join(""));
    expect(passed(rewriting, before).text).toBe(after);
    fc.assert(
      fc.property(fc.array(fc.nat(before.length)), (cuts) => {
        return passed(rewriting, before, cuts).text === after;
      }),
      { numRuns: 500 },
    );
  });

  test("changes an absolute target, and adds a Host that is missing", () => {
    expect(passed(rewriting, crlf("GET http://x:1/y HTTP/1.0\nA: b\n\n")).text).toBe(
      crlf("GET http://a.demo/y HTTP/1.0\nHost: a.demo\nA: b\n\n"),
    );
  });

  test("changes nothing after a switch of protocols, and nothing that is no HTTP", () => {
    const stream = createRequestStream(rewriting);
    stream.take(bytes(crlf("GET / HTTP/1.1\nHost: x\nUpgrade: y\n\n")));
    stream.answer(bytes("HTTP/1.1 101 Yes\r\n\r\n"));
    expect(text(stream.take(bytes(other)))).toBe(other);
    const odd = "\x16\x03\x01 no HTTP";
    expect(passed(rewriting, odd + other).text).toBe(odd + other);
  });
});

/** The Host comes first, and an empty line before the request is left out. */
const rewritten = (body: string): string =>
  body
    .replace(/^\n/, "")
    .replace("\nHost: a.demo", "")
    .replace("HTTP/1.1\n", "HTTP/1.1\nHost: a.demo\n");

const text = (passed: Uint8Array): string => Buffer.from(passed).toString("latin1");
