import { beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { type Cloud, registered } from "../support/cloud.ts";
import { type Daemon, run } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { dial, echo, resolve, type Upstream, upstream } from "../support/tcp.ts";
import { sha256, web } from "../support/web.ts";

let cloud: Cloud;
let daemon: Daemon;
let echoes: Upstream;

const publish = async (url: string, address: string): Promise<string> => {
  const id = await cloud.add(url, address);
  await daemon.refresh();
  return id;
};
const settled = async (hostname: string) =>
  await until(`no connection of ${hostname} is open`, async () => {
    const item = await daemon.endpoint(hostname);
    return item?.connections.active === 0 && item;
  });

const begin = async () => {
  ({ cloud, daemon } = await registered());
  echoes = await echo();
  await publish("tcp://echo.demo:7000", echoes.address);
};

stories("the first and the last bytes of a connection", () => {
  beforeAll(begin);

  test("a server that speaks first is heard before the client has said a word", async () => {
    await publish(
      "tcp://mail.demo:2525",
      (await upstream((socket) => void socket.end("220 mail.demo ready\r\n"))).address,
    );
    const client = await dial("mail.demo", 2525);
    expect(await client.rest()).toBe("220 mail.demo ready\r\n");
    client.end();
  });

  test("first words that come in one piece with the ingress's answer are not lost", async () => {
    await cloud.break("header-joined*1");
    const client = await dial("mail.demo", 2525);
    expect(await client.rest()).toBe("220 mail.demo ready\r\n");
    client.end();
  });

  test("an answer of the ingress that comes byte by byte is understood", async () => {
    await cloud.break("header-slow=2*1");
    const client = await dial("mail.demo", 2525);
    expect(await client.rest()).toBe("220 mail.demo ready\r\n");
    client.end();
  });

  test("a client that has finished sending gets the reply that comes 2 s later", async () => {
    const late = await upstream((socket) => {
      let got = "";
      socket.on("data", (bytes) => {
        got += bytes.toString();
      });
      socket.on("end", () => setTimeout(() => socket.end(`you said ${got}`), 2000));
    });
    await publish("tcp://late.demo:7001", late.address);
    const client = await dial("late.demo", 7001);
    await client.write("all I have");
    client.end();
    expect(await client.rest()).toBe("you said all I have");
    await until("the service is let go", () => late.open.size === 0);
  });

  test("a service that has finished sending still gets the client's later bytes", async () => {
    let heard = "";
    const listener = await upstream((socket) => {
      socket.end("your turn");
      socket.on("data", (bytes) => {
        heard += bytes.toString();
      });
    });
    await publish("tcp://listener.demo:7002", listener.address);
    await cloud.break("half-close");
    const client = await dial("listener.demo", 7002);
    expect(await client.rest()).toBe("your turn");
    await client.write("my ");
    await client.write("turn");
    client.end();
    await until(
      "the service has heard it all",
      () => heard === "my turn" && listener.open.size === 0,
    );
    await cloud.mend("half-close");
  });
});

stories("the contents of connections", () => {
  beforeAll(begin);

  test("single bytes go to and fro without waiting for more", async () => {
    const client = await dial("echo.demo", 7000);
    for (const byte of "ping-pong".repeat(20)) {
      await client.write(byte);
      expect(await client.read(1)).toBe(byte);
    }
    client.end();
    await client.rest();
  });

  test("256 MiB down and 256 MiB up arrive with the same SHA-256", async () => {
    const size = 256 * 1024 * 1024;
    let received = "";
    const store = web({
      async fetch(request) {
        if (request.method === "GET")
          return new Response(blocks(size), {
            headers: { "content-type": "application/octet-stream" },
          });
        received = await sha256(request.body);
        return new Response("stored");
      },
    });
    await publish("http://store.demo", store.address);
    const expected = await sha256(blocks(size));

    const down = await run(["sh", "-c", "curl -sS http://store.demo/ | sha256sum"]);
    expect(down.out.split(" ")[0]).toBe(expected);
    const up = await run([
      "sh",
      "-c",
      "curl -sS http://store.demo/ | curl -sS -T - http://store.demo/",
    ]);
    expect({ out: up.out, err: up.err }).toEqual({ out: "stored", err: "" });
    expect(received).toBe(expected);
    const { bytes } = await settled("store.demo");
    expect(bytes.up).toBeGreaterThan(size);
    expect(bytes.down).toBeGreaterThan(2 * size);
  });

  test("both directions full at once do not block each other", async () => {
    const client = await dial("echo.demo", 7000);
    const block = new Uint8Array(256 * 1024).fill(7);
    const sent = createHash("sha256");
    const reply = client.rest();
    for (let i = 0; i < 64; i += 1) {
      sent.update(block);
      await client.write(block);
    }
    client.end();
    expect(
      createHash("sha256")
        .update(await reply, "latin1")
        .digest("hex"),
    ).toBe(sent.digest("hex"));
  });

  test("200 connections at once each get their own bytes back", async () => {
    const one = async (n: number): Promise<void> => {
      const client = await dial(address, 7000);
      const text = `connection ${n} `.repeat(200);
      await client.write(text);
      client.end();
      expect(await client.rest()).toBe(text);
    };
    const address = (await daemon.endpoint("echo.demo"))?.ip ?? "";
    const before = (await settled("echo.demo")).connections;
    await Promise.all(Array.from({ length: 200 }, (_, n) => one(n)));
    expect((await settled("echo.demo")).connections).toMatchObject({
      total: before.total + 200,
      errors: before.errors,
    });
    await until("every service connection is closed", () => echoes.open.size === 0);
  });
});

stories("faults from a client's view", () => {
  beforeAll(begin);

  test("a client that resets the connection frees the service, and the counters return", async () => {
    const before = (await settled("echo.demo")).connections;
    const client = await dial("echo.demo", 7000);
    await client.write("hello");
    await client.read(5);
    client.reset();
    await until("the service is let go", () => echoes.open.size === 0);
    const { connections } = await settled("echo.demo");
    expect(connections).toMatchObject({
      total: before.total + 1,
      errors: before.errors + 1,
      last_error: "",
    });
  });

  test("a reset by the far side reaches the client as a reset, not as an end", async () => {
    const rude = await upstream((socket) => socket.once("data", () => socket.resetAndDestroy()));
    await publish("tcp://rude.demo:7003", rude.address);
    const client = await dial("rude.demo", 7003);
    await client.write("hello");
    expect(await client.left).toBe("reset");
  });

  test("a WebSocket works in both directions", async () => {
    const chat = web({
      fetch: (request, server) =>
        server.upgrade(request) ? undefined : new Response("not a WebSocket", { status: 400 }),
      websocket: { message: (socket, message) => void socket.send(`heard: ${message}`) },
    });
    await publish("http://chat.demo:8090", chat.address);
    const socket = new WebSocket(`ws://${await resolve("chat.demo")}:8090/`);
    const heard: string[] = [];
    socket.onmessage = ({ data }) => heard.push(String(data));
    await until("the WebSocket is open", () => socket.readyState === WebSocket.OPEN);
    socket.send("one");
    socket.send("x".repeat(100_000));
    await until("both answers are there", () => heard.length === 2);
    expect(heard).toEqual(["heard: one", `heard: ${"x".repeat(100_000)}`]);
    socket.close();
    await settled("chat.demo");
  });

  test("a refusal of the ingress resets the client; list and log have code and advice", async () => {
    await cloud.break("refuse=ERR_NGROK_3200 The endpoint is offline.*1");
    const client = await dial("echo.demo", 7000);
    expect(await client.left).toBe("reset");
    const told =
      "ERR_NGROK_3200: The endpoint is offline. (the endpoint is offline: start its agent, or delete it in ngrok's dashboard)";
    expect((await settled("echo.demo")).connections.last_error).toBe(told);
    await until("the log says so", () => daemon.log().includes(told));
  });

  test("a service that is down is reported as such; a connection works once it is back", async () => {
    const id = await publish("tcp://flapping.demo:7004", "127.0.0.1:9");
    expect(await (await dial("flapping.demo", 7004)).left).toBe("reset");
    expect((await settled("flapping.demo")).connections.last_error).toContain("ERR_NGROK_8012");
    await cloud.change(id, { upstream: echoes.address });
    const client = await dial("flapping.demo", 7004);
    await client.write("back");
    client.end();
    expect(await client.rest()).toBe("back");
    expect((await settled("flapping.demo")).connections).toMatchObject({
      last_error: "",
      refused: 1,
      total: 2,
    });
  });

  test("a ready connection to the ingress that has died in the pool harms no client", async () => {
    await until("one waits to be used", async () => (await daemon.status()).pool.ready > 0);
    await cloud.break("header-close*1");
    const client = await dial("echo.demo", 7000);
    await client.write("fine");
    client.end();
    expect(await client.rest()).toBe("fine");
  });
});

stories("an ingress that breaks the rules", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    // Without ready connections, each fault meets its connection.
    ({ cloud, daemon } = await registered({
      config: { forward: { pool: { min: 0, max: 0 }, open_timeout: 9 } },
    }));
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await daemon.becomes("echo.demo", "listening");
  });

  test.each([
    ["tls-reset", /./],
    ["tls-stall", /^No answer from the ingress within \d+ s$/],
    ["header-close", /does not know this client certificate/],
    ["header-silence", /^No answer from the ingress within \d+ s$/],
    ["header-garbage", /sent an invalid answer/],
    ["header-cut", /in the middle of its answer/],
  ])(
    "%s: the client is reset, the reason is listed, and the next connection works",
    async (fault, reason) => {
      await cloud.mend();
      await cloud.break(fault);
      expect(await (await dial("echo.demo", 7000)).left).toBe("reset");
      const { connections } = await until("the failure is counted", async () => {
        const item = await daemon.endpoint("echo.demo");
        return item?.connections.active === 0 && item.connections.last_error !== "" && item;
      });
      expect(connections.last_error).toMatch(reason);
      await cloud.mend();
      const client = await dial("echo.demo", 7000);
      await client.write("fine");
      client.end();
      expect(await client.rest()).toBe("fine");
      await until(
        "all is forgiven",
        async () => (await daemon.endpoint("echo.demo"))?.connections.last_error === "",
      );
    },
  );
});

/** The same bytes at every call, each block different, never all in memory. */
function blocks(size: number): ReadableStream<Uint8Array> {
  const length = 1024 * 1024;
  const base = createHash("shake256", { outputLength: length }).update("ngrokd").digest();
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= size) return controller.close();
      const block = new Uint8Array(base);
      new DataView(block.buffer).setUint32(0, at);
      controller.enqueue(block);
      at += length;
    },
  });
}
