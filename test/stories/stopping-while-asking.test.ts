import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { registered } from "../support/cloud.ts";
import { askSocket } from "../support/ngrokd.ts";
import { foreignHosts, stories, until } from "../support/story.ts";

stories("stopping while ngrok does not answer", () => {
  test("a stop waits neither for a command that asks ngrok nor for the poll behind it", async () => {
    const { cloud, daemon } = await registered();
    await cloud.add("tcp://echo.demo:7000", "127.0.0.1:9");
    await daemon.becomes("echo.demo", "listening");
    await cloud.break("only=PATCH");
    await cloud.break("latency=20000");
    const asked = askSocket(daemon.socket, { command: "refresh-cert", args: ["--force"] }).catch(
      () => undefined,
    );
    let polling = 0;
    await until("a poll waits for its turn", async () => {
      polling = (await daemon.status()).next_poll === "" ? polling + 1 : 0;
      return polling === 10;
    });
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync("/etc/hosts", "latin1")).toBe(foreignHosts);
    // The command got no reply, since ngrok's was still to come.
    expect(await asked).toBeUndefined();
  });
});
