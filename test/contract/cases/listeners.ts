/**
 * Listening: addresses, unix sockets, and accepted connections that depend
 * neither on each other nor on their listener.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { addressText, type Conn, type Listener } from "../../../src/net/types.ts";
import {
  bytesOf,
  type Case,
  descriptors,
  listening,
  ownPair,
  portOf,
  readAll,
  readExactly,
  rejects,
  soon,
  textOf,
  until,
} from "../kit.ts";

const loopback = { host: "127.0.0.1", port: 0 };

export const listeners: Case[] = [
  {
    name: "port 0 becomes a real port, and both ends know each other's address",
    async run(world) {
      const { listener, next } = await listening(world, loopback);
      assert(portOf(listener) > 0);
      const ours = await world.net.dial(listener.address);
      const theirs = await next();
      assert.deepEqual(ours.remote, listener.address);
      assert(
        "host" in theirs.remote &&
          theirs.remote.host === loopback.host &&
          theirs.remote.port > 1023,
        addressText(theirs.remote),
      );
      assert.equal(ours.peer, undefined);
      ours.close();
      theirs.close();
      listener.close();
      await soon(Promise.all([ours.closed, theirs.closed]), "closed");
      assert.deepEqual(ours.remote, listener.address, "still known after the end");
    },
  },
  {
    name: "a routed listener carries as any other, and knows its address",
    async run(world) {
      for (const host of ["127.0.0.1", "::1"]) {
        const { listener, next } = await listening(world, { host, port: 0 }, { routed: true });
        assert(portOf(listener) > 0);
        const ours = await world.net.dial({ host, port: portOf(listener) });
        const theirs = await next();
        await ours.write(bytesOf("over a route"));
        ours.closeWrite();
        assert.equal(textOf(await readAll(theirs)), "over a route");
        assert.equal("host" in theirs.local && theirs.local.host, host);
        theirs.close();
        listener.close();
        await soon(Promise.all([ours.closed, theirs.closed]), "closed");
        await rejects("network", () => world.net.dial({ host, port: portOf(listener) }));
      }
    },
  },
  {
    name: "an IPv6 address of no interface is taken for a routed listener alone, if at all",
    async run(world) {
      const address = { host: "fd00:6e67:726f:6b64::9", port: 0 };
      await rejects("address-unavailable", () => world.net.listen(address, () => undefined));
      const routed = { routed: true };
      if (world.net.runtime !== "bun" || process.platform !== "linux") {
        await rejects("address-unavailable", () =>
          world.net.listen(address, () => undefined, routed),
        );
        return;
      }
      const listener = await world.net.listen(address, () => undefined, routed);
      const again = { ...address, port: portOf(listener) };
      await rejects("address-in-use", () => world.net.listen(again, () => undefined, routed));
      listener.close();
    },
  },
  {
    name: "the routing of this machine can be asked for, or is refused as none",
    async run(world) {
      if (world.net.runtime !== "bun" || process.platform !== "linux") {
        await rejects("network", () => world.net.routing());
        return;
      }
      const routing = await world.net.routing();
      assert.equal(routing.changed(), false);
      routing.close();
      routing.close();
    },
  },
  {
    name: "IPv6 works, and IPv4 through a dual-stack listener keeps its own spelling",
    async run(world) {
      const { listener, next } = await listening(world, { host: "::", port: 0 });
      for (const host of ["::1", "127.0.0.1"]) {
        const ours = await world.net.dial({ host, port: portOf(listener) });
        const theirs = await next();
        assert.equal("host" in theirs.remote && theirs.remote.host, host);
        assert.equal(addressText(ours.remote), addressText({ host, port: portOf(listener) }));
        ours.close();
        theirs.close();
      }
      listener.close();
    },
  },
  {
    name: "both ends know their own address, also behind a listener on all addresses",
    async run(world) {
      for (const host of ["127.9.8.7", "0.0.0.0", "::"]) {
        const { listener, next } = await listening(world, { host, port: 0 });
        const port = portOf(listener);
        const ours = await world.net.dial({ host: "127.9.8.7", port });
        const theirs = await next();
        assert.deepEqual(theirs.local, { host: "127.9.8.7", port });
        assert.deepEqual(ours.local, theirs.remote);
        ours.close();
        theirs.close();
        await soon(Promise.all([ours.closed, theirs.closed]), "closed");
        assert.deepEqual(theirs.local, { host: "127.9.8.7", port }, "still known after the end");
        listener.close();
      }
    },
  },
  {
    name: "every address of 127.0.0.0/8 can be listened on, each with the same port",
    async run(world) {
      const one = await listening(world, { host: "127.9.8.7", port: 0 });
      const two = await listening(world, { host: "127.9.8.8", port: portOf(one.listener) });
      const conn = await world.net.dial(two.listener.address);
      (await two.next()).abort();
      conn.abort();
      one.listener.close();
      two.listener.close();
    },
  },
  {
    name: "an address in use, one that is not here and a name are refused",
    async run(world) {
      const { listener } = await listening(world, loopback);
      const inUse = await rejects("address-in-use", () => listening(world, listener.address));
      assert.match(
        inUse.message,
        /^Cannot listen on "127\.0\.0\.1:\d+": the address is already in use$/,
      );
      assert.equal(inUse.details.errno, "EADDRINUSE");
      await rejects("address-unavailable", () => listening(world, { host: "192.0.2.1", port: 0 }));
      await rejects("address-unavailable", () => listening(world, { host: "localhost", port: 0 }));
      listener.close();
      const again = await listening(world, listener.address);
      again.listener.close();
    },
  },
  {
    name: "closing a listener refuses newcomers and leaves the accepted alone",
    async run(world) {
      const { listener, next } = await listening(world, loopback);
      const ours = await world.net.dial(listener.address);
      const theirs = await next();
      listener.close();
      listener.close();
      const refused = world.net
        .dial(listener.address)
        .then(() => assert.fail("a closed listener answers"));
      await rejects("network", () => refused);
      await theirs.write(bytesOf("still here"));
      assert.equal(textOf(await readExactly(ours, 10)), "still here");
      ours.close();
      theirs.close();
      await soon(Promise.all([ours.closed, theirs.closed]), "closed");
    },
  },
  {
    name: "an onConn that throws or rejects resets its own connection and no other",
    async run(world) {
      let n = 0;
      const listener = await world.net.listen(loopback, async (conn) => {
        n++;
        if (n === 2) await Promise.reject(new Error("rejected on purpose"));
        await conn.write(bytesOf("served"));
        conn.close();
      });
      const thrower = await world.net.listen(loopback, () => {
        throw new Error("thrown on purpose");
      });
      const talk = async ({ address }: Listener) => {
        // The dial itself may already meet an early reset.
        const conn = await world.net.dial(address).catch((error) => error.details.errno as string);
        if (typeof conn === "string") return conn;
        const text = await readAll(conn).then(textOf, (error) => error.details.errno as string);
        conn.close();
        return text;
      };
      assert.equal(await talk(listener), "served");
      assert.equal(await soon(talk(listener), "the reset"), "ECONNRESET");
      assert.equal(await talk(listener), "served");
      assert.equal(await soon(talk(thrower), "the reset"), "ECONNRESET");
      listener.close();
      thrower.close();
    },
  },
  {
    name: "300 connections at once are all served, and every descriptor comes back",
    async run(world) {
      const before = descriptors();
      const listener = await world.net.listen(loopback, async (conn) => {
        for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read())
          await conn.write(bytes);
        conn.close();
      });
      const talk = async (n: number) => {
        const conn = await world.net.dial(listener.address);
        await conn.write(bytesOf(`I am ${n}`));
        conn.closeWrite();
        const text = textOf(await readAll(conn));
        conn.close();
        await conn.closed;
        return text;
      };
      const texts = await soon(
        Promise.all(Array.from({ length: 300 }, (_, n) => talk(n))),
        "300 talks",
        20_000,
      );
      assert.deepEqual(
        texts,
        Array.from({ length: 300 }, (_, n) => `I am ${n}`),
      );
      listener.close();
      if (before !== undefined)
        await until("all descriptors back", () => (descriptors() ?? 0) <= before);
    },
  },
  {
    name: "a unix socket carries bytes and half-closes",
    async run(world) {
      const path = join(world.folder, "echo.sock");
      const { listener, next } = await listening(world, { path });
      const socket = await world.peer.connect({ path });
      const conn = await next();
      assert.deepEqual(conn.remote, { path });
      assert.deepEqual(conn.local, { path });
      await world.peer.send(socket, { text: "hello" });
      await world.peer.finish(socket);
      assert.equal(textOf(await readAll(conn)), "hello");
      await conn.write(bytesOf("late reply"));
      conn.close();
      const { text, ended } = await world.peer.receive(socket);
      assert.deepEqual({ text, ended }, { text: "late reply", ended: "fin" });
      await soon(conn.closed, "closed");
      const ours = await world.net.dial({ path });
      const theirs = await next();
      assert.deepEqual(ours.local, { path: "" });
      ours.close();
      assert.equal(await theirs.read(), null);
      theirs.close();
      await soon(Promise.all([ours.closed, theirs.closed]), "closed");
      listener.close();
      await until("the path is gone", () => !existsSync(path));
    },
  },
  {
    name: "the user behind a unix connection is known, or it is said that it is not",
    async run(world) {
      const path = join(world.folder, "user.sock");
      const { listener, next } = await listening(world, { path });
      const ours = await world.net.dial({ path });
      const conn = await next();
      const user = await world.net.userOf(conn);
      // Only Bun on Linux tells.
      const tells = world.net.runtime === "bun" && process.platform === "linux";
      assert.equal(user?.uid, tells ? process.getuid?.() : undefined);
      assert.equal(user?.groups[0], tells ? process.getgid?.() : undefined);
      conn.abort();
      await soon(conn.closed, "closed");
      assert.equal(await world.net.userOf(conn), undefined);
      ours.close();
      listener.close();
    },
  },
  {
    name: "a unix socket has mode 0600 whatever the umask, and the umask is as it was",
    async run(world) {
      for (const mask of [0, 0o077, 0o022]) {
        const path = join(world.folder, `mode-${mask}.sock`);
        const before = process.umask(mask);
        try {
          const { listener } = await listening(world, { path });
          assert.equal(statSync(path).mode & 0o777, 0o600);
          assert.equal(process.umask(mask), mask);
          listener.close();
        } finally {
          process.umask(before);
        }
      }
    },
  },
  {
    name: "a unix path that exists is in use and unchanged, file or socket",
    async run(world) {
      const path = join(world.folder, "taken.sock");
      const { listener } = await listening(world, { path });
      await rejects("address-in-use", () => listening(world, { path }));
      const conn = await world.net.dial({ path });
      conn.abort();
      listener.close();
      const file = join(world.folder, "file");
      writeFileSync(file, "mine");
      await rejects("address-in-use", () => listening(world, { path: file }));
      assert.equal(readFileSync(file, "utf8"), "mine");
    },
  },
  {
    name: "a unix path that cannot be bound says why",
    async run(world) {
      const missing = await rejects("network", () =>
        listening(world, { path: join(world.folder, "no", "such.sock") }),
      );
      assert.match(missing.message, /a folder of the path does not exist/);
      await rejects("network", () =>
        listening(world, { path: join(world.folder, "x".repeat(120)) }),
      );
    },
  },
  {
    name: "closing a unix listener keeps another program's new file at its path",
    async run(world) {
      const path = join(world.folder, "replaced.sock");
      const { listener } = await listening(world, { path });
      unlinkSync(path);
      writeFileSync(path, "somebody else's");
      const { ino } = statSync(path);
      listener.close();
      await new Promise((resolve) => setTimeout(resolve, 30));
      assert.equal(readFileSync(path, "utf8"), "somebody else's");
      assert.equal(statSync(path).ino, ino);
      const other = await listening(world, { path: join(world.folder, "removed.sock") });
      unlinkSync(join(world.folder, "removed.sock"));
      other.listener.close();
    },
  },
  {
    name: "`closed` also settles for a late caller",
    async run(world) {
      const { ours, theirs } = await ownPair(world);
      const closed: Promise<unknown>[] = [ours, theirs].map((conn: Conn) => {
        conn.close();
        return conn.closed;
      });
      await soon(Promise.all(closed), "closed");
      await soon(ours.closed, "closed, asked late");
    },
  },
];
