import { beforeAll, expect, test } from "bun:test";
import { appendFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { configFor, startCloud } from "../support/cloud.ts";
import { httpsFront } from "../support/https-front.ts";
import { binary, type Daemon, run, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";

/** The link between this network, with ngrok's API, and the daemon's own. */
const [apiName, apiIp, apiCa] = ["api.story", "10.9.0.2", "/run/api-ca.crt"];
const [before, after] = ["10.9.0.1/24", "10.9.0.3/24"];

stories("a machine whose address changes while it keeps a connection with ngrok's API", () => {
  let daemon: Daemon;
  let config: (level: string) => object;
  const told = (text: string): number =>
    daemon.lines().filter(({ message }) => message.startsWith(text)).length;

  beforeAll(async () => {
    await ip("netns add moving");
    atEnd(() => ip("netns del moving"));
    await ip("link add near type veth peer name eth0 netns moving");
    atEnd(() => ip("link del near"));
    await ip(`addr add ${apiIp}/24 dev near`);
    await ip("link set near up");
    await ip("-n moving link set lo up");
    await ip(`-n moving addr add ${before} dev eth0`);
    await ip("-n moving link set eth0 up");
    const cloud = await startCloud();
    appendFileSync("/etc/hosts", `\n${apiIp} ${apiName}\n`);
    const url = `https://${apiName}:${await relay(await httpsFront(cloud.apiUrl, apiName, apiCa))}`;
    // An hour between polls, so any request after the change is due to it.
    config = (level) =>
      configFor(cloud, {
        api: { url },
        server: { log_level: level },
        bound_endpoints: { poll_interval: 3600 },
      });
    writeConfig(config("info"));
    daemon = await serve({
      inside: ["ip", "netns", "exec", "moving", binary()],
      env: { NODE_EXTRA_CA_CERTS: apiCa },
    });
    await until("the daemon serves", async () => (await daemon.status()).phase === "serving");
  });

  test("ngrok is asked at once over a new connection, without a word of trouble", async () => {
    // The daemon checks the network before the configuration. So from here on
    // it notices any change of the network.
    writeConfig(config("debug"));
    await until("the daemon has looked around", () => told("Reloaded the configuration") > 0);
    // In one call, or a look in between sees two changes.
    writeFileSync("/run/story.move", `addr del ${before} dev eth0\naddr add ${after} dev eth0\n`);
    await ip("-n moving -batch /run/story.move");
    await until("the change is logged", () => told("The network has changed") === 1);
    const since = String(
      daemon.lines().find(({ message }) => message.startsWith("The network has changed"))?.time,
    );
    // Over the old connection the poll would take the API's deadline of 30 s,
    // and fail.
    const poll = await until(
      "it has polled",
      async () => {
        const { last_poll } = await daemon.status();
        return (last_poll?.time ?? "") >= since && last_poll;
      },
      { within: 15_000 },
    );
    expect({ ok: poll?.ok, phase: (await daemon.status()).phase }).toEqual({
      ok: true,
      phase: "serving",
    });
  });
});

async function ip(words: string): Promise<void> {
  expect(await run(["ip", ...words.split(" ")])).toMatchObject({ code: 0 });
}

/**
 * Forwards from the daemon's network to a port of loopback. Returns its own
 * port.
 */
async function relay(port: number): Promise<number> {
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    near.pipe(far).pipe(near);
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
  });
  await new Promise<void>((listening) => server.listen(0, apiIp, listening));
  atEnd(() => server.close());
  return (server.address() as { port: number }).port;
}
