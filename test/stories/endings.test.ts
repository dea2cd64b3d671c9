import { beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { createServer, type Socket } from "node:net";
import { type Cloud, registered } from "../support/cloud.ts";
import { backTo, type Footprint, footprint } from "../support/footprint.ts";
import type { Daemon } from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { dial, echo, peer, type Upstream, upstream } from "../support/tcp.ts";

const hash = (bytes: Uint8Array | string): string =>
  createHash("sha256")
    .update(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes)
    .digest("hex");
const blob = (name: string, size: number): Buffer =>
  createHash("shake256", { outputLength: size }).update(name).digest();

let cloud: Cloud;
let daemon: Daemon;
let echoes: Upstream;
let before: Footprint;

const publish = async (url: string, address: string): Promise<void> => {
  await cloud.add(url, address);
  await daemon.refresh();
};
/** A service that hands out its next connection and closes none by itself. */
const service = async (
  name: string,
): Promise<{ next: () => Promise<Socket>; upstream: Upstream }> => {
  let arrived = Promise.withResolvers<Socket>();
  const open = await upstream((socket) => arrived.resolve(socket));
  await publish(`tcp://${name}:7000`, open.address);
  before = footprint(daemon.pid);
  return {
    upstream: open,
    async next() {
      const socket = await arrived.promise;
      arrived = Promise.withResolvers();
      return socket;
    },
  };
};
const echoed = async (text: string): Promise<void> => {
  const client = await dial("echo.demo", 7000);
  await client.write(text);
  client.end();
  expect(await client.rest()).toBe(text);
};

const begin = async () => {
  // Without ready connections, descriptors can be counted.
  ({ cloud, daemon } = await registered({ config: { forward: { pool: { min: 0, max: 0 } } } }));
  echoes = await echo();
  await publish("tcp://echo.demo:7000", echoes.address);
  await echoed("first");
  before = footprint(daemon.pid);
};

stories("how connections end", () => {
  beforeAll(begin);

  test("a client that closes: a waiting service sees the end, a talking one a reset", async () => {
    const { next, upstream } = await service("leaving.demo");
    const client = await dial("leaving.demo", 7000);
    await client.write("bye");
    const waiting = peer(await next());
    expect(await waiting.read(3)).toBe("bye");
    client.socket.destroy();
    expect(await waiting.rest()).toBe("");
    waiting.end();
    await until("the connection is over", () => upstream.open.size === 0);

    const other = await dial("leaving.demo", 7000);
    await other.write("bye");
    const socket = await next();
    const talking = peer(socket);
    expect(await talking.read(3)).toBe("bye");
    const timer = setInterval(() => socket.write("are you there? "), 5);
    other.socket.destroy();
    await until("the talker is let go", () => upstream.open.size === 0);
    clearInterval(timer);
    await backTo(before, daemon);
  });

  test("a service that closes: the client sees the end, and a reset if it goes on", async () => {
    const { next, upstream } = await service("closing.demo");
    const client = await dial("closing.demo", 7000);
    await client.write("x");
    const far = peer(await next());
    await far.read(1);
    await far.write("that was it");
    far.socket.destroy();
    expect(await client.rest()).toBe("that was it");
    const closed = new Promise((resolve) => client.socket.once("close", resolve));
    const timer = setInterval(() => client.socket.write("hello? "), 5);
    await closed;
    clearInterval(timer);
    expect(upstream.open.size).toBe(0);
    await backTo(before, daemon);
  });

  test("services that close first, and clients that close then, count no failure", async () => {
    const answering = await upstream((socket) =>
      socket.once("data", () => socket.write("answer", () => socket.destroy())),
    );
    await publish("tcp://normal.demo:7000", answering.address);
    before = footprint(daemon.pid);
    for (let n = 0; n < 20; n += 1) {
      const client = await dial("normal.demo", 7000);
      await client.write("question");
      expect(await client.rest()).toBe("answer");
      // The ingress has closed by now.
      await Bun.sleep(20);
      client.end();
    }
    const counts = async () => (await daemon.endpoint("normal.demo"))?.connections;
    await until("all are over", async () => (await counts())?.active === 0);
    expect(await counts()).toMatchObject({ total: 20, errors: 0 });
    await backTo(before, daemon);
  });

  test("a client that finishes in the middle of its echo gets all of it", async () => {
    const sent = blob("echo", 16 * 1024 * 1024);
    const client = await dial("echo.demo", 7000);
    await client.write(sent);
    client.end();
    // Most of the echo is still to come.
    expect(client.socket.bytesRead).toBeLessThan(sent.length);
    expect(hash(await client.rest())).toBe(hash(sent));
    await until("the service is let go", () => echoes.open.size === 0);
    await backTo(before, daemon);
  });
});

stories("connections that are reset or stand still", () => {
  beforeAll(begin);

  test("a reset of either side in a transfer either way resets the other and frees all", async () => {
    const { next, upstream } = await service("abrupt.demo");
    const bytes = blob("abrupt", 8 * 1024 * 1024);
    for (const sender of ["client", "service"] as const) {
      for (const culprit of ["client", "service"] as const) {
        const client = await dial("abrupt.demo", 7000);
        const far = peer(await next());
        const [from, to] = sender === "client" ? [client, far] : [far, client];
        // Fails with the reset, which `left` reports.
        from.write(bytes).catch(() => undefined);
        const got = await to.read(1024 * 1024);
        expect(hash(got)).toBe(hash(bytes.subarray(0, 1024 * 1024)));
        const [rude, other] = culprit === "client" ? [client, far] : [far, client];
        rude.reset();
        expect({ sender, culprit, otherLeft: await other.left }).toEqual({
          sender,
          culprit,
          otherLeft: "reset",
        });
        other.socket.destroy();
        await until("the service is let go", () => upstream.open.size === 0);
      }
    }
    await echoed("alive");
    await backTo(before, daemon);
  });

  test("a reader that stops holds up its sender, costs no memory, and loses nothing", async () => {
    const { next, upstream } = await service("pause.demo");
    const client = await dial("pause.demo", 7000);
    const far = peer(await next());
    client.socket.pause();
    const { rss } = footprint(daemon.pid);
    // The system's buffers on the way differ by tens of MiB between machines.
    // So the service sends until they are full.
    const most = 512 * 1024 * 1024;
    const sum = createHash("sha256");
    let sent = 0;
    let goesOn = true;
    const sending = (async () => {
      while (goesOn && sent < most) {
        const piece = blob(`pause ${sent}`, 1024 * 1024);
        await far.write(piece);
        sum.update(piece);
        sent += piece.length;
      }
    })();
    let last = { sent: -1, down: -1 };
    const halted = async (): Promise<boolean> => {
      const now = { sent, down: (await daemon.endpoint("pause.demo"))?.bytes.down ?? 0 };
      const still = now.down > 0 && now.sent === last.sent && now.down === last.down;
      last = now;
      return still;
    };
    await until("nothing moves any more", halted, { every: 200 });
    expect(last.sent).toBeLessThan(most);
    // The garbage of the bytes sent is collected while it answers questions.
    await until("little memory is in use", async () => {
      await daemon.status();
      return footprint(daemon.pid).rss - rss < 16 * 1024;
    });
    goesOn = false;
    client.socket.resume();
    await sending;
    far.end();
    expect(hash(await client.rest())).toBe(sum.digest("hex"));
    client.end();
    await until("the service is let go", () => upstream.open.size === 0);
    await backTo(before, daemon);
  });
});

stories("resources after connections", () => {
  beforeAll(begin);

  test("2,000 short connections leave no descriptor, no memory and no open count behind", async () => {
    const ip = (await daemon.endpoint("echo.demo"))?.ip ?? "";
    const one = async (n: number): Promise<void> => {
      const client = await dial(ip, 7000);
      const text = `connection ${n}`;
      // Every fifth one breaks off.
      await client.write(text);
      if (n % 5 === 0) {
        expect(await client.read(text.length)).toBe(text);
        client.reset();
        return;
      }
      client.end();
      expect(await client.rest()).toBe(text);
    };
    const round = async (from: number, count: number): Promise<void> => {
      let n = from;
      const worker = async (): Promise<void> => {
        while (n < from + count) await one(n++);
      };
      await Promise.all(Array.from({ length: 20 }, worker));
      await until("the services are let go", () => echoes.open.size === 0);
    };
    const total = (await daemon.status()).connections.total;
    await round(0, 500);
    await until(
      "no connection is open",
      async () => (await daemon.status()).connections.active === 0,
    );
    const warm = footprint(daemon.pid);
    await round(500, 1500);
    expect((await daemon.status()).connections.total).toBe(total + 2000);
    // The runtime frees memory some 10,000 connections later. More than that is
    // a leak.
    await backTo({ files: before.files, rss: warm.rss }, daemon);
  });

  test("a service that refuses, then resets, then is well: the next connection works", async () => {
    let well = false;
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => socket.destroy());
      if (well) socket.pipe(socket);
      else socket.resetAndDestroy();
    });
    // A port outside the ephemeral range, so that it is free when the service
    // comes back.
    const port = 7100;
    const listen = (): Promise<void> =>
      new Promise((listening) => server.listen(port, "127.0.0.1", listening));
    await listen();
    atEnd(() => server.close());
    await publish("tcp://moody.demo:7000", `127.0.0.1:${port}`);
    before = footprint(daemon.pid);
    for (let round = 0; round < 3; round += 1) {
      well = false;
      await new Promise((closed) => server.close(closed));
      expect(await (await dial("moody.demo", 7000)).left).toBe("reset");
      await listen();
      expect(await (await dial("moody.demo", 7000)).left).toBe("reset");
      well = true;
      const client = await dial("moody.demo", 7000);
      await client.write("well?");
      client.end();
      expect(await client.rest()).toBe("well?");
    }
    await backTo(before, daemon);
  });
});
