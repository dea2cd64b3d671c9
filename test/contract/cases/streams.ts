/**
 * Bytes and ends: every byte arrives, in order, and no faster than it is read.
 */
import assert from "node:assert/strict";
import process from "node:process";
import {
  bytesOf,
  type Case,
  digest,
  kinds,
  ownPair,
  type Pair,
  pour,
  readAll,
  readExactly,
  rejects,
  sleep,
  soon,
  textOf,
  until,
  type World,
} from "../kit.ts";

const MiB = 1024 * 1024;

/** One case for each origin of a connection. */
function overEach(what: string, run: (pair: Pair, world: World) => Promise<void>): Case[] {
  return kinds.map(({ label, pair }) => ({
    name: `${what} over ${label}`,
    run: async (world) => run(await pair(world), world),
  }));
}

export const streams: Case[] = [
  ...overEach(
    "a half-closed connection still carries the late reply",
    async ({ conn, socket }, { peer }) => {
      await conn.write(bytesOf("question"));
      conn.closeWrite();
      conn.closeWrite();
      const { text, ended } = await peer.receive(socket);
      assert.deepEqual({ text, ended }, { text: "question", ended: "fin" });
      await sleep(50);
      await peer.send(socket, { text: "late reply" });
      await peer.finish(socket);
      assert.equal(textOf(await readAll(conn)), "late reply");
      assert.equal(await conn.read(), null);
      conn.close();
      await soon(conn.closed, "closed");
      assert.equal(await peer.ended(socket), "fin");
    },
  ),

  ...overEach(
    "a peer that has finished can still be written to",
    async ({ conn, socket }, { peer }) => {
      await peer.send(socket, { text: "question" });
      await peer.finish(socket);
      assert.equal(textOf(await readAll(conn)), "question");
      await sleep(50);
      const sha256 = await pour(conn, 3 * MiB);
      conn.close();
      const got = await peer.receive(socket);
      assert.deepEqual(
        { length: got.length, sha256: got.sha256, ended: got.ended },
        { length: 3 * MiB, sha256, ended: "fin" },
      );
      await soon(conn.closed, "closed");
    },
  ),

  ...overEach(
    "bytes that are put back come before everything that follows",
    async ({ conn, socket }, { peer }) => {
      await peer.send(socket, { text: "0123456789" });
      const head = await readExactly(conn, 10);
      await peer.send(socket, { text: " and the rest" });
      await peer.finish(socket);
      await sleep(50);
      conn.unread(head.subarray(4));
      conn.unread(head.subarray(0, 4));
      conn.unread(new Uint8Array(0));
      assert.equal(textOf(await readAll(conn)), "0123456789 and the rest");
      conn.unread(bytesOf("once more"));
      assert.equal(textOf(await readAll(conn)), "once more");
      conn.unread(bytesOf("dropped"));
      conn.close();
      conn.unread(bytesOf("dropped too"));
      await rejects("cancelled", () => conn.read());
      await soon(conn.closed, "closed");
    },
  ),

  ...overEach(
    "nothing can be put back while a read waits, and none after an abort",
    async ({ conn, socket }, { peer }) => {
      const reading = conn.read();
      assert.throws(() => conn.unread(bytesOf("x")), /a read is already waiting/);
      await peer.send(socket, { text: "y" });
      assert.equal(textOf(await reading), "y");
      conn.abort();
      conn.unread(bytesOf("z"));
      await rejects("cancelled", () => conn.read());
    },
  ),

  ...overEach(
    "bytes that are here are read without waiting, and their arrival is told",
    async ({ conn, socket }, { peer }) => {
      const told = Promise.withResolvers<void>();
      conn.watch({ gone: () => undefined, came: told.resolve });
      assert.equal(conn.readNow(), undefined);
      await peer.send(socket, { text: "first" });
      await soon(told.promise, "told of the bytes");
      assert.equal(textOf(conn.readNow() ?? bytesOf("nothing")), "first");
      assert.equal(conn.readNow(), undefined);
      conn.unread(bytesOf("again "));
      await peer.send(socket, { text: "and more" });
      await peer.finish(socket);
      assert.equal(textOf(conn.readNow() ?? bytesOf("nothing")), "again ");
      assert.equal(textOf(await readAll(conn)), "and more");
      assert.equal(conn.readNow(), undefined);
      conn.abort();
      assert.equal(conn.readNow(), undefined);
    },
  ),

  ...overEach(
    "bytes and end that arrive before the first read are kept",
    async ({ conn, socket }, { peer }) => {
      await peer.send(socket, { text: "early" });
      await peer.finish(socket);
      await sleep(50);
      assert.equal(textOf(await readAll(conn)), "early");
      conn.close();
      await soon(conn.closed, "closed");
    },
  ),

  ...overEach("64 MiB each way at once arrive unchanged", async ({ conn, socket }, { peer }) => {
    const size = 64 * MiB;
    const sending = pour(conn, size).then((sha256) => {
      conn.closeWrite();
      return sha256;
    });
    const theirSending = peer.send(socket, { size }).then(async (sha256) => {
      await peer.finish(socket);
      return sha256;
    });
    const [ours, received, theirs, got] = await Promise.all([
      sending,
      peer.receive(socket),
      theirSending,
      digest(conn),
    ]);
    assert.deepEqual(
      { length: received.length, sha256: received.sha256, ended: received.ended },
      { length: size, sha256: ours, ended: "fin" },
    );
    assert.deepEqual(got, { length: size, sha256: theirs });
    conn.close();
    await soon(conn.closed, "closed");
  }),

  ...overEach(
    "a peer whose bytes are not read is stopped, and memory stays bounded",
    async ({ conn, socket }, { peer }) => {
      const before = process.memoryUsage().rss;
      const size = 96 * MiB;
      const sending = peer.send(socket, { size });
      await settled(() => peer.taken(socket));
      const taken = await peer.taken(socket);
      assert(taken < size / 2, `the peer got rid of ${taken} bytes`);
      const grown = process.memoryUsage().rss - before;
      assert(grown < 32 * MiB, `the process grew by ${grown} bytes`);
      const reading = digest(conn);
      const sha256 = await sending;
      await peer.finish(socket);
      assert.deepEqual(await reading, { length: size, sha256 });
      conn.close();
      await soon(conn.closed, "closed");
    },
  ),

  ...overEach("a peer that does not read stops our writing", async ({ conn, socket }, { peer }) => {
    const block = new Uint8Array(MiB).fill(7);
    let written = 0;
    const writing = (async () => {
      for (; written < 64; written++) await conn.write(block);
      conn.closeWrite();
    })();
    await settled(async () => written);
    assert(written < 32, `${written} MiB were written to a peer that does not read`);
    const received = peer.receive(socket);
    await writing;
    const { length, ended } = await received;
    assert.deepEqual({ length, ended }, { length: 64 * MiB, ended: "fin" });
    conn.close();
    await peer.finish(socket);
    await soon(conn.closed, "closed");
  }),

  ...overEach(
    "close() right after a big write loses nothing to a slow, talking peer",
    async ({ conn, socket }, { peer }) => {
      await peer.chatter(socket, 20);
      const writing = conn.write(new Uint8Array(8 * MiB).fill(1));
      conn.close();
      conn.close();
      const { length, ended } = await peer.receive(socket, { pause: 1 });
      assert.deepEqual({ length, ended }, { length: 8 * MiB, ended: "fin" });
      await writing;
      await peer.finish(socket);
      assert.equal(await peer.ended(socket), "fin");
      await soon(conn.closed, "closed");
    },
  ),

  ...overEach(
    "what arrives after close() is dropped without hurting the peer",
    async ({ conn, socket }, { peer }) => {
      await peer.send(socket, { text: "unread" });
      conn.close();
      await peer.receive(socket);
      await peer.send(socket, { size: 4 * MiB });
      await peer.finish(socket);
      await soon(conn.closed, "closed");
      assert.equal(await peer.ended(socket), "fin");
      await rejects("cancelled", () => conn.read());
    },
  ),

  ...overEach("a single byte goes to and fro", async ({ conn, socket }, { peer }) => {
    for (let n = 0; n < 50; n++) {
      await conn.write(Uint8Array.of(n));
      assert.equal((await peer.receive(socket, { size: 1 })).text, String.fromCharCode(n));
      await peer.send(socket, { text: String.fromCharCode(n) });
      assert.deepEqual([...(await readExactly(conn, 1))], [n]);
    }
    conn.close();
    await peer.finish(socket);
    await soon(conn.closed, "closed");
  }),

  {
    name: "2,000 single bytes are echoed one by one between two connections of ours",
    async run(world) {
      const { ours, theirs } = await ownPair(world);
      const echo = (async () => {
        for (let bytes = await theirs.read(); bytes !== null; bytes = await theirs.read())
          await theirs.write(bytes);
        theirs.close();
      })();
      for (let n = 0; n < 2000; n++) {
        await ours.write(Uint8Array.of(n & 255));
        assert.deepEqual([...(await readExactly(ours, 1))], [n & 255]);
      }
      ours.closeWrite();
      assert.equal(await ours.read(), null);
      ours.close();
      await soon(
        Promise.all([echo, ours.closed, theirs.closed]).then(() => undefined),
        "closed",
      );
    },
  },

  {
    name: "after close() reading and writing are cancelled, also a read that was waiting",
    async run(world) {
      const { ours, theirs } = await ownPair(world);
      const waiting = rejects("cancelled", () => ours.read());
      ours.close();
      await soon(waiting, "the waiting read");
      await rejects("cancelled", () => ours.read());
      await rejects("cancelled", () => ours.write(bytesOf("x")));
      theirs.close();
      await soon(Promise.all([ours.closed, theirs.closed]), "closed");
      ours.abort();
      ours.closeWrite();
      ours.close();
    },
  },

  {
    name: "after closeWrite() writing is cancelled, and an empty write is nothing",
    async run(world) {
      const { ours, theirs } = await ownPair(world);
      await ours.write(new Uint8Array(0));
      ours.closeWrite();
      await rejects("cancelled", () => ours.write(bytesOf("x")));
      assert.equal(await theirs.read(), null);
      theirs.close();
      ours.close();
      await soon(Promise.all([ours.closed, theirs.closed]), "closed");
    },
  },

  {
    name: "a second read or write at the same time is a mistake that is named",
    async run(world) {
      const { ours, theirs } = await ownPair(world);
      const reading = rejects("cancelled", () => ours.read());
      assert.throws(() => ours.read(), /a read is already waiting/);
      const block = new Uint8Array(16 * MiB);
      const writing = rejects("cancelled", () => ours.write(block));
      assert.throws(() => ours.write(block), /a write is already waiting/);
      ours.abort();
      await soon(Promise.all([reading, writing]), "the waiting read and write");
      theirs.abort();
    },
  },
];

/** Waits until a number has stopped growing. */
async function settled(look: () => Promise<number>): Promise<void> {
  let last = -1;
  await until("standstill", async () => {
    const before = last;
    await sleep(100);
    last = await look();
    return last === before && last > 0;
  });
}
