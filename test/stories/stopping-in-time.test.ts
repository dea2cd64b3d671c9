import { beforeAll, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { type Daemon, defaultSocket, run, serve, writeConfig } from "../support/ngrokd.ts";
import { carries, echoes, talking } from "../support/round-trip.ts";
import { foreignHosts, stories, until } from "../support/story.ts";
import { echo } from "../support/tcp.ts";

stories("stopping, and the time that it takes", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  const nothingIsLeft = async (): Promise<void> => {
    expect({
      hosts: readFileSync("/etc/hosts", "latin1"),
      socketExists: existsSync(defaultSocket),
    }).toEqual({ hosts: foreignHosts, socketExists: false });
    expect((await run(["ss", "-Hltn", "src", "127.0.0.2"])).out).toBe("");
  };

  beforeAll(async () => {
    ({ cloud, daemon } = await registered());
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await daemon.becomes("echo.demo", "listening");
  });

  test("under load: new clients are refused, open connections finish, exit code 0", async () => {
    const [{ ip = "" } = {}] = await daemon.list();
    const word = "x".repeat(20_000);
    const peers = await Promise.all(Array.from({ length: 40 }, () => talking("echo.demo", 7000)));
    let stopping = false;
    const work = peers.map(async (peer) => {
      let after = 0;
      while (after < 5) {
        if (!(await echoes(peer, word))) throw new Error("another word came back");
        if (stopping) after += 1;
      }
      peer.end();
      return await peer.rest();
    });
    daemon.kill("SIGTERM");
    await until("newcomers are refused", async () => !(await carries(ip, 7000)));
    stopping = true;
    expect(new Set(await Promise.all(work))).toEqual(new Set([""]));
    // A second signal would cut the daemon's remaining connections.
    expect(await daemon.exited).toBe(0);
    await nothingIsLeft();
  });

  test("a connection that does not end is cut after forward.drain_timeout; exit code 3", async () => {
    writeConfig(configFor(cloud, { forward: { drain_timeout: 1 } }));
    daemon = await serve();
    await daemon.becomes("echo.demo", "listening");
    const stuck = await talking("echo.demo", 7000);
    const began = performance.now();
    expect(await daemon.stop()).toBe(3);
    // Not before its time. A busy machine may well be late.
    expect(performance.now() - began).toBeGreaterThan(900);
    expect(await stuck.left).toBe("reset");
    await nothingIsLeft();
  });
});
