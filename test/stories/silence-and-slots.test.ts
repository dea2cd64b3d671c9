import { beforeAll, expect, test } from "bun:test";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { backTo, footprint, untilItRests } from "../support/footprint.ts";
import { type Daemon, serve, writeConfig } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { dial, echo, type Peer, type Upstream, upstream } from "../support/tcp.ts";

let cloud: Cloud;
let daemon: Daemon;
let echoes: Upstream;

/** Restarts the daemon with these settings and without ready connections. */
const restarted = async (forward: object): Promise<void> => {
  await daemon.stop();
  writeConfig(
    configFor(cloud, { forward: { drain_timeout: 0, pool: { min: 0, max: 0 }, ...forward } }),
  );
  daemon = await serve();
  await daemon.becomes("echo.demo", "listening");
};
/** A connection that has carried bytes; undefined if it is reset instead. */
const talking = async (name = "echo.demo"): Promise<Peer | undefined> => {
  try {
    const client = await dial(name, 7000);
    // The read reports a reset.
    client.write("x").catch(() => undefined);
    expect(await client.read(1)).toBe("x");
    return client;
  } catch (error) {
    if (/reset/i.test(String(error))) return undefined;
    throw error;
  }
};

const begin = async () => {
  ({ cloud, daemon } = await registered());
  echoes = await echo();
  await cloud.add("tcp://echo.demo:7000", echoes.address);
};

stories("connections on which nothing moves", () => {
  beforeAll(begin);

  test("forward.idle_timeout ends a silent connection, and keeps a slow one", async () => {
    // Many of the daemon's checks. If the machine pauses for some seconds, the
    // busy connection is not silent for long enough.
    await restarted({ idle_timeout: 10, open_timeout: 60 });
    // Before the first byte: the silence begins after it.
    const started = performance.now();
    const [silent, busy] = [await talking(), await talking()];
    if (silent === undefined || busy === undefined)
      throw new Error("a connection was reset at once");
    let said = 1;
    const timer = setInterval(() => {
      said += 1;
      busy.socket.write(".");
    }, 300);
    expect(await silent.left).toBe("reset");
    // Not before its time. A busy machine may well be late.
    expect(performance.now() - started).toBeGreaterThan(9700);
    // By now the busy one is older than the limit.
    const then = said;
    await until("the busy one has gone on for another limit", () => said >= then + 36);
    clearInterval(timer);
    busy.end();
    expect((await busy.rest()).length).toBe(said - 1);
    expect((await daemon.endpoint("echo.demo"))?.errors_by_kind).toMatchObject({
      timeout: 1,
      reset: 0,
    });
    expect(
      daemon
        .lines()
        .filter(({ message }) => message.includes("without traffic for 10 s was reset")),
    ).toHaveLength(1);
  });

  test("300 silent clients starve no other, cost no work, and are all reset", async () => {
    await restarted({ idle_timeout: 10, open_timeout: 60 });
    (await talking())?.end();
    await until("it is over", async () => (await daemon.status()).connections.active === 0);
    const before = footprint(daemon.pid);
    const { ip } = await daemon.becomes("echo.demo", "listening");
    const came = echoes.accepted();
    const silent = await Promise.all(Array.from({ length: 300 }, () => dial(ip, 7000)));
    // Counted as they arrive. On a slow machine the first ones time out before
    // the last one is through.
    await until("all of them are through to the service", () => echoes.accepted() === came + 300);
    for (let n = 0; n < 20; n += 1) {
      const client = await talking();
      expect(client).toBeDefined();
      client?.end();
    }
    await untilItRests(daemon.pid);
    expect(new Set(await Promise.all(silent.map(({ left }) => left)))).toEqual(new Set(["reset"]));
    await until("the service has none left", () => echoes.open.size === 0);
    await backTo(before, daemon);
  });
});

stories("places that are taken and given back", () => {
  beforeAll(begin);

  test("every way in which a connection can end gives its place back", async () => {
    await restarted({ max_connections_per_endpoint: 2, open_timeout: 10, idle_timeout: 10 });
    const service = await upstream((socket) => {
      socket.on("data", (bytes) =>
        bytes.includes("!") ? socket.resetAndDestroy() : socket.write(bytes),
      );
      socket.on("end", () => socket.end());
    });
    const id = await cloud.add("tcp://slots.demo:7000", service.address);
    await daemon.becomes("slots.demo", "listening");
    const fault = async (name: string): Promise<void> => {
      // For all, since the daemon itself dials after a trouble.
      await cloud.break(name);
      const both = await Promise.all([talking("slots.demo"), talking("slots.demo")]);
      expect({ name, both }).toEqual({ name, both: [undefined, undefined] });
    };
    const both = async (then: (client: Peer) => unknown): Promise<void> => {
      for (const client of [await talking("slots.demo"), await talking("slots.demo")]) {
        if (client === undefined) throw new Error("a place was not given back");
        await then(client);
      }
    };
    const endings: readonly [string, () => Promise<void>][] = [
      ["the client finishes", () => both((client) => client.end())],
      ["the client closes", () => both((client) => client.socket.destroy())],
      ["the client resets", () => both((client) => client.reset())],
      [
        "the service finishes",
        () => both(() => Promise.all([...service.open].map((socket) => socket.end()))),
      ],
      [
        "the service resets",
        () =>
          both(async (client) => {
            client.write("!").catch(() => undefined);
            expect(await client.left).toBe("reset");
          }),
      ],
      ["nothing moves", () => both((client) => client.left)],
      ["the ingress refuses", () => fault("refuse")],
      ["the ingress never speaks TLS", () => fault("tls-stall")],
      ["the ingress resets", () => fault("tls-reset")],
      ["the ingress closes in its answer", () => fault("header-cut")],
      ["the ingress resets the stream", () => fault("stream-reset")],
      [
        "the client leaves while it waits",
        async () => {
          const came = async () => (await daemon.endpoint("slots.demo"))?.connections.total ?? 0;
          const before = await came();
          await cloud.break("header-silence*2");
          const clients = [await dial("slots.demo", 7000), await dial("slots.demo", 7000)];
          await until("the daemon has both", async () => (await came()) === before + 2);
          for (const client of clients) client.reset();
        },
      ],
    ];
    for (const [name, end] of endings) {
      await end();
      await until(
        `both places are back after "${name}"`,
        async () => (await daemon.endpoint("slots.demo"))?.connections.active === 0,
      );
      await cloud.mend();
    }
    const [first, second, third] = [
      await talking("slots.demo"),
      await talking("slots.demo"),
      await talking("slots.demo"),
    ];
    expect({ first: first !== undefined, second: second !== undefined, third }).toEqual({
      first: true,
      second: true,
      third: undefined,
    });
    expect((await daemon.endpoint("slots.demo"))?.errors_by_kind).toMatchObject({ limit: 1 });
    await cloud.remove(id);
  });
});
