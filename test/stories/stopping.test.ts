import { expect, test } from "bun:test";
import { type Cloud, registered } from "../support/cloud.ts";
import { type Daemon, ngrokd, serve } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { dial, echo, type Peer, resolve } from "../support/tcp.ts";

stories("stopping with open connections", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  /** A connection that has carried bytes and stays open. */
  const talk = async (): Promise<Peer> => {
    const client = await dial("echo.demo", 7000);
    await client.write("hello");
    expect(await client.read(5)).toBe("hello");
    return client;
  };

  /**
   * Whether the port is closed. A listener would see a connection without
   * bytes.
   */
  const isClosed = async (ip: string, port: number): Promise<boolean> => {
    const client = await dial(ip, port).catch(() => undefined);
    client?.reset();
    return client === undefined;
  };

  test("names and ports go at once, open connections finish, and the exit code is 0", async () => {
    ({ cloud, daemon } = await registered());
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    const { ip } = await daemon.becomes("echo.demo", "listening");
    const client = await talk();
    daemon.kill("SIGTERM");
    await until("the name is gone", async () => (await resolve("echo.demo")) === undefined);
    // The name goes before the listener, so for a moment the address still
    // accepts.
    await until("the port is closed", () => isClosed(ip, 7000));
    expect((await daemon.status()).phase).toBe("stopping");
    expect((await ngrokd("health")).out).toContain("no: the daemon is stopping");
    await client.write(" and goodbye");
    client.end();
    expect(await client.rest()).toBe(" and goodbye");
    // A second signal would cut the daemon's remaining connections.
    expect(await daemon.exited).toBe(0);
    expect(daemon.log()).toContain("1 open connection");
  });

  test("a second signal cuts the open connections, and the exit code is 3", async () => {
    daemon = await serve();
    await daemon.becomes("echo.demo", "listening");
    const client = await talk();
    daemon.kill("SIGINT");
    await until("it is stopping", async () => (await daemon.status()).phase === "stopping");
    expect(await daemon.stop("SIGINT")).toBe(3);
    expect(await client.left).toBe("reset");
    expect(await resolve("echo.demo")).toBeUndefined();
  });
});
