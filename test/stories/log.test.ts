import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { configFor, startCloud } from "../support/cloud.ts";
import { binary, defaultSocket, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, freshMachine, stories, until } from "../support/story.ts";
import { onTerminal } from "../support/terminal.ts";

stories("the log", () => {
  test("is one JSON object a line without a terminal, and never holds the key", async () => {
    const cloud = await startCloud();
    writeConfig(configFor(cloud));
    const daemon = await serve({ args: "--debug" });
    await until("it has registered", async () => (await daemon.status()).registered);
    await ngrokd("set-api-key -", { stdin: cloud.apiKey });
    await daemon.stop();
    const lines = daemon.log().trimEnd().split("\n");
    expect(lines.length).toBeGreaterThan(3);
    for (const line of lines)
      expect(JSON.parse(line)).toMatchObject({
        time: expect.any(String),
        level: expect.any(String),
        message: expect.any(String),
      });
    expect(lines.join()).not.toContain(cloud.apiKey);
  });

  test("is text with `server.log_format: text`, and silent about polls without change", async () => {
    freshMachine();
    const cloud = await startCloud();
    writeConfig(configFor(cloud, { server: { log_format: "text" } }));
    const daemon = await serve();
    await until("it serves", async () => (await daemon.status()).phase === "serving");
    for (let i = 0; i < 5; i += 1) await daemon.refresh();
    await daemon.stop();
    const [operator] = await cloud.operators();
    expect(daemon.log().replaceAll(/^\d\d:\d\d:\d\d /gm, "")).toBe(
      [
        "info  ngrokd is up; control socket /var/run/ngrokd.sock",
        `info  Registered with ngrok as the operator ${operator?.id}`,
        "info  Stopping",
        "info  Stopped",
        "",
      ].join("\n"),
    );
  });

  test("whose reader has gone is lost, and the daemon goes on", async () => {
    freshMachine();
    const cloud = await startCloud();
    writeConfig(configFor(cloud));
    const pipeline = `{ ${binary()} serve 2>&1 >/dev/null; echo $? >/run/tmp/code; } | head -n 1 >/run/tmp/head`;
    // A variable of the test runner's own would be the first line.
    const env = { PATH: "/usr/bin:/bin" };
    const child = Bun.spawn(["sh", "-c", pipeline], { cwd: "/", env });
    // Whatever fails below, no later story finds this daemon.
    atEnd(async () => {
      if (child.exitCode !== null) return;
      const { json } = await ngrokd("status --json");
      if (typeof json?.pid === "number") process.kill(json.pid, "SIGKILL");
    });
    await until("the first line is read", () =>
      readFileSync("/run/tmp/head", "utf8").includes("ngrokd is up"),
    );
    const { pid } = await until("it serves", async () => {
      const { json } = await ngrokd("status --json");
      return json.phase === "serving" && json;
    });
    for (let i = 0; i < 3; i += 1)
      expect((await ngrokd("set-api-key -", { stdin: cloud.apiKey })).code).toBe(0);
    process.kill(pid, "SIGTERM");
    await child.exited;
    expect(readFileSync("/run/tmp/code", "utf8")).toBe("0\n");
  });

  test("whose reader is stuck is kept up to a limit, and tells of the rest", async () => {
    freshMachine();
    const cloud = await startCloud();
    writeConfig(configFor(cloud, { server: { log_level: "debug" } }));
    const env = { PATH: "/usr/bin:/bin" };
    const reader = "{ head -n 1; cat; } >/run/tmp/log";
    const child = Bun.spawn(["sh", "-c", `{ ${binary()} serve 2>&1 >/dev/null; } | ${reader}`], {
      cwd: "/",
      env,
    });
    const { pid } = await until("it serves", async () => {
      const { json } = await ngrokd("status --json");
      return json.phase === "serving" && json;
    });
    atEnd(() => child.exitCode ?? process.kill(pid, "SIGKILL"));
    const listed = (): number[] => childrenOf(child.pid).filter((one) => one !== pid);
    let readers: number[];
    do {
      readers = listed();
      // One may end, or start the next reader, before it is stopped.
      if (readers.length > 0) await run(["kill", "-STOP", ...readers.map(String)]);
    } while (!Bun.deepEquals(readers, listed()));
    const rss = (): number =>
      Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    const connected = (): Promise<Socket | undefined> =>
      new Promise((settle) => {
        const socket = connect(defaultSocket);
        socket.on("error", () => undefined);
        socket.once("connect", () => settle(socket)).once("close", () => settle(undefined));
      });
    const left = async (): Promise<void> => {
      // The daemon's queue may be full, so a connection may be refused.
      const socket = await until("there is room for a client", connected);
      socket.write("{");
      socket.destroy();
    };
    for (let i = 0; i < 6000; i += 50) await Promise.all(Array.from({ length: 50 }, left));
    expect((await ngrokd("status --json")).json.phase).toBe("serving");
    expect(rss()).toBeLessThan(400_000);
    for (const one of readers) process.kill(one, "SIGCONT");
    await until("the reader learns of it", () =>
      /\d+ lines of this log were lost/.test(readFileSync("/run/tmp/log", "utf8")),
    );
    process.kill(pid, "SIGTERM");
    await child.exited;
    expect(readFileSync("/run/tmp/log", "utf8")).toContain("Stopped");
  });

  test("is coloured text on a terminal, and Ctrl-C ends the daemon", async () => {
    const { text, code } = await onTerminal([binary(), "serve"], {
      type: ["ngrokd is up", "\u0003"],
    });
    expect(code).toBe(0);
    expect(text).toContain("\u001b[");
    expect(text).toContain("Stopped");
  });
});

/** The processes below this one, in all generations. */
function childrenOf(pid: number): number[] {
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        return [{ pid: Number(name), parent: Number(stat.split(") ")[1]?.split(" ")[1]) }];
      } catch {
        return [];
      }
    });
  const children = parents.filter(({ parent }) => parent === pid).map((one) => one.pid);
  return [...children, ...children.flatMap(childrenOf)];
}
