import { expect, test } from "bun:test";
import { registered } from "../support/cloud.ts";
import { ngrokd } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { dial, echo } from "../support/tcp.ts";

stories("an ingress whose answers never arrive, as behind a firewall that drops them", () => {
  test("is in status and log, with a likely cause, until it can be reached again", async () => {
    // No ready connections. So only clients reveal the state of the ingress,
    // and here none connects after the outage.
    const forward = { open_timeout: 1, pool: { min: 0, max: 0 } };
    const { cloud, daemon } = await registered({
      config: { forward, bound_endpoints: { poll_interval: 3600 } },
    });
    const told = (text: string): number =>
      daemon.lines().filter(({ message }) => message.startsWith(text)).length;
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await daemon.refresh();
    await daemon.becomes("echo.demo", "listening");
    await cloud.break("tls-stall");
    expect(await (await dial("echo.demo", 7000)).left).toBe("reset");
    const said = `New connections fail: Cannot connect to "${cloud.ingress}": no answer in time`;
    const { warnings, pool } = await daemon.status();
    expect(warnings).toEqual([expect.stringContaining(said)]);
    expect((await ngrokd("status")).out.replaceAll(/\s+/g, " ")).toContain(
      "does a firewall block this host and port?",
    );
    await cloud.mend();
    await daemon.refresh();
    await until("the log says so", () => told(said) === 1);
    await until("the status is clean", async () => (await daemon.status()).warnings.length === 0);
    await daemon.refresh();
    await until("the log says so", () => told("The ingress can be reached again") === 1);
    expect((await daemon.status()).pool).toMatchObject({ ready: 0, misses: pool.misses });
  });
});
