import { expect, test } from "bun:test";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { registered } from "../support/cloud.ts";
import { type Daemon, ngrokd, run, serve } from "../support/ngrokd.ts";
import { foreignHosts, freshMachine, stories, until } from "../support/story.ts";
import { resolve } from "../support/tcp.ts";
import { page } from "../support/web.ts";

const keptPath = "/etc/ngrokd/endpoints.json";
const get = async (host: string): Promise<string> =>
  (await run(["curl", "-sS", "--max-time", "60", `http://${host}/`])).out;

/** Its status after a failed poll. */
const failed = async (daemon: Daemon) =>
  until("the poll has failed", async () => {
    const status = await daemon.status();
    return status.last_poll?.ok === false && status;
  });

stories("a start while ngrok's API cannot be asked", () => {
  test.each(["kill -9", "a stop"])(
    "after %s, the last endpoints are served again until ngrok's next answer",
    async (how) => {
      freshMachine();
      const before = await registered();
      const { cloud } = before;
      const stays = await cloud.add("http://stays.demo", page("stays").address);
      const goes = await cloud.add("http://goes.demo", page("goes").address);
      await before.daemon.becomes("stays.demo", "listening");
      await before.daemon.becomes("goes.demo", "listening");
      const addresses = {
        stays: await resolve("stays.demo"),
        goes: await resolve("goes.demo"),
      };
      expect(statSync(keptPath).mode & 0o777).toBe(0o600);
      await before.daemon.stop(how === "kill -9" ? "SIGKILL" : "SIGTERM");

      await cloud.break("503");
      const daemon = await serve();
      await daemon.becomes("stays.demo", "listening");
      await daemon.becomes("goes.demo", "listening");
      expect({
        stays: await resolve("stays.demo"),
        goes: await resolve("goes.demo"),
      }).toEqual(addresses);
      expect({
        "stays.demo": await get("stays.demo"),
        "goes.demo": await get("goes.demo"),
      }).toEqual({ "stays.demo": "stays", "goes.demo": "goes" });
      const status = await failed(daemon);
      expect(status).toMatchObject({ registered: true, phase: "degraded", endpoint_count: 2 });
      expect(status.reason).toContain("503");
      const warning = "The endpoints are from before this start, since ngrok's API cannot be used";
      expect(status.warnings).toEqual([warning]);
      expect((await ngrokd("status")).out.replaceAll(/\s+/g, " ")).toContain(`warning: ${warning}`);
      expect((await ngrokd("health")).code).toBe(1);

      await cloud.remove(goes);
      await cloud.mend();
      // After many failures the next try is up to a minute away.
      await until("ngrok's answer counts", async () => (await daemon.list()).length === 1, {
        within: 100_000,
      });
      expect(await daemon.status()).toMatchObject({ phase: "serving", warnings: [] });
      expect({
        staysAnswers: await get("stays.demo"),
        goesAddress: await resolve("goes.demo"),
      }).toEqual({ staysAnswers: "stays", goesAddress: undefined });
      expect(readFileSync(keptPath, "utf8")).not.toContain("goes.demo");
      await cloud.remove(stays);
      expect(await daemon.stop()).toBe(0);
      expect(readFileSync("/etc/hosts", "latin1")).toBe(foreignHosts);
    },
  );

  test("a slow API delays no name that was there before", async () => {
    freshMachine();
    const before = await registered();
    const { cloud } = before;
    await cloud.add("http://early.demo", page("early").address);
    await before.daemon.becomes("early.demo", "listening");
    expect(await before.daemon.stop()).toBe(0);

    await cloud.break("latency=600000");
    const daemon = await serve();
    await daemon.becomes("early.demo", "listening");
    expect(await get("early.demo")).toBe("early");
    // ngrok has not answered yet, so it is not ready.
    expect(await daemon.status()).toMatchObject({ phase: "starting", last_poll: null });
    expect((await ngrokd("health")).code).toBe(1);
    await cloud.mend();
    expect(await daemon.stop()).toBe(0);
  });

  test("a damaged list, or another operator's, is ignored with a warning", async () => {
    freshMachine();
    const before = await registered();
    const { cloud } = before;
    await cloud.add("http://hello.demo", page("hello").address);
    await before.daemon.becomes("hello.demo", "listening");
    expect(await before.daemon.stop()).toBe(0);
    const good = readFileSync(keptPath, "utf8");

    await cloud.break("503");
    for (const [text, told] of [
      [good.slice(0, -9), true],
      [good.replace(/k8sop_\w+/, "k8sop_other"), false],
    ] as const) {
      writeFileSync(keptPath, text);
      const daemon = await serve();
      expect(await failed(daemon)).toMatchObject({
        registered: true,
        endpoint_count: 0,
        warnings: [],
      });
      expect(await resolve("hello.demo")).toBeUndefined();
      expect(await daemon.stop()).toBe(0);
      const lines = daemon
        .lines()
        .filter(
          ({ level, message }) =>
            level === "warn" && message.includes(`Cannot understand "${keptPath}"`),
        );
      expect(lines.length).toBe(told ? 1 : 0);
    }

    await cloud.mend();
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect(readFileSync(keptPath, "utf8")).toBe(good);
    expect(await daemon.stop()).toBe(0);
  });
});
