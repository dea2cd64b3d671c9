import { expect, test } from "bun:test";
import { readFileSync, statSync } from "node:fs";
import { configFor, startCloud } from "../support/cloud.ts";
import { defaultConfig, ngrokd, serve, writeConfig } from "../support/ngrokd.ts";
import { freshMachine, stories, until } from "../support/story.ts";

stories("`ngrokd set-api-key --offline`", () => {
  test("keeps a key that cannot be checked now, and the daemon tries it later", async () => {
    const cloud = await startCloud();
    const nowhere = { ...configFor(cloud), api: { url: "http://127.0.0.1:1", key: "" } };
    writeConfig(nowhere);
    const online = await ngrokd("set-api-key -", { stdin: cloud.apiKey });
    expect(online.code).toBe(1);
    expect(online.err).toContain("The key could not be checked, and nothing was changed");
    expect(online.err).toContain(
      "to save the key without a check: `sudo ngrokd set-api-key --offline`",
    );
    const kept = await ngrokd("set-api-key --offline -", { stdin: `${cloud.apiKey}\n` });
    expect(kept).toMatchObject({ code: 0, err: "" });
    expect(kept.out).toBe(
      `The key is saved in ${defaultConfig}. It was not checked: the daemon tries it at its start.\n`,
    );
    expect((statSync(defaultConfig).mode & 0o777).toString(8)).toBe("600");
    const text = readFileSync(defaultConfig, "utf8");
    expect(text).toContain(cloud.apiKey);
    writeConfig({ ...configFor(cloud), api: { url: cloud.apiUrl, key: cloud.apiKey } });
    const daemon = await serve();
    await until("it is registered", async () => (await daemon.status()).registered);
    await daemon.stop();
    await cloud.stop();
  });

  test("beside a daemon: it uses the key at once, when ngrok answers again", async () => {
    freshMachine();
    const cloud = await startCloud();
    writeConfig(configFor(cloud, { api: { key: "" } }));
    const daemon = await serve();
    await cloud.break("503");
    const { code, json } = await ngrokd("set-api-key --offline --json -", { stdin: cloud.apiKey });
    expect({ code, saved: json.saved, checked: json.checked }).toEqual({
      code: 0,
      saved: true,
      checked: false,
    });
    await until("it has tried", async () => (await daemon.status()).reason.includes("503"));
    await cloud.mend();
    await until("it is registered", async () => (await daemon.status()).registered);
  });

  test("a key that the environment of the daemon overrides is said to be so", async () => {
    freshMachine();
    const cloud = await startCloud();
    writeConfig(configFor(cloud, { api: { key: "" } }));
    const daemon = await serve({ env: { NGROK_API_KEY: cloud.apiKey } });
    await until("it is registered", async () => (await daemon.status()).registered);
    const { out } = await ngrokd("set-api-key --offline -", { stdin: "another-key" });
    expect(out).toBe(
      `The key is saved in ${defaultConfig}. It was not checked: the daemon has it already, ` +
        "or keeps that of NGROK_API_KEY in its environment.\n",
    );
    expect(await daemon.stop()).toBe(0);
    await cloud.stop();
  });

  test("a wrong key is said by the daemon, and a text that is none at once", async () => {
    freshMachine();
    const cloud = await startCloud();
    writeConfig(configFor(cloud, { api: { key: "" } }));
    const daemon = await serve();
    expect((await ngrokd("set-api-key --offline -", { stdin: "two words" })).code).toBe(2);
    expect((await ngrokd("set-api-key --offline -", { stdin: "key-of-nobody" })).code).toBe(0);
    await until(
      "the daemon says so",
      async () => (await daemon.status()).registration === "failed",
    );
    const both = await ngrokd("set-api-key --offline --switch-account -", {
      stdin: "key-of-nobody",
    });
    expect(both.code).toBe(2);
  });
});
