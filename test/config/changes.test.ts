import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterReload, changesBetween } from "../../src/config/changes.ts";
import { type Loaded, loadConfig } from "../../src/config/load.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { ownFolder } from "./support.ts";

const folder = ownFolder();
const of = async (config: object, env: Record<string, string> = {}): Promise<Loaded> => {
  const file = join(folder, "config.yml");
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return await loadConfig({ file, env });
};

describe("the changes between two configurations", () => {
  test("are none if the values are the same, whatever their origin", async () => {
    const before = await of({});
    expect(
      changesBetween(
        before,
        await of({ server: { log_level: "info" }, bound_endpoints: { selectors: ["true"] } }),
      ),
    ).toEqual([]);
    expect(
      changesBetween(
        await of({ api: { key: "a-key-of-somebody" } }),
        await of({}, { NGROK_API_KEY: "a-key-of-somebody" }),
      ),
    ).toEqual([]);
  });

  test("say when each setting counts, in the order of the documentation", async () => {
    const after = await of({
      net: { start_port: 1000 },
      bound_endpoints: { selectors: ["false"], poll_interval: 5 },
      server: { socket_path: "/run/else.sock" },
    });
    expect(changesBetween(await of({}), after)).toEqual([
      {
        key: "server.socket_path",
        counts: "restart",
        from: "/var/run/ngrokd.sock",
        to: "/run/else.sock",
      },
      { key: "bound_endpoints.poll_interval", counts: "now", from: 30, to: 5 },
      { key: "bound_endpoints.selectors", counts: "now", from: ["true"], to: ["false"] },
      { key: "net.start_port", counts: "now", from: 9080, to: 1000 },
    ]);
  });

  test("do not show secrets", async () => {
    const before = await of({ forward: { proxy_url: "http://user:secret-one@proxy:1" } });
    const after = await of({
      api: { key: "a-secret-key-of-some-length" },
      forward: { proxy_url: "http://user:secret-two@proxy:1" },
    });
    const text = JSON.stringify(changesBetween(before, after));
    expect(text).not.toContain("secret");
    expect(text).toContain("ends in …ngth");
    expect(text).toContain("forward.proxy_url");
  });

  test("include the default ingress if it is newly written in the file", async () => {
    const { ingressEndpoint } = defaultConfig;
    expect(
      changesBetween(await of({}), await of({ ingressEndpoint })).map(({ key }) => key),
    ).toEqual(["ingressEndpoint"]);
    expect(changesBetween(await of({ ingressEndpoint }), await of({ ingressEndpoint }))).toEqual(
      [],
    );
  });

  test("are taken over, apart from those that need a restart", async () => {
    const before = await of({ server: { client_cert: "/a/tls.crt" } });
    const after = await of({ server: { client_cert: "/b/tls.crt", log_level: "debug" } });
    const reloaded = afterReload(before, after);
    expect(reloaded.config.server).toMatchObject({ client_cert: "/a/tls.crt", log_level: "debug" });
    expect(reloaded.origins["server.log_level"]).toBe("file");
    // A change that is reverted needs no restart. One that stays is reported
    // again.
    expect(changesBetween(reloaded, before).map(({ key }) => key)).toEqual(["server.log_level"]);
    expect(changesBetween(reloaded, after).map(({ key }) => key)).toEqual(["server.client_cert"]);
  });
});
