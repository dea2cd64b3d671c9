import { describe, expect, test } from "bun:test";
import type { Conn } from "../../src/net/types.ts";
import { type HttpOptions, startHttpServer } from "../../src/observe/http-server.ts";
import { bytes, ending, later, net, read } from "../support/conns.ts";

const host = "127.88.0.2";

describe("an HTTP server on the seam", () => {
  test("keeps a few connections, and drops the one that was quiet for longest", async () => {
    using server = await started({ most: 4 });
    const asker = await server.dial();
    const idle: Conn[] = [];
    for (let i = 0; i < 12; i += 1) {
      idle.push(await server.dial());
      expect({ i, answer: await asked(asker) }).toEqual({ i, answer: "GET /x" });
    }
    const left = await Promise.all(
      idle.map(async (conn) => await Promise.race([ending(conn), later(50).then(() => "open")])),
    );
    expect(left).toEqual([...Array(9).fill("aborted"), "open", "open", "open"]);
  });

  test("counts its connections with all other sockets", async () => {
    const before = net.descriptors.room(0);
    using server = await started({ most: 20 });
    const idle = await Promise.all(Array.from({ length: 60 }, server.dial));
    const asker = await server.dial();
    await asked(asker);
    // The listener, 61 dialed sockets at most, and 20 accepted ones.
    expect(before - net.descriptors.room(0)).toBeWithin(0, 41);
    for (const conn of idle) conn.abort();
  });

  test("resets a connection that is quiet for too long, also within a request", async () => {
    using server = await started({ quietMs: 150 });
    const [silent, half] = [await server.dial(), await server.dial()];
    await half.write(bytes("GET / HTTP/1.1\r\nHost: x\r\n"));
    expect(await Promise.all([ending(silent), ending(half)])).toEqual(["aborted", "aborted"]);
  });

  test("takes no endless header", async () => {
    using server = await started({});
    const conn = await server.dial();
    const flood = async (): Promise<void> => {
      await conn.write(bytes("GET / HTTP/1.1\r\nHost: x\r\nX: "));
      for (let i = 0; i < 64; i += 1) await conn.write(bytes("x".repeat(65_536)));
    };
    await flood().catch(() => undefined);
    expect(await Promise.race([ending(conn), later(2000).then(() => "open")])).not.toBe("open");
  });

  test("serves several requests on one connection, and none after garbage", async () => {
    using server = await started({});
    const conn = await server.dial();
    expect([await asked(conn), await asked(conn)]).toEqual(["GET /x", "GET /x"]);
    const garbage = await server.dial();
    await garbage.write(bytes("\0\xff garbage\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n"));
    expect(await read(garbage).catch(() => "")).not.toContain("200 OK");
  });

  test("resets open connections at its end, and frees its port", async () => {
    const server = await started({});
    const conn = await server.dial();
    await asked(conn);
    server.close();
    expect(await ending(conn)).toBe("aborted");
    const again = await started({ address: server.address });
    again.close();
  });
});

/** The body of the answer to one request; the connection stays open. */
async function asked(conn: Conn): Promise<string> {
  await conn.write(bytes("GET /x HTTP/1.1\r\nHost: x\r\n\r\n"));
  let answer = "";
  while (!answer.includes("\r\n0\r\n\r\n")) {
    const chunk = await conn.read();
    if (chunk === null) break;
    answer += new TextDecoder().decode(chunk);
  }
  return /^GET .*(?=\r$)/m.exec(answer)?.[0] ?? answer;
}

async function started(options: Partial<HttpOptions>) {
  const server = await startHttpServer({
    net,
    address: { host, port: 0 },
    answer: ({ method, url }) => new Response(`${method} ${new URL(url).pathname}`),
    most: 100,
    quietMs: 0,
    maxBodyBytes: 0,
    ...options,
  });
  const dial = (): Promise<Conn> => net.dial(server.address);
  return { ...server, dial, [Symbol.dispose]: server.close };
}
