import { describe, expect, test } from "bun:test";
import { guardedConn, refusalOf } from "../../../src/relay/greet/guarded-conn.ts";
import type { Manners } from "../../../src/relay/greet/request-stream.ts";
import { splice } from "../../../src/relay/splice.ts";
import { host } from "../../machine/support.ts";
import { bytes, ending, later, pair, read, scripted } from "../../support/conns.ts";

const first = "GET /1 HTTP/1.1\r\nHost: a.demo\r\n\r\n";
const other = "GET /2 HTTP/1.1\r\nHost: b.demo\r\n\r\n";
const upgrade = "GET /ws HTTP/1.1\r\nHost: a.demo\r\nUpgrade: websocket\r\n\r\n";

const usual: Manners = { only: [host("a.demo")], rewrite: undefined };

async function unspliced(manners = usual) {
  const [client, near] = await pair();
  return { client, conn: guardedConn(near, manners) };
}

/** A client and a server with a guard between them. */
async function guarded(manners = usual) {
  const { client, conn } = await unspliced(manners);
  const [far, server] = await pair();
  return { client, server, conn, end: splice(conn, far) };
}

describe("guardedConn", () => {
  test("passes requests and replies, and the end of both", async () => {
    const { client, server, end } = await guarded();
    await client.write(bytes(first));
    expect(await read(server, first.length)).toBe(first);
    await client.write(bytes(first));
    expect(await read(server, first.length)).toBe(first);
    client.closeWrite();
    expect(await ending(server)).toBe("FIN");
    await server.write(bytes("HTTP/1.1 200 OK\r\n\r\n"));
    server.close();
    expect(await read(client)).toBe("HTTP/1.1 200 OK\r\n\r\n");
    client.close();
    expect(await end).toEqual({ kind: "finished" });
  });

  test("ends before a request to another host, and the reply still arrives", async () => {
    const { client, server, conn, end } = await guarded();
    await client.write(bytes(first + other));
    expect(await read(server)).toBe(first);
    await server.write(bytes("HTTP/1.1 200 OK\r\n\r\n"));
    server.close();
    expect(await read(client)).toBe("HTTP/1.1 200 OK\r\n\r\n");
    client.close();
    expect(await end).toEqual({ kind: "finished" });
    expect(refusalOf(conn)).toContain('"b.demo"');
  });

  test("gives put back bytes again, and of none put back no bytes", async () => {
    const { client, conn } = await unspliced();
    await client.write(bytes(first));
    await later(20);
    conn.unread(conn.readNow() ?? new Uint8Array(0));
    expect(new TextDecoder().decode(conn.readNow())).toBe(first);
    conn.unread(new Uint8Array(0));
    expect(conn.readNow()).toBeUndefined();
    client.abort();
  });

  test("holds frames back until 101, and passes them then", async () => {
    const { client, server, end } = await guarded();
    await client.write(bytes(`${upgrade}frames`));
    expect(await read(server, upgrade.length)).toBe(upgrade);
    await later(20);
    await server.write(bytes("HTTP/1.1 101 Yes\r\n\r\n"));
    expect(await read(server, 6)).toBe("frames");
    await client.write(bytes(other));
    expect(await read(server, other.length)).toBe(other);
    client.abort();
    expect((await end).kind).toBe("aborted");
    server.close();
  });

  test("falls away after a switch of protocols", async () => {
    const inner = scripted([bytes(upgrade)], "silence");
    const waiters: unknown[] = [];
    const { readFor } = inner;
    inner.readFor = (waiter) => {
      waiters.push(waiter);
      return readFor(waiter);
    };
    const conn = guardedConn(inner, usual);
    const reader = { arrived() {}, failed() {}, drained() {}, moved() {} };
    conn.readFor(reader);
    conn.write(bytes("HTTP/1.1 101 Yes\r\n\r\n"));
    conn.readFor(reader);
    expect(waiters.map((waiter) => waiter === reader)).toEqual([false, true]);
    conn.abort();
  });

  test.each([
    ["passes", "rewritten", { only: undefined, rewrite: "b.demo" }, "GET /half HTTP/1.1\r\nHo"],
    ["drops", "judged", { only: [host("a.demo")], rewrite: undefined }, ""],
  ])("%s an unfinished head at the end of %s requests", async (_does, _kind, manners, rest) => {
    const { client, server } = await guarded(manners);
    await client.write(bytes("GET /half HTTP/1.1\r\nHo"));
    client.closeWrite();
    expect(await read(server)).toBe(rest);
    server.close();
    client.close();
  });

  test.each(["", "frames"])("passes a reset of the client while %p is held", async (held) => {
    const { client, server, end } = await guarded();
    await client.write(bytes(upgrade + held));
    await read(server, upgrade.length);
    client.abort();
    expect(await end).toMatchObject({ kind: "aborted", side: "a" });
    expect(await ending(server)).toBe("aborted");
  });
});
