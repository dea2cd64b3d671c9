import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  bodyText,
  down,
  everything,
  exchangesIn,
  head,
  inShort,
  reading,
  type Said,
  up,
} from "./support.ts";

const get = (path: string, ...fields: string[]) =>
  up(head(`GET ${path} HTTP/1.1`, "Host: a.demo", ...fields));
const ok = (body: string, ...fields: string[]) =>
  down(head("HTTP/1.1 200 OK", `Content-Length: ${body.length}`, ...fields) + body);

/** Each row: a title, the bytes of both sides, the end, and what is found. */
const cases: readonly [string, Said[], "whole" | "cut" | "goes on", string[]][] = [
  ["one exchange", [get("/a"), ok("hello")], "goes on", ["GET /a 200 whole, 0 up, 5 down"]],
  [
    "exchanges one after the other on a connection that stays open",
    [get("/a"), ok("1"), get("/b"), ok("22")],
    "whole",
    ["GET /a 200 whole, 0 up, 1 down", "GET /b 200 whole, 0 up, 2 down"],
  ],
  [
    "requests that do not wait for replies",
    [get("/a"), get("/b"), get("/c"), ok("1"), ok("22"), ok("")],
    "goes on",
    [
      "GET /a 200 whole, 0 up, 1 down",
      "GET /b 200 whole, 0 up, 2 down",
      "GET /c 200 whole, 0 up, 0 down",
    ],
  ],
  [
    "bodies in chunks, with extensions and trailers",
    [
      up(head("POST /c HTTP/1.1", "Transfer-Encoding: chunked")),
      up("5;a=b\r\nhello\r\n0\r\nDigest: x\r\n\r\n"),
      down(head("HTTP/1.1 200 OK", "transfer-encoding: gzip, Chunked")),
      down("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"),
    ],
    "goes on",
    ["POST /c 200 whole, 5 up, 13 down"],
  ],
  [
    "replies without a body: to HEAD, 204 and 304",
    [
      up(head("HEAD /h HTTP/1.1")),
      down(head("HTTP/1.1 200 OK", "Content-Length: 500")),
      get("/n"),
      down(head("HTTP/1.1 204 No Content")),
      get("/m"),
      down(head("HTTP/1.1 304 Not Modified", "Content-Length: 9")),
      get("/end"),
      ok("."),
    ],
    "goes on",
    [
      "HEAD /h 200 whole, 0 up, 0 down",
      "GET /n 204 whole, 0 up, 0 down",
      "GET /m 304 whole, 0 up, 0 down",
      "GET /end 200 whole, 0 up, 1 down",
    ],
  ],
  [
    "interim replies, which are not the reply",
    [
      up(head("PUT /u HTTP/1.1", "Content-Length: 3", "Expect: 100-continue")),
      down(head("HTTP/1.1 100 Continue")),
      up("abc"),
      down(head("HTTP/1.1 103 Early Hints", "Link: </x>")),
      ok("!"),
    ],
    "goes on",
    ["PUT /u 200 whole, 3 up, 1 down"],
  ],
  [
    "a body that only the end of the connection ends",
    [get("/old"), down(`${head("HTTP/1.0 200 OK")}some text`), down(", and more")],
    "whole",
    ["GET /old 200 whole, 0 up, 19 down"],
  ],
  [
    "the same body on a connection that is cut",
    [get("/old"), down(`${head("HTTP/1.0 200 OK")}some text`)],
    "cut",
    ["GET /old 200 cut, 0 up, 9 down: the connection ended before the end of the reply"],
  ],
  [
    "a reply that comes before the end of its request",
    [
      up(`${head("POST /big HTTP/1.1", "Content-Length: 10")}12345`),
      down(head("HTTP/1.1 413 Too Large", "Content-Length: 0")),
      up("67890"),
      get("/next"),
      ok("x"),
    ],
    "goes on",
    ["POST /big 413 whole, 10 up, 0 down", "GET /next 200 whole, 0 up, 1 down"],
  ],
  [
    "the same reply to a client that leaves",
    [
      up(`${head("POST /big HTTP/1.1", "Content-Length: 10")}12345`),
      down(head("HTTP/1.1 413 Too Large", "Content-Length: 0")),
    ],
    "whole",
    ["POST /big 413 cut, 5 up, 0 down: the connection ended before the end of the request"],
  ],
  [
    "a request without a reply",
    [get("/a")],
    "whole",
    ["GET /a - cut, 0 up, - down: the connection ended before the end of the reply"],
  ],
  [
    "a WebSocket, up to its first byte",
    [
      get("/ws", "Connection: Upgrade", "Upgrade: websocket"),
      down(`${head("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket")}\x81\x05hello`),
      up("\x81\x85maskxxxxx"),
      down("GET / HTTP/1.1\r\n\r\n"),
    ],
    "whole",
    ["GET /ws 101 switched, 0 up, 0 down: websocket follows, which is not read"],
  ],
  [
    "an upgrade that the server ignores",
    [get("/a", "Upgrade: h2c"), ok("no"), get("/b"), ok("")],
    "goes on",
    ["GET /a 200 whole, 0 up, 2 down", "GET /b 200 whole, 0 up, 0 down"],
  ],
  [
    "a tunnel, up to its first byte",
    [
      up(head("CONNECT db.demo:5432 HTTP/1.1", "Host: db.demo:5432")),
      down(head("HTTP/1.1 200 OK")),
      up("\0\0\0"),
    ],
    "whole",
    ["CONNECT db.demo:5432 200 switched, 0 up, 0 down: a tunnel follows, which is not read"],
  ],
  [
    "a tunnel that is refused",
    [
      up(head("CONNECT db.demo:5432 HTTP/1.1")),
      down(head("HTTP/1.1 403 Forbidden", "Content-Length: 2")),
      down("no"),
      get("/a"),
      ok(""),
    ],
    "goes on",
    ["CONNECT db.demo:5432 403 whole, 0 up, 2 down", "GET /a 200 whole, 0 up, 0 down"],
  ],
  [
    "HTTP/2 in one line",
    [up("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"), down("\0\0\0\x04\0\0\0\0\0")],
    "whole",
    ["  - unread, 0 up, - down: it is HTTP/2"],
  ],
  [
    "HTTP/2 whose server is first",
    [down("\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80"), up("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")],
    "whole",
    ["  - unread, 0 up, - down: it is HTTP/2"],
  ],
  [
    "HTTP/2 whose server is first, byte by byte",
    [..."\0\0\x12\x04\0\0\0\0\0\0\x03"].map((byte) => down(byte)),
    "whole",
    ["  - unread, 0 up, - down: it is HTTP/2"],
  ],
  [
    "a server that is first and begins almost as with HTTP/2",
    [down("\0\0\x12\x04\0"), down("\0\0\0\x01")],
    "whole",
    ["  - unread, 0 up, - down: it is not HTTP"],
  ],
  [
    "TLS in one line",
    [up("\x16\x03\x01\x02\0\x01")],
    "whole",
    ["  - unread, 0 up, - down: it is not HTTP"],
  ],
  [
    "a server that speaks first",
    [down("SSH-2.0-OpenSSH_9\r\n"), up("SSH-2.0-x\r\n")],
    "whole",
    ["  - unread, 0 up, - down: it is not HTTP"],
  ],
  [
    "a reply that nobody has asked for",
    [down(head("HTTP/1.1 408 Request Timeout", "Connection: close"))],
    "whole",
    ["  - unread, 0 up, - down: a reply came without its request"],
  ],
  [
    "a request with two lengths, and nothing after it",
    [up(`${head("POST / HTTP/1.1", "Content-Length: 5", "Content-Length: 6")}hello`), get("/x")],
    "whole",
    ["  - unread, 0 up, - down: a request has several values of Content-Length"],
  ],
  [
    "a request with a length and chunks",
    [up(head("POST / HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked"))],
    "whole",
    ["  - unread, 0 up, - down: a request has both a Transfer-Encoding and a Content-Length"],
  ],
  [
    "a chunk with a wrong size: the exchange so far counts",
    [
      get("/c"),
      down(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")),
      down("5\r\nhello\r\nzz\r\n"),
    ],
    "whole",
    ["GET /c 200 unread, 0 up, 5 down: the size of a chunk is not valid"],
  ],
  [
    "line ends without a carriage return",
    [up("GET / HTTP/1.1\nHost: a\r\n\r\n")],
    "whole",
    ["  - unread, 0 up, - down: the first line of a request is not valid"],
  ],
  [
    "a head without an end",
    [up(`GET /${"x".repeat(70_000)}`)],
    "whole",
    ["  - unread, 0 up, - down: a head is longer than 64 KiB"],
  ],
  [
    "bytes behind a request to switch, before its reply",
    [get("/ws", "Upgrade: websocket"), get("/b")],
    "whole",
    [
      "GET /ws - unread, 0 up, - down: the client went on before the reply to its request for another protocol",
    ],
  ],
  ["a connection without a byte", [], "whole", []],
  [
    "empty lines before a request",
    [up("\r\n\r\n"), get("/a"), ok("")],
    "goes on",
    ["GET /a 200 whole, 0 up, 0 down"],
  ],
];

/** The same bytes one by one. */
const cut = (said: readonly Said[]): Said[] =>
  said.flatMap(([side, text]) => [...text].map((byte): Said => [side, byte]));

describe("a reader finds", () => {
  test.each(cases)("%s", (_, said, ended, found) => {
    expect(exchangesIn(said, { ended }).map(inShort)).toEqual(found);
  });

  test.each(cases)("byte by byte: %s", (_, said, ended, found) => {
    const { exchanges, held } = reading(cut(said), { ended });
    expect(exchanges.map(inShort)).toEqual(found);
    if (ended !== "goes on") expect(held).toBe(0);
  });
});

describe("a reader", () => {
  test("reports versions, fields, sizes of heads, and where its host is", () => {
    const request = head(
      "GET /a?b=c HTTP/1.0",
      "Host:  a.demo ",
      "X-Empty:",
      "x-many: 1",
      "X-Many: 2",
    );
    const reply = head("HTTP/1.1 200 Very fine", "Content-Length: 0");
    const [seen] = exchangesIn([up(request), down(reply)]);
    expect(seen).toMatchObject({
      endpoint: "a.demo:80",
      host: "a.demo",
      client: "127.0.0.1:9",
      target: "/a?b=c",
      hidden: false,
      request: {
        version: "HTTP/1.0",
        headBytes: request.length,
        fields: [
          { name: "Host", value: "a.demo" },
          { name: "X-Empty", value: "" },
          { name: "x-many", value: "1" },
          { name: "X-Many", value: "2" },
        ],
      },
      reply: { status: 200, reason: "Very fine", headBytes: reply.length },
    });
  });

  test("measures sending, waiting and receiving; together they are the whole", () => {
    const [seen] = exchangesIn([
      up(`${head("POST / HTTP/1.1", "Content-Length: 2")}a`),
      up("b"),
      down(`${head("HTTP/1.1 200 OK", "Content-Length: 2")}a`),
      down("b"),
    ]);
    const { send = 0, wait = 0, receive = 0, total = 0 } = seen?.times ?? {};
    expect([send, wait, receive].every((ms) => ms > 0)).toBe(true);
    expect(send + wait + receive).toBe(total);
  });

  test("keeps bodies without their chunks, up to the limit, and says what is whole", () => {
    const keeping = { ...everything, bodyBytes: 6 };
    const [seen] = exchangesIn(
      [
        up(head("POST / HTTP/1.1", "Transfer-Encoding: chunked")),
        up("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"),
        ok("0123456789"),
      ],
      { keeping },
    );
    expect(bodyText(seen?.request)).toBe("abcdef");
    expect(seen?.request.body?.whole).toBe(true);
    expect(bodyText(seen?.reply)).toBe("012345");
    expect(seen?.reply?.body?.whole).toBe(false);
    expect(seen?.reply?.bodyBytes).toBe(10);
  });

  test("keeps no body unless asked to", () => {
    const [seen] = exchangesIn([get("/"), ok("hello")], {
      keeping: { ...everything, bodyBytes: 0 },
    });
    expect(seen?.reply?.body).toBeUndefined();
    expect(seen?.reply?.bodyBytes).toBe(5);
  });

  test("keeps what its memory allows of a body, and goes on", () => {
    const said = [get("/"), ok("x".repeat(900)), get("/b"), ok("y")];
    const { exchanges, held } = reading(said, { bytes: 600 });
    expect(exchanges.map(inShort)).toEqual([
      "GET / 200 whole, 0 up, 900 down",
      "GET /b 200 whole, 0 up, 1 down",
    ]);
    expect(exchanges.map(({ reply }) => reply?.body?.whole)).toEqual([false, true]);
    expect(held).toBe(0);
  });

  test("stops if there is no memory for a head", () => {
    const { exchanges, held } = reading(cut([get("/"), ok("x")]), { ended: "whole", bytes: 40 });
    expect(exchanges.map(({ end, note }) => `${end}: ${note}`)).toEqual([
      "unread: a head is not kept, since there is no memory for it",
    ]);
    expect(held).toBe(0);
  });

  test("stops at the 257th request without a reply", () => {
    const exchanges = exchangesIn(Array.from({ length: 257 }, (_, n) => get(`/${n}`)));
    expect(exchanges).toHaveLength(256);
    expect(exchanges[0]?.note).toBe("more than 256 requests wait for their replies");
  });
});

describe("whatever the bytes are, a reader", () => {
  const piece = fc.oneof(
    fc.constantFrom(
      ...["GET / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 101 x\r\n", "\r\n", "\n"],
      ...[
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Upgrade: x\r\n",
        "3\r\nabc\r\n",
      ],
      ...[
        "0\r\n\r\n",
        "abc",
        "CONNECT a:1 HTTP/1.1\r\n",
        "HEAD / HTTP/1.1\r\n",
        "HTTP/1.1 100 C\r\n\r\n",
      ],
      ...["GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    ),
    fc.string({ unit: "binary-ascii", maxLength: 12 }),
  );
  const said = fc.array(fc.tuple(fc.constantFrom("up" as const, "down" as const), piece), {
    maxLength: 30,
  });

  test("does not throw, gives all memory back, and finds the same byte by byte", () => {
    fc.assert(
      fc.property(said, fc.constantFrom("whole" as const, "cut" as const), (bytes, ended) => {
        const whole = reading(bytes, { ended });
        const single = reading(cut(bytes), { ended });
        expect(whole.held).toBe(0);
        expect(single.held).toBe(0);
        expect(single.exchanges.map(inShort)).toEqual(whole.exchanges.map(inShort));
      }),
      { numRuns: 2000 },
    );
  });
});
