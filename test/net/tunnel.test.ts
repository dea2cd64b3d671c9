import { describe, expect, test } from "bun:test";
import { openTunnel } from "../../src/net/tunnel.ts";
import type { Conn } from "../../src/net/types.ts";

const proxy = { kind: "http", host: "proxy.test", port: 3128 } as const;
const target = { host: "api.test", port: 443 };

/** A connection to a proxy that replies with these pieces, and then closes. */
function answering(...pieces: readonly string[]): Conn {
  const waiting = [...pieces];
  const read = async (): Promise<Uint8Array | null> => {
    const piece = waiting.shift();
    return piece === undefined ? null : new TextEncoder().encode(piece);
  };
  return { read, write: async () => undefined } as unknown as Conn;
}

const open = async (...pieces: readonly string[]): Promise<string> =>
  new TextDecoder().decode(await openTunnel(answering(...pieces), proxy, target));

describe("an HTTP proxy's answer to CONNECT", () => {
  test.each([
    ["100 Continue", ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nrest"]],
    ["it in pieces", ["HTTP/1.1 100 Conti", "nue\r\n\r\nHTTP/1.1 200 ", "OK\r\n\r\nrest"]],
    [
      "102 and 103 with headers",
      ["HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.0 200\r\n\r\nrest"],
    ],
  ])("may have %s before it", async (_, pieces) => {
    expect(await open(...pieces)).toBe("rest");
  });

  test("may be a refusal behind 100 Continue", async () => {
    await expect(open("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\r\n\r\n")).rejects.toThrow(
      'it answered 403 "No"',
    );
  });

  test("does not come behind ever more of them", async () => {
    await expect(open("HTTP/1.1 100 Continue\r\n\r\n".repeat(100))).rejects.toThrow(
      "one 1xx answer after the other",
    );
  });

  test("has 16 KiB at most", async () => {
    await expect(open(`HTTP/1.1 200 OK\r\nx: ${"y".repeat(16 * 1024)}`)).rejects.toThrow(
      "more than 16384 bytes without an end",
    );
  });

  test("is no change of protocol", async () => {
    await expect(open("HTTP/1.1 101 Switching\r\n\r\n")).rejects.toThrow("it answered 101");
  });
});
