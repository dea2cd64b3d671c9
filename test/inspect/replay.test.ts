import { describe, expect, test } from "bun:test";
import { replay, replayable } from "../../src/inspect/replay.ts";
import type { Conn } from "../../src/net/types.ts";
import { bytes, net } from "../support/conns.ts";
import { down, everything, exchangesIn, head, type Said, up } from "./support.ts";

const kept = (said: readonly Said[], keeping = everything) => {
  const [exchange] = exchangesIn(said, { keeping, ended: "whole" });
  return exchange && { id: 7, exchange };
};
const ok = down(head("HTTP/1.1 200 OK", "Content-Length: 0"));
const post = (...fields: string[]) =>
  up(`${head("POST /a?b=c HTTP/1.1", "Host: a.demo", ...fields)}`);

describe("a request that is sent again", () => {
  test("has the same fields and body, on a connection and with a length of its own", () => {
    const said = [
      post(
        "X-A: 1",
        "Connection: keep-alive",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
      ),
      up("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
      ok,
    ];
    const { bytes: sent, without } = replayable(kept(said), 7);
    expect(Buffer.from(sent).toString()).toBe(
      `${head("POST /a?b=c HTTP/1.1", "Host: a.demo", "X-A: 1", "Content-Length: 5", "Connection: close")}abcde`,
    );
    expect(without).toEqual([]);
  });

  test("has no length if it had none, and lacks fields that were not kept", () => {
    const keeping = { ...everything, keepsField: (name: string) => name === "Host" };
    const { bytes: sent, without } = replayable(kept([post("X-A: 1", "X-A: 2"), ok], keeping), 7);
    expect(Buffer.from(sent).toString()).toBe(
      head("POST /a?b=c HTTP/1.1", "Host: a.demo", "Connection: close"),
    );
    expect(without).toEqual(["X-A"]);
  });

  const body = [post("Content-Length: 5"), up("hello")];
  test.each([
    ["is not kept", undefined, "it is not among those that are kept"],
    ["had no reply", kept(body), "it was not read to its end"],
    ["has no body", kept([...body, ok], { ...everything, bodyBytes: 0 }), "bodies were not kept"],
    [
      "has a part of its body",
      kept([...body, ok], { ...everything, bodyBytes: 2 }),
      "only 2 of the 5 bytes of its body were kept",
    ],
    [
      "has no values in its query",
      kept([...body, ok], { ...everything, queries: false }),
      "the values of its query were not kept",
    ],
  ])("is refused if it %s", (_, found, reason) => {
    expect(() => replayable(found, 7)).toThrow(`Cannot replay the request 7: ${reason}`);
  });
});

describe("replay", () => {
  const request = replayable(kept([post(), ok]), 7);
  const serving = async (serve: (conn: Conn) => Promise<void>) =>
    await net.listen({ host: "127.0.0.1", port: 0 }, async (conn) => {
      await conn.read();
      await serve(conn);
    });
  const outcome = async (serve: (conn: Conn) => Promise<void>, withinMs = 5000) => {
    const listener = await serving(serve);
    try {
      return await replay(net, listener.address, request, withinMs).then(
        ({ status, reason, bodyBytes }) => `${status} ${reason}, ${bodyBytes}`,
        ({ message }: Error) => message,
      );
    } finally {
      listener.close();
    }
  };

  test("reads the reply to its end", async () => {
    const end = await outcome(async (conn) => {
      await conn.write(bytes(`${head("HTTP/1.1 201 Made", "Content-Length: 6")}abc`));
      await conn.write(bytes("def"));
    });
    expect(end).toBe("201 Made, 6");
  });

  test("says what came instead of a whole reply", async () => {
    const ends = [
      await outcome(async (conn) => conn.close()),
      await outcome(async (conn) => conn.abort()),
      await outcome(async (conn) => void (await conn.write(bytes("SSH-2.0\r\n")))),
      await outcome(async () => undefined, 50),
    ];
    expect(ends).toEqual([
      expect.stringContaining("the connection ended before the end of the reply"),
      expect.stringContaining("The endpoint gave no whole reply: "),
      expect.stringContaining("it is not HTTP"),
      expect.stringContaining("nothing for 0.05 s"),
    ]);
  });
});
