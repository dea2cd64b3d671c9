/**
 * Datagrams: each arrives whole and with its sender. If one cannot be sent or
 * handled, no other is lost.
 */
import assert from "node:assert/strict";
import type { HostPort } from "../../../src/model/host-port.ts";
import type { UdpSocket } from "../../../src/net/types.ts";
import { bytesOf, type Case, rejects, soon, textOf, until, type World } from "../kit.ts";

interface Datagram {
  readonly text: string;
  readonly from: HostPort;
}

/** A socket that returns its datagrams in order. */
async function receiving(
  { net }: World,
  host: string,
): Promise<{ socket: UdpSocket; next(): Promise<Datagram> }> {
  const arrived: Datagram[] = [];
  const waiting: ((datagram: Datagram) => void)[] = [];
  const socket = await net.udp({ host, port: 0 }, (bytes, from) => {
    const datagram = { text: textOf(bytes), from };
    const waiter = waiting.shift();
    if (waiter === undefined) arrived.push(datagram);
    else waiter(datagram);
  });
  const next = async () => arrived.shift() ?? new Promise<Datagram>((take) => waiting.push(take));
  return { socket, next: () => soon(next(), "a datagram") };
}

export const udp: Case[] = [
  {
    name: "a datagram arrives whole with its sender, and the reply finds its way back",
    async run(world) {
      const server = await receiving(world, "127.9.8.7");
      const client = await receiving(world, "127.9.8.6");
      assert(server.socket.address.port > 0);
      for (const text of ["question", "", "x".repeat(40_000)]) {
        assert.equal(client.socket.send(bytesOf(text), server.socket.address), true);
        const question = await server.next();
        assert.deepEqual(question, { text, from: client.socket.address });
        assert.equal(server.socket.send(bytesOf(`re: ${text}`), question.from), true);
        const reply = await client.next();
        assert.deepEqual(reply, { text: `re: ${text}`, from: server.socket.address });
      }
      assert.equal(client.socket.dropped, 0);
      assert.equal(server.socket.dropped, 0);
      server.socket.close();
      client.socket.close();
    },
  },
  {
    name: "a dual-stack UDP socket knows IPv4 senders by their own spelling, and replies",
    async run(world) {
      const server = await receiving(world, "::");
      const { port } = server.socket.address;
      for (const host of ["127.0.0.1", "::1"]) {
        const client = await receiving(world, host);
        client.socket.send(bytesOf("question"), { host, port });
        const question = await server.next();
        assert.deepEqual(question, { text: "question", from: client.socket.address });
        server.socket.send(bytesOf("answer"), question.from);
        assert.deepEqual(await client.next(), { text: "answer", from: { host, port } });
        client.socket.close();
      }
      server.socket.close();
    },
  },
  {
    name: "a UDP address in use, one that is not here and a name are refused",
    async run(world) {
      const { socket } = await receiving(world, "127.0.0.1");
      const ignore = () => undefined;
      const inUse = await rejects("address-in-use", () => world.net.udp(socket.address, ignore));
      assert.equal(inUse.details.errno, "EADDRINUSE");
      for (const host of ["192.0.2.1", "localhost"])
        await rejects("address-unavailable", () => world.net.udp({ host, port: 0 }, ignore));
      socket.close();
      socket.close();
      // Deno frees the descriptor a moment later.
      const again = () => world.net.udp(socket.address, ignore).catch(() => undefined);
      await until("the address is free again", async () => {
        const bound = await again();
        bound?.close();
        return bound !== undefined;
      });
    },
  },
  {
    name: "a datagram that cannot be sent is dropped and counted, and the next one leaves",
    async run(world) {
      const server = await receiving(world, "127.0.0.1");
      const { socket } = await receiving(world, "127.0.0.1");
      socket.send(new Uint8Array(70_000), server.socket.address);
      socket.send(bytesOf("to a name"), { host: "localhost", port: server.socket.address.port });
      await until("both are counted", () => socket.dropped === 2);
      socket.send(bytesOf("fits"), server.socket.address);
      assert.equal((await server.next()).text, "fits");
      socket.close();
      assert.equal(socket.send(bytesOf("too late"), server.socket.address), false);
      assert.equal(socket.dropped, 3);
      server.socket.close();
    },
  },
  {
    name: "an onDatagram that throws or rejects costs its own datagram and no other",
    async run({ net }) {
      const served: string[] = [];
      const server = await net.udp({ host: "127.0.0.1", port: 0 }, (bytes) => {
        const text = textOf(bytes);
        if (text === "throw") throw new Error("thrown on purpose");
        if (text === "reject") return Promise.reject(new Error("rejected on purpose"));
        served.push(text);
        return undefined;
      });
      const client = await net.udp({ host: "127.0.0.1", port: 0 }, () => undefined);
      for (const text of ["throw", "reject", "serve"]) client.send(bytesOf(text), server.address);
      await until("the last one is served", () => served.length === 1);
      await until("two are counted", () => server.dropped === 2);
      server.close();
      client.close();
    },
  },
];
