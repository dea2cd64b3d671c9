import { beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { type Daemon, run, writeConfig } from "../support/ngrokd.ts";
import { carries, echoes, talking } from "../support/round-trip.ts";
import { foreignHosts, stories, until } from "../support/story.ts";
import { echo, type Peer, resolve } from "../support/tcp.ts";

/**
 * An hour between polls: a repair within seconds is not due to the next poll.
 */
const unhurried = { bound_endpoints: { poll_interval: 3600 } };

/**
 * Seconds: two thirds of it pass while the machine sleeps. Then a renewal is
 * due.
 */
const certificateLife = 15;

stories("a machine that sleeps, and moves to another network", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  let open: Peer;
  let service: string;
  const told = (text: string): number =>
    daemon.lines().filter(({ message }) => message.startsWith(text)).length;

  beforeAll(async () => {
    ({ cloud, daemon } = await registered({
      cloud: { args: `--cert-lifetime ${certificateLife}` },
      config: unhurried,
    }));
    service = (await echo()).address;
    await cloud.add("tcp://echo.demo:7000", service);
    await daemon.refresh();
    await daemon.becomes("echo.demo", "listening");
    open = await talking("echo.demo", 7000);
  });

  test("after a sleep it polls, renews, dials again and checks names; open ones go on", async () => {
    const before = await daemon.status();
    await cloud.certificateLife(86_400);
    // Right after one of the daemon's checks. If it were frozen during one,
    // that time would not count as sleep.
    writeConfig(configFor(cloud, { ...unhurried, forward: { open_timeout: 11 } }));
    await until("it has just looked", () => told("Reloaded the configuration") === 1);
    daemon.kill("SIGSTOP");
    await cloud.add("tcp://meanwhile.demo:7000", service);
    writeFileSync("/etc/hosts", foreignHosts);
    const due = Date.parse(before.certificate?.not_after ?? "") - (certificateLife * 1000) / 3;
    // Longer than a busy machine explains: a check every 3.5 s may be 5 s late.
    await Bun.sleep(Math.max(10_000, due - Date.now()));
    daemon.kill("SIGCONT");
    await daemon.becomes("meanwhile.demo", "listening");
    await until(
      "the sleep is told of",
      () => told("The machine slept, or its clock was set") === 1,
    );
    await until("its name is back", async () => await resolve("echo.demo"));
    await until(
      "the certificate is another one",
      async () =>
        (await daemon.status()).certificate?.fingerprint !== before.certificate?.fingerprint,
    );
    await until(
      "connections are replaced",
      async () => (await daemon.status()).pool.dials > before.pool.dials,
    );
    expect({
      openEchoes: await echoes(open, "still"),
      newCarries: await carries("echo.demo", 7000),
    }).toEqual({ openEchoes: true, newCarries: true });
    expect((await daemon.status()).phase).toBe("serving");
  });

  test.each([
    ["comes", "add"],
    ["goes", "del"],
  ])(
    "a default route that %s: it polls at once and dials again; open ones go on",
    async (_what, change) => {
      const { pool } = await daemon.status();
      const before = told("The network has changed");
      expect(await run(["ip", "route", change, "default", "dev", "lo"])).toMatchObject({ code: 0 });
      await until("the change is logged", () => told("The network has changed") > before);
      const since = String(
        daemon.lines().findLast(({ message }) => message.startsWith("The network has changed"))
          ?.time,
      );
      // A poll that an earlier event requested may have ended just now.
      await until(
        "it has polled",
        async () => ((await daemon.status()).last_poll?.time ?? "") >= since,
      );
      expect(told("The network has changed")).toBe(before + 1);
      await until(
        "connections are replaced",
        async () => (await daemon.status()).pool.dials > pool.dials,
      );
      expect({
        openEchoes: await echoes(open, "still"),
        newCarries: await carries("echo.demo", 7000),
      }).toEqual({ openEchoes: true, newCarries: true });
    },
  );
});
