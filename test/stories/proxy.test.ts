import { beforeAll, expect, test } from "bun:test";
import { type StartedProxy, startProxy } from "../contract/peers/proxy.mjs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { httpsFront } from "../support/https-front.ts";
import { type Daemon, ngrokd, type ServeOptions, serve, writeConfig } from "../support/ngrokd.ts";
import { freshMachine, stories, until } from "../support/story.ts";
import { dial, echo } from "../support/tcp.ts";

/**
 * Only the proxies know the API's name. No program listens at the address of
 * the ingress.
 */
const apiHost = "api.story";
const ingressEndpoint = "localhost:4443";
const apiCa = "/run/api-ca.crt";
const login = "alice:s3cret@word";

stories("a machine whose only way out is a proxy", () => {
  let cloud: Cloud;
  let api: number;
  let names: Record<string, string>;

  beforeAll(async () => {
    cloud = await startCloud();
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    // The API by https, under the name that only proxies know.
    api = await httpsFront(cloud.apiUrl, apiHost, apiCa);
    names = { [`${apiHost}:443`]: `127.0.0.1:${api}`, [ingressEndpoint]: cloud.ingress };
  });

  const proxy = async (kind: "http" | "socks5"): Promise<StartedProxy> =>
    await startProxy({ kind, names, login });

  /** A daemon on a fresh machine, with a poll a second. */
  const begin = async (
    forward: object,
    env: ServeOptions["env"] = {},
    more: object = {},
    deno = false,
  ): Promise<Daemon> => {
    freshMachine();
    writeConfig(
      configFor(cloud, { api: { url: `https://${apiHost}` }, ingressEndpoint, forward, ...more }),
    );
    return await serve({ deno, env: { NODE_EXTRA_CA_CERTS: apiCa, ...env } });
  };

  const carries = async (daemon: Daemon): Promise<void> => {
    await daemon.becomes("echo.demo", "listening");
    const client = await dial("echo.demo", 7000);
    await client.write("there and back");
    client.end();
    expect(await client.rest()).toBe("there and back");
  };

  /**
   * Its status after a failed poll. Before that, the reason is that no poll has
   * finished.
   */
  const failed = (daemon: Daemon) =>
    until("the poll has failed", async () => {
      const status = await daemon.status();
      return status.phase === "degraded" && status;
    });

  test.each(["http", "socks5"] as const)(
    "registers and carries through a %s proxy, and never shows its password",
    async (kind) => {
      const { port, asked } = await proxy(kind);
      const daemon = await begin({ proxy_url: `${kind}://alice:s3cret%40word@127.0.0.1:${port}` });
      await carries(daemon);
      expect(new Set(asked.map(({ target, login }) => `${target} ${login}`))).toEqual(
        new Set([`${apiHost}:443 ${login}`, `${ingressEndpoint} ${login}`]),
      );
      const shown = `${kind}://[redacted]@127.0.0.1:${port}`;
      expect((await daemon.status()).proxy).toEqual({ api: shown, ingress: shown });
      const told = await Promise.all(
        ["status", "config show", "config show --json"].map(
          async (words) => (await ngrokd(words)).out,
        ),
      );
      for (const text of told) expect(text).toContain(shown);
      expect([...told, daemon.log()].filter((text) => /s3cret/.test(text))).toEqual([]);
      expect(await daemon.stop()).toBe(0);
    },
  );

  test.each(["http", "socks5"] as const)("does so under Deno through a %s proxy", async (kind) => {
    const { port, asked } = await proxy(kind);
    const daemon = await begin(
      { proxy_url: `${kind}://alice:s3cret%40word@127.0.0.1:${port}` },
      {},
      {},
      true,
    );
    await carries(daemon);
    expect(new Set(asked.map(({ target }) => target))).toEqual(
      new Set([`${apiHost}:443`, ingressEndpoint]),
    );
    expect(await daemon.stop()).toBe(0);
  });

  test("uses the environment's proxy for the API, but not for names in NO_PROXY", async () => {
    const { port, asked } = await proxy("http");
    const env = {
      https_proxy: `http://alice:s3cret%40word@127.0.0.1:${port}`,
      NO_PROXY: "elsewhere.test, 127.0.0.0/8",
    };
    const daemon = await begin({}, env, { ingressEndpoint: cloud.ingress });
    await carries(daemon);
    expect(new Set(asked.map(({ target }) => target))).toEqual(new Set([`${apiHost}:443`]));
    expect((await ngrokd("status")).out).toMatch(
      /^Proxy: +http:\/\/\[redacted\]@127\.0\.0\.1:\d+, for the API only$/m,
    );
    expect(await daemon.stop()).toBe(0);

    const exempted = await begin({}, { ...env, NO_PROXY: `.story` });
    const status = await failed(exempted);
    expect(status.reason).toContain(`cannot reach "https://${apiHost}"`);
    expect(status.proxy.api).toBe("");
    expect(await exempted.stop()).toBe(0);
  });

  test("reports the proxy's fault, goes on trying, and tries a key through it", async () => {
    const { port } = await proxy("http");
    const daemon = await begin({ proxy_url: `http://alice:wrong-one@127.0.0.1:${port}` });
    const status = await failed(daemon);
    expect(status.reason).toContain("it answered 407");
    expect(status.hint).toContain("are the user name and the password in the proxy's URL right?");
    const key = await ngrokd("set-api-key -", { stdin: cloud.apiKey });
    expect({ code: key.code, err: key.err }).toEqual({
      code: 1,
      err: expect.stringContaining("407"),
    });
    expect(`${key.err}${daemon.log()}`).not.toContain("wrong-one");
    expect(await daemon.stop()).toBe(0);
  });

  test("tries and saves a key through it without a daemon", async () => {
    freshMachine();
    const { port, asked } = await proxy("socks5");
    writeConfig({
      api: { url: `https://${apiHost}` },
      forward: { proxy_url: `socks5://alice:s3cret%40word@127.0.0.1:${port}` },
    });
    const { code, err } = await ngrokd("set-api-key -", {
      stdin: cloud.apiKey,
      env: { NODE_EXTRA_CA_CERTS: apiCa },
    });
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(asked.map(({ target }) => target)).toEqual([`${apiHost}:443`]);
  });
});
