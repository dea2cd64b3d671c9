import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { type Cloud, registered } from "../support/cloud.ts";
import type { Daemon } from "../support/ngrokd.ts";
import { rootCa } from "../support/pki.ts";
import { carries, echoes, talking } from "../support/round-trip.ts";
import { freshMachine, stories, until } from "../support/story.ts";
import { dial, echo, type Peer, type Upstream } from "../support/tcp.ts";

const file = "/run/story/ca.pem";

/** Replaces the file at once, since a poll could read half of it. */
function replace(text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

stories("a file of trusted CAs that changes while the daemon runs", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  let service: Upstream;
  let open: Peer;

  beforeAll(async () => {
    freshMachine();
    mkdirSync("/run/story", { recursive: true });
    replace((await rootCa("Before")).cert);
    ({ cloud, daemon } = await registered({ config: { server: { ingress_ca: file } } }));
    service = await echo();
    await cloud.add("tcp://echo.demo:7000", service.address);
    await daemon.becomes("echo.demo", "listening");
  });

  test("a CA that is added is believed from the next poll on", async () => {
    expect(await carries("echo.demo", 7000)).toBe(false);
    replace(readFileSync(cloud.caFile, "utf8"));
    await daemon.refresh();
    open = await talking("echo.demo", 7000);
  });

  test("a broken file changes nothing; the error is logged once and stays in status", async () => {
    const warned = async () =>
      (await daemon.status()).warnings.filter((text) => text.includes(file));
    const told = () =>
      daemon
        .lines()
        .filter(({ message }) => message.startsWith("Keeping the trusted CAs as they were: "));
    replace("-----BEGIN CERTIFICATE-----\nhalf a file");
    await daemon.refresh();
    await daemon.refresh();
    await until("the log tells of it", () => told().length > 0);
    expect(told()).toEqual([
      expect.objectContaining({ level: "warn", message: expect.stringContaining(file) }),
    ]);
    expect(await warned()).toEqual([
      expect.stringContaining("Keeping the trusted CAs as they were: "),
    ]);
    expect({
      openEchoes: await echoes(open, "still"),
      newCarries: await carries("echo.demo", 7000),
    }).toEqual({ openEchoes: true, newCarries: true });
    replace(readFileSync(cloud.caFile, "utf8"));
    await daemon.refresh();
    expect({ told: told().length, warned: await warned() }).toEqual({ told: 1, warned: [] });
  });

  test("a removed CA is no longer trusted: no byte reaches the service; open ones go on", async () => {
    replace((await rootCa("Another")).cert);
    await daemon.refresh();
    const accepted = service.accepted();
    const client = await dial("echo.demo", 7000);
    void client.write("secret").catch(() => undefined);
    expect(await client.left).toBe("reset");
    const item = await until("the failure is counted", async () => {
      const found = await daemon.endpoint("echo.demo");
      return found?.connections.last_error !== "" && found;
    });
    expect(item.connections.last_error).toContain("the certificate shown is of");
    expect(service.accepted()).toBe(accepted);
    expect(await echoes(open, "still")).toBe(true);
    replace(readFileSync(cloud.caFile, "utf8"));
    await daemon.refresh();
    expect(await carries("echo.demo", 7000)).toBe(true);
  });
});
