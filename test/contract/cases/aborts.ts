/** A reset is not an end: each is reported as itself, in both directions. */
import assert from "node:assert/strict";
import { bytesOf, type Case, kinds, readExactly, rejects, sleep, soon, textOf } from "../kit.ts";

const block = new Uint8Array(1024 * 1024);

export const aborts: Case[] = kinds.flatMap(({ label, pair }): Case[] => [
  {
    name: `abort() is seen by the peer as a reset over ${label}`,
    async run(world) {
      const { conn, socket } = await pair(world);
      await conn.write(bytesOf("hello"));
      await world.peer.receive(socket, { size: 5 });
      const reading = rejects("cancelled", () => conn.read());
      conn.abort();
      conn.abort();
      await soon(conn.closed, "closed");
      await reading;
      assert.equal(await world.peer.ended(socket), "ECONNRESET");
      await rejects("cancelled", () => conn.read());
      await rejects("cancelled", () => conn.write(bytesOf("x")));
    },
  },
  {
    name: `the peer's reset rejects a waiting read, and later calls, over ${label}`,
    async run(world) {
      const { conn, socket } = await pair(world);
      await world.peer.send(socket, { text: "hello" });
      assert.equal(textOf(await readExactly(conn, 5)), "hello");
      const reading = rejects("aborted", () => conn.read());
      await world.peer.reset(socket);
      await soon(reading, "the waiting read");
      await rejects("aborted", () => conn.read());
      await rejects("aborted", () => conn.write(bytesOf("x")));
      await soon(conn.closed, "closed");
      conn.close();
      await rejects("cancelled", () => conn.read());
    },
  },
  {
    name: `the peer's reset is an error also after our own half has ended, over ${label}`,
    async run(world) {
      const { conn, socket } = await pair(world);
      conn.closeWrite();
      await world.peer.receive(socket);
      await world.peer.reset(socket);
      await soon(
        rejects("aborted", () => conn.read()),
        "the read",
      );
      await soon(conn.closed, "closed");
    },
  },
  {
    name: `a peer's reset frees an unread connection, and follows its bytes, over ${label}`,
    async run(world) {
      const { conn, socket } = await pair(world);
      await world.peer.send(socket, { text: "hello" });
      await sleep(30);
      await world.peer.reset(socket);
      await soon(conn.closed, "closed");
      assert.equal(textOf(await conn.read()), "hello");
      await rejects("aborted", () => conn.read());
    },
  },
  {
    name: `the peer's reset rejects a write that waits for room, over ${label}`,
    async run(world) {
      const { conn, socket } = await pair(world);
      const writing = rejects("aborted", async () => {
        for (;;) await conn.write(block);
      });
      await sleep(50);
      await world.peer.reset(socket);
      await soon(writing, "the waiting write");
      await soon(conn.closed, "closed");
    },
  },
  {
    name: `abort() drops unsent bytes, over ${label}`,
    async run(world) {
      const { conn, socket } = await pair(world);
      let written = 0;
      const writing = rejects("cancelled", async () => {
        for (; ; written += block.length) await conn.write(block);
      });
      await sleep(50);
      conn.abort();
      await soon(writing, "the waiting write");
      await soon(conn.closed, "closed");
      // The kind of end is not checked: libuv reports a reset after unread
      // bytes as an end (uv__stream_io, "partial read" and POLLHUP).
      assert((await world.peer.receive(socket)).length < written + block.length);
    },
  },
  {
    name: `writing to a peer that is gone ends in "aborted", over ${label}`,
    async run(world) {
      const { conn, socket } = await pair(world);
      await world.peer.destroy(socket);
      await soon(
        rejects("aborted", async () => {
          for (;;) {
            await conn.write(bytesOf("anybody there?"));
            await sleep(5);
          }
        }),
        "the failing write",
      );
      await soon(conn.closed, "closed");
    },
  },
]);
