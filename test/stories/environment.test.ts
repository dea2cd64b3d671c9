import { beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { type Daemon, examine, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

const preload = "/run/preload.js";

stories("a daemon whose environment speaks to the runtime", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  const output = (): string => daemon.out() + daemon.log();

  beforeAll(async () => {
    cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    // The ingress's CA is named by SSL_CERT_FILE alone.
    writeConfig(configFor(cloud, { server: { ingress_ca: "" } }));
    writeFileSync(preload, 'require("node:fs").appendFileSync("/run/preloaded", "x");\n');
    daemon = await serve({
      env: {
        BUN_OPTIONS: `--preload ${preload}`,
        BUN_INSPECT: "127.0.0.1:9229/debugger",
        BUN_CONFIG_VERBOSE_FETCH: "curl",
        SSL_CERT_FILE: cloud.caFile,
        LD_LIBRARY_PATH: "/run/nothing-here",
      },
    });
    await daemon.becomes("hello.demo", "listening");
  });

  test("runs in a process that has none of these variables", () => {
    const names = readFileSync(`/proc/${daemon.pid}/environ`, "utf8")
      .split("\0")
      .map((entry) => entry.split("=")[0] ?? "");
    expect(names.filter((name) => /^(BUN_|SSL_)/.test(name))).toEqual([]);
    expect(names).toContain("PATH");
    expect(readFileSync("/run/preloaded", "utf8")).toBe("x");
  });

  test("opens no debugger", async () => {
    expect((await run(["ss", "-Hltn", "sport", "=", "9229"])).out).toBe("");
  });

  test("prints no request, and so no key", async () => {
    await until("it has polled", () => cloud.log() !== undefined && output().includes("hello"));
    expect(output()).not.toContain(cloud.apiKey);
    expect(output()).not.toContain("Bearer");
  });

  test("trusts no ingress because SSL_CERT_FILE names its CA", async () => {
    expect((await run(["curl", "-sS", "--max-time", "10", "http://hello.demo/"])).code).not.toBe(0);
    const { connections } = (await daemon.endpoint("hello.demo")) ?? {};
    expect(connections?.last_error).toContain("not trusted");
  });

  test("says in its log which variables do not count, and shows no value", () => {
    const line = daemon
      .lines()
      .find(({ message }) => message.startsWith("These variables of the environment"));
    expect(line?.level).toBe("warn");
    for (const name of ["BUN_OPTIONS", "BUN_INSPECT", "BUN_CONFIG_VERBOSE_FETCH", "SSL_CERT_FILE"])
      expect(line?.message).toContain(name);
    expect(output()).not.toContain("9229/debugger");
  });

  test("doctor names them, and the variables that still count", async () => {
    const { findings } = (await examine("doctor --json")).json;
    const texts = findings
      .filter(({ check }: { check: string }) => check === "environment")
      .map(({ level, text }: { level: string; text: string }) => `${level}: ${text}`);
    expect(texts).toEqual([
      "warning: the daemon was started with BUN_CONFIG_VERBOSE_FETCH, BUN_INSPECT, BUN_OPTIONS, SSL_CERT_FILE, without effect",
      "warning: LD_LIBRARY_PATH of the daemon's environment counts: it changes which code runs",
    ]);
    expect(await daemon.stop()).toBe(0);
  });
});

stories("a command whose environment speaks to the runtime", () => {
  test("keeps its words, output and exit code", async () => {
    const env = { BUN_INSPECT: "127.0.0.1:9229/x", BUN_OPTIONS: "--smol" };
    expect(await ngrokd("config path --config /etc/x.yml", { env })).toMatchObject({
      code: 0,
      out: "/etc/x.yml\n",
      err: "",
    });
    expect((await ngrokd("nothing", { env })).code).toBe(2);
  });
});
