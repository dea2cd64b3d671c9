import { expect, test } from "bun:test";
import { appendFileSync, writeFileSync } from "node:fs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { httpsFront } from "../support/https-front.ts";
import { ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { freshMachine, stories, until } from "../support/story.ts";
import { dial, echo } from "../support/tcp.ts";

stories("a daemon that is up before its network", () => {
  const cloudWithEcho = async (): Promise<Cloud> => {
    freshMachine();
    const cloud = await startCloud();
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    return cloud;
  };
  const carries = async (): Promise<void> => {
    const client = await dial("echo.demo", 7000);
    await client.write("there and back");
    client.end();
    expect(await client.rest()).toBe("there and back");
  };

  test("without DNS it runs and says which name is missing; it recovers by itself", async () => {
    const cloud = await cloudWithEcho();
    const [apiHost, apiCa] = ["api.story", "/run/api-ca.crt"];
    const apiPort = await httpsFront(cloud.apiUrl, apiHost, apiCa);
    const ingressPort = cloud.ingress.split(":")[1];
    // A machine without DNS, even for itself. The stand-in's certificate is for
    // localhost, too.
    writeFileSync("/etc/hosts", "");
    writeConfig(
      configFor(cloud, {
        api: { url: `https://${apiHost}:${apiPort}` },
        ingressEndpoint: `localhost:${ingressPort}`,
      }),
    );
    const daemon = await serve({ env: { NODE_EXTRA_CA_CERTS: apiCa } });
    const { reason } = await until("the poll has failed", async () => {
      const now = await daemon.status();
      return now.phase === "degraded" && now;
    });
    expect(reason).toContain(apiHost);
    appendFileSync("/etc/hosts", `127.0.0.1 ${apiHost}\n`);
    await daemon.becomes("echo.demo", "listening");

    expect(await (await dial("echo.demo", 7000)).left).toBe("reset");
    expect((await daemon.endpoint("echo.demo"))?.connections.last_error).toContain(
      'Cannot look up "localhost"',
    );
    appendFileSync("/etc/hosts", "127.0.0.1 localhost\n");
    // By itself. A new connection could share the answer of an earlier lookup.
    await until(
      "it has a connection to the ingress ready",
      async () => (await daemon.status()).pool.ready > 0,
    );
    await carries();
    expect(await daemon.stop()).toBe(0);
    await cloud.stop();
  });

  test("with its interface down it runs; it serves once the interface is up", async () => {
    const cloud = await cloudWithEcho();
    writeConfig(configFor(cloud));
    await link("down");
    try {
      const daemon = await serve();
      const { code, out } = await ngrokd("status");
      expect({ code, out }).toEqual({ code: 0, out: expect.stringContaining("Endpoints") });
      expect((await daemon.status()).registered).toBe(false);
      await link("up");
      await daemon.becomes("echo.demo", "listening");
      await carries();
      expect(await daemon.stop()).toBe(0);
    } finally {
      await link("up");
    }
  });
});

/** The loopback interface of the stories' own machine, its only one. */
async function link(state: "up" | "down"): Promise<void> {
  expect((await run(["ip", "link", "set", "lo", state])).code).toBe(0);
}
