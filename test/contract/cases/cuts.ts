/**
 * A TLS stream ends with close_notify. A FIN without it, as from somebody on
 * the way, is a reset.
 */
import assert from "node:assert/strict";
import type { Conn, DialOptions } from "../../../src/net/types.ts";
import {
  bytesOf,
  type Case,
  digest,
  readExactly,
  rejects,
  sleep,
  soon,
  textOf,
  trusting,
  type World,
} from "../kit.ts";

/** What the front leaves out of the server's last bytes. */
type Drop = number | "record";

interface Open {
  readonly conn: Conn;
  readonly socket: number;
  /** Ends the server's half; the front leaves out `drop`. */
  finish(drop: Drop): Promise<void>;
  /** The same behind `what`, in one piece with it. */
  sendAndFinish(what: { text: string } | { size: number }, drop: Drop): Promise<string>;
}

const versions = ["TLSv1.3", "TLSv1.2"] as const;
const endings: readonly { what: string; drop: Drop }[] = [
  { what: "inside a record of data", drop: 100 },
  { what: "inside close_notify", drop: 1 },
  { what: "in front of close_notify", drop: "record" },
];

export const cuts: Case[] = versions.flatMap((version): Case[] => {
  const each = (name: string, run: (world: World) => Promise<void>): Case => ({
    name: `${name} (${version})`,
    run,
  });
  return [
    each("close_notify is an end, alone and in one piece with data", async (world) => {
      for (const together of [true, false]) {
        const { conn, socket, finish, sendAndFinish } = await open(world, version);
        if (together) await sendAndFinish({ text: "hello" }, 0);
        else await world.peer.send(socket, { text: "hello" });
        assert.equal(textOf(await readExactly(conn, 5)), "hello");
        if (!together) await finish(0);
        await ends(conn);
      }
    }),
    ...endings.map(({ what, drop }) =>
      each(`a FIN ${what} is a reset, behind the bytes before it`, async (world) => {
        const { conn, sendAndFinish } = await open(world, version);
        await sendAndFinish({ text: "x".repeat(20_000) }, drop);
        const whole = drop === 100 ? 16_384 : 20_000;
        await readExactly(conn, whole);
        await cut(conn);
      }),
    ),
    each("a FIN a while after the last data is a reset, also to a later read", async (world) => {
      // Two bytes of data look like close_notify without Bun: see Conn.read().
      for (const size of world.net.runtime === "bun" ? [1, 2, 3] : [1, 3]) {
        const { conn, socket, finish } = await open(world, version);
        await world.peer.send(socket, { text: "abc".slice(0, size) });
        await readExactly(conn, size);
        await finish("record");
        await cut(conn);
        await cut(conn);
      }
    }),
    each("before any data, close_notify is an end and a FIN is a reset", async (world) => {
      for (const drop of [0, 1, "record"] as const) {
        const { conn, finish } = await open(world, version, { silent: true });
        // The tickets of TLS 1.3 pass.
        await sleep(50);
        await finish(drop);
        await (drop === 0 ? ends(conn) : cut(conn));
      }
    }),
    each("after our own half the two endings differ, too", async (world) => {
      for (const drop of [0, 1, "record"] as const) {
        const { conn, socket, sendAndFinish } = await open(world, version);
        conn.closeWrite();
        assert.equal(await world.peer.ended(socket), "fin");
        await sendAndFinish({ text: "late reply" }, drop);
        assert.equal(textOf(await readExactly(conn, 10)), "late reply");
        if (drop !== 0) await cut(conn);
        else {
          assert.equal(await conn.read(), null);
          assert.equal(await soon(conn.closed, "closed"), undefined);
        }
      }
    }),
    each("after close() a FIN without close_notify is no failure", async (world) => {
      const { conn, socket, finish } = await open(world, version);
      conn.close();
      assert.equal(await world.peer.ended(socket), "fin");
      await finish("record");
      assert.equal(await soon(conn.closed, "closed"), undefined);
    }),
    each("16 MiB arrive whole before both endings, also to a slow reader", async (world) => {
      const size = 16 * 1024 * 1024;
      for (const drop of [0, 1, "record"] as const) {
        for (const pause of [0, 300]) {
          const { conn, sendAndFinish } = await open(world, version);
          const sending = sendAndFinish({ size }, drop);
          await sleep(pause);
          if (drop === 0) {
            assert.deepEqual(await digest(conn), { length: size, sha256: await sending });
            await ends(conn);
          } else {
            await readAtLeast(conn, size);
            await cut(conn);
          }
          await sending;
        }
      }
    }),
    each("a resumed session tells the two endings apart", async (world) => {
      const kept: Uint8Array[] = [];
      const sessions = {
        get: () => kept.at(-1),
        wanted: () => true,
        put: (session: Uint8Array) => void kept.push(session),
      };
      const { server, port } = await world.peer.listen({
        tls: { ...world.pki.server, maxVersion: version },
      });
      for (const drop of [0, "record", 0] as const) {
        const options = { tls: trusting(world, { sessions }) };
        const { conn, sendAndFinish } = await openTo(world, { server, port }, options);
        await sendAndFinish({ text: "hello" }, drop);
        await readExactly(conn, 5);
        await (drop === 0 ? ends(conn) : cut(conn));
      }
    }),
    each("through a proxy the two endings differ, too", async (world) => {
      const { port } = await world.peer.proxy({ kind: "http" });
      const via = { kind: "http", host: "127.0.0.1", port } as const;
      for (const drop of [0, "record"] as const) {
        const { conn, sendAndFinish } = await open(world, version, { via });
        await sendAndFinish({ text: "hello" }, drop);
        await readExactly(conn, 5);
        await (drop === 0 ? ends(conn) : cut(conn));
      }
    }),
  ];
});

async function open(
  world: World,
  version: (typeof versions)[number],
  options: DialOptions & { silent?: true } = {},
): Promise<Open> {
  const behind = await world.peer.listen({ tls: { ...world.pki.server, maxVersion: version } });
  return await openTo(world, behind, { tls: trusting(world), ...options });
}

async function openTo(
  { net, peer }: World,
  { server, port }: { server: number; port: number },
  { silent, ...options }: DialOptions & { silent?: true },
): Promise<Open> {
  const { front, port: host } = await peer.front(port);
  const conn = await net.dial({ host: "127.0.0.1", port: host }, options);
  const socket = await peer.accept(server);
  // From here on the front begins at the border of a record.
  if (silent === undefined) {
    await peer.send(socket, { text: "ready" });
    await readExactly(conn, 5);
  }
  const finish = async (drop: Drop): Promise<void> => {
    await peer.shorten(front, drop);
    await peer.finish(socket);
  };
  return {
    conn,
    socket,
    finish,
    async sendAndFinish(what, drop) {
      await peer.shorten(front, drop);
      const sha256 = await peer.send(socket, what);
      await peer.finish(socket);
      return sha256;
    },
  };
}

async function ends(conn: Conn): Promise<void> {
  assert.equal(await soon(Promise.resolve(conn.read()), "the end"), null);
  await conn.write(bytesOf("still open"));
  conn.close();
  assert.equal(await soon(conn.closed, "closed"), undefined);
}

async function cut(conn: Conn): Promise<void> {
  const error = await soon(
    rejects("aborted", () => conn.read()),
    "the reset",
  );
  assert.equal(error.details.reason, "CUT");
  assert.match(error.message, /without TLS's close_notify/);
  assert.equal(await soon(conn.closed, "closed"), error);
}

async function readAtLeast(conn: Conn, size: number): Promise<void> {
  for (let length = 0; length < size; ) {
    const bytes = await conn.read();
    assert(bytes !== null, `the connection ended after ${length} of ${size} bytes`);
    length += bytes.length;
  }
}
