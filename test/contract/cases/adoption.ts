/** Listening sockets that another process has opened and passed on. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Address, addressText, type Net } from "../../../src/net/types.ts";
import { type Case, listening, readAll, rejects, soon, textOf, type World } from "../kit.ts";

const canAdopt = (net: Net): boolean => net.runtime === "bun" && process.platform === "linux";

/**
 * Passes a listener on to peers/adopt.ts, closes it here, and dials `door`.
 * Returns the reply after that process has ended.
 */
async function passOn(
  world: World,
  address: Address,
  door: (listening: Address) => Address,
): Promise<{ reply: unknown; exit: unknown; listening: Address }> {
  const { listener } = await listening(world, address);
  assert(listener.fd !== undefined);
  const script = fileURLToPath(new URL("../peers/adopt.ts", import.meta.url).href);
  const stdio = ["ignore", "ignore", "inherit", listener.fd] as const;
  const child = spawn(process.execPath, [script], { stdio: [...stdio] });
  const exit = new Promise((resolve) => child.once("close", resolve));
  const at = door(listener.address);
  listener.close();
  // It waits in the listener's queue until the child accepts it.
  const conn = await world.net.dial(at);
  const reply = JSON.parse(await soon(readAll(conn), "the reply", 20_000).then(textOf));
  conn.close();
  return { reply, exit: await soon(exit, "the end of the child", 20_000), listening: at };
}

export const adoption: Case[] = [
  {
    name: "a TCP listener goes on in a process that adopts it",
    async run(world) {
      if (!canAdopt(world.net)) return;
      for (const host of ["127.9.8.7", "::1"]) {
        const passed = await passOn(world, { host, port: 0 }, (listening) => listening);
        const text = addressText(passed.listening);
        assert.deepEqual(passed.reply, { listener: text, conn: text });
        assert.equal(passed.exit, 0);
        await rejects("network", () => world.net.dial(passed.listening));
      }
    },
  },
  {
    name: "a unix listener goes on in a process that adopts it and keeps its path",
    async run(world) {
      if (!canAdopt(world.net)) return;
      const path = join(world.folder, "adopted.sock");
      const moved = join(world.folder, "adopted-and-moved.sock");
      const passed = await passOn(world, { path }, () => {
        renameSync(path, moved);
        writeFileSync(path, "somebody else's");
        return { path: moved };
      });
      assert.deepEqual(passed.reply, { listener: path, conn: path });
      assert.equal(passed.exit, 0);
      assert.equal(readFileSync(path, "utf8"), "somebody else's");
    },
  },
  {
    name: "a descriptor that is no listener, or a runtime that cannot adopt, is refused",
    async run({ net, folder }) {
      const file = openSync(join(folder, "plain file"), "w");
      for (const fd of [file, 9999, -1]) {
        const error = await rejects("network", () => net.adopt(fd, (conn) => conn.abort()));
        assert.match(error.message, new RegExp(`^Cannot listen on the descriptor ${fd}: `));
      }
      // The descriptor still belongs to the caller.
      closeSync(file);
    },
  },
  {
    name: "an open listener has a descriptor if its runtime returns one",
    async run(world) {
      for (const address of [
        { host: "127.0.0.1", port: 0 },
        { path: join(world.folder, "described.sock") },
      ]) {
        const { listener } = await listening(world, address);
        assert.equal(typeof listener.fd, world.net.runtime === "bun" ? "number" : "undefined");
        listener.close();
      }
    },
  },
  {
    name: "a queued listener accepts nothing: its clients wait for another one",
    async run({ net }) {
      const address = { host: "127.9.8.7", port: 0 };
      const never = (): void => assert.fail("it has accepted");
      if (!canAdopt(net)) {
        await rejects("network", () => net.listen(address, never, { queued: true }));
        return;
      }
      const held = await net.listen(address, never, { queued: true });
      assert.ok(held.fd !== undefined && "port" in held.address && held.address.port > 0);
      const conn = await net.dial(held.address);
      const taken = await net.listen(held.address, never, { queued: true }).then(
        () => "twice",
        (error) => error.code,
      );
      assert.equal(taken, "address-in-use");
      const accepted = Promise.withResolvers<void>();
      const again = await net.adopt(held.fd, (client) => {
        client.close();
        accepted.resolve();
      });
      await soon(accepted.promise, "the client that has waited", 10_000);
      conn.close();
      again.close();
    },
  },
  {
    name: "descriptors that are passed over a unix socket go on in another net",
    async run(world) {
      const { net } = world;
      if (!canAdopt(net)) return;
      const many = await Promise.all(
        Array.from({ length: 600 }, () => listening(world, { host: "127.9.8.7", port: 0 })),
      );
      const udp = await net.udp({ host: "127.9.8.7", port: 0 }, () => undefined);
      const fds = [...many.map(({ listener }) => listener.fd), udp.fd].flatMap((fd) => fd ?? []);
      const path = join(world.folder, "passing.sock");
      const passing = await net.listen({ path }, async (conn) => {
        assert.equal(textOf((await conn.read()) ?? new Uint8Array()), "please\n");
        await net.sendDescriptors(conn, fds);
        conn.close();
      });
      const signal = AbortSignal.timeout(10_000);
      const received = await net.receiveDescriptors(path, "please\n", signal);
      assert.equal(received.length, 601);
      for (const { listener } of many) listener.close();
      udp.close();
      const adopted = await Promise.all(
        received.slice(0, -1).map((fd) => net.adopt(fd, (conn) => conn.close())),
      );
      assert.deepEqual(
        adopted.map(({ address }) => address),
        many.map(({ listener }) => listener.address),
      );
      const question = Promise.withResolvers<string>();
      const again = await net.adoptUdp(received.at(-1) ?? -1, (bytes) =>
        question.resolve(textOf(bytes)),
      );
      assert.deepEqual(again.address, udp.address);
      const client = await net.udp({ host: "127.9.8.7", port: 0 }, () => undefined);
      client.send(new TextEncoder().encode("still there?"), again.address);
      assert.equal(await soon(question.promise, "the datagram"), "still there?");
      const last = adopted.at(-1);
      assert(last !== undefined);
      assert.equal(await readAll(await net.dial(last.address)).then(textOf), "");
      for (const one of [...adopted, again, client, passing]) one.close();
    },
  },
  {
    name: "a receiver of descriptors hears that there is no listener",
    async run(world) {
      if (!canAdopt(world.net)) return;
      const path = join(world.folder, "nobody.sock");
      const signal = AbortSignal.timeout(10_000);
      await rejects("network", () => world.net.receiveDescriptors(path, "please\n", signal));
    },
  },
];
