/**
 * Dialing without TLS: the failures, their reports, and that no resource is
 * left behind.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { NgrokdError } from "../../../src/model/error.ts";
import {
  bytesOf,
  type Case,
  listening,
  portOf,
  readExactly,
  rejects,
  soon,
  textOf,
  trusting,
} from "../kit.ts";

export const dials: Case[] = [
  {
    name: "bytes from the server before the end of the dial are not lost",
    async run({ net, peer }) {
      const { port } = await peer.listen({ greeting: "220 ready\r\n" });
      const conn = await net.dial({ host: "127.0.0.1", port });
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(textOf(await readExactly(conn, 11)), "220 ready\r\n");
      conn.abort();
    },
  },
  {
    name: "a port without a listener is a network error that says so",
    async run(world) {
      const { listener } = await listening(world, { host: "127.0.0.1", port: 0 });
      listener.close();
      const port = portOf(listener);
      const error = await rejects("network", () => world.net.dial({ host: "127.0.0.1", port }));
      assert.match(
        error.message,
        new RegExp(`^Cannot connect to "127\\.0\\.0\\.1:${port}": connection refused`),
      );
      assert.equal(error.details.errno, "ECONNREFUSED");
      await rejects("network", () =>
        world.net.dial({ host: "127.0.0.1", port }, { tls: trusting(world) }),
      );
    },
  },
  {
    name: "a unix path that does not exist, or has no listener, is a network error",
    async run({ net, folder }) {
      const missing = await rejects("network", () =>
        net.dial({ path: join(folder, "missing.sock") }),
      );
      assert.match(missing.message, /missing\.sock": the path does not exist$/);
      assert.equal(missing.details.errno, "ENOENT");
      const file = join(folder, "plain-file");
      writeFileSync(file, "");
      const refused = await rejects("network", () => net.dial({ path: file }));
      assert.match(refused.message, /plain-file": connection refused/);
      assert.equal(refused.details.errno, "ECONNREFUSED");
    },
  },
  {
    name: "a host name is looked up, and all of its addresses are tried",
    async run(world) {
      // "localhost" may be ::1 first, which has no listener.
      const { listener, next } = await listening(world, { host: "127.0.0.1", port: 0 });
      const conn = await world.net.dial({ host: "localhost", port: portOf(listener) });
      await (await next()).write(bytesOf("found"));
      assert.equal(textOf(await readExactly(conn, 5)), "found");
      conn.abort();
      listener.close();
    },
  },
  {
    name: "a host name that does not exist is a network error that says so",
    async run({ net }) {
      const error = await rejects("network", () =>
        net.dial({ host: "does-not-exist.invalid", port: 80 }),
      );
      assert.match(error.message, /^Cannot look up "does-not-exist\.invalid": /);
    },
  },
  {
    name: "an unreachable address is a network error",
    async run({ net }) {
      // 255.255.255.255 is refused by the kernel at once, without a packet.
      await rejects("network", () => net.dial({ host: "255.255.255.255", port: 9 }));
    },
  },
  {
    name: "a signal that is already aborted dials nothing",
    async run({ net, peer }) {
      const { port } = await peer.listen();
      await rejects("cancelled", () =>
        net.dial({ host: "127.0.0.1", port }, { signal: AbortSignal.abort() }),
      );
    },
  },
  {
    name: "the signal's deadline ends a dial to a server that accepts but never speaks TLS",
    async run(world) {
      const { net, peer } = world;
      const { server, port } = await peer.listen();
      const signal = AbortSignal.timeout(150);
      const dialing = net.dial({ host: "127.0.0.1", port }, { tls: trusting(world), signal });
      const error = await rejects("timeout", () => soon(dialing, "the deadline"));
      assert.match(error.message, /no answer in time/);
      assert.notEqual(
        await soon(
          peer.accept(server).then((socket) => peer.ended(socket)),
          "the peer sees the end",
        ),
        null,
      );
    },
  },
  {
    name: "a cancelled dial rejects with the signal's reason, and frees its socket",
    async run(world) {
      const { net, peer } = world;
      const { server, port } = await peer.listen();
      for (const [reason, code] of [
        [new NgrokdError("timeout", "the header took too long"), "timeout"],
        [undefined, "cancelled"],
      ] as const) {
        const stop = new AbortController();
        const dialing = rejects(code, () =>
          net.dial({ host: "127.0.0.1", port }, { tls: trusting(world), signal: stop.signal }),
        );
        const socket = await peer.accept(server);
        stop.abort(reason);
        const error = await soon(dialing, "the rejection");
        if (reason !== undefined) assert.equal(error, reason);
        await soon(peer.ended(socket), "the peer sees the end");
      }
    },
  },
  {
    name: "cancelling in every moment of a dial leaves no connection behind",
    async run({ net, peer }) {
      const { server, port } = await peer.listen();
      let dialed = 0;
      for (let delay = 0; delay < 20; delay++) {
        const stop = new AbortController();
        const dialing = net.dial({ host: "127.0.0.1", port }, { signal: stop.signal });
        if (delay % 4 === 0) stop.abort();
        else if (delay % 4 === 1) queueMicrotask(() => stop.abort());
        else setTimeout(() => stop.abort(), delay / 10);
        const conn = await dialing.catch((error) => assert.equal(error.code, "cancelled"));
        if (conn === undefined) continue;
        dialed++;
        // The signal has no effect on an open connection.
        stop.abort();
        await conn.write(bytesOf("up"));
        conn.close();
      }
      // Connections are accepted in order, so after this one there is none.
      const last = await net.dial({ host: "127.0.0.1", port });
      await last.write(bytesOf("last"));
      last.close();
      let spoken = 0;
      for (let said = ""; said !== "last"; ) {
        const socket = await soon(peer.accept(server), "every socket that was accepted has ended");
        said = (await soon(peer.receive(socket), "its end")).text;
        if (said === "up") spoken++;
        await peer.finish(socket);
      }
      assert.equal(spoken, dialed);
    },
  },
];
