import { beforeAll, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import {
  askSocket,
  binary,
  defaultConfig,
  defaultSocket,
  ngrokd,
  type Ran,
  run,
  serve,
  start,
  writeConfig,
} from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

stories("command lines of the Go program", () => {
  let cloud: Cloud;

  beforeAll(async () => {
    cloud = await startCloud();
    writeConfig(configFor(cloud));
  });

  test.each([
    `--config=${defaultConfig}`,
    `--config ${defaultConfig}`,
    `-config ${defaultConfig} -v`,
    `run --config ${defaultConfig}`,
  ])("`ngrokd %s` serves, with one line of advice", async (words) => {
    const daemon = start("the daemon", [binary(), ...words.split(" ")]);
    await until("it answers", () => askSocket(defaultSocket, { command: "status" }));
    expect(await daemon.stop()).toBe(0);
    expect(daemon.log().split("\n")[0]).toContain("`ngrokd serve");
  });

  test("`-version` prints the version, and `-json` is `--json`", async () => {
    expect((await ngrokd("-version")).out).toBe((await ngrokd("--version")).out);
    expect((await ngrokd("version -json")).json.runtime).toBe("bun");
  });

  test.each(["start", "stop", "restart", "uninstall"])(
    "`ngrokd %s` is `ngrokd service %s`",
    async (word) => {
      const [short, long] = [await ngrokd(word), await ngrokd(`service ${word}`)];
      expect(short).toMatchObject({ code: long.code, out: long.out, err: long.err });
    },
  );

  test("`ngrokd install` is `ngrokd service install`", async () => {
    expect((await ngrokd("install --dry-run")).out).toContain("ExecStart=");
  });
});

stories("a configuration with which the Go program starts", () => {
  test("starts the daemon, with warnings; config check refuses it", async () => {
    const cloud = await startCloud();
    const odd = {
      bound_endpoints: { poll_interval: 0 },
      net: { subnet: "10.107.0.0", start_port: 0 },
      dns: { listen: ":53", upstream: ["dns.example"] },
    };
    writeConfig({ ...configFor(cloud), ...odd });
    const daemon = await serve();
    await until("it serves", async () => (await daemon.status()).phase === "serving");
    for (const key of [
      "bound_endpoints.poll_interval",
      "net.subnet",
      "net.start_port",
      "dns.listen",
    ])
      expect(daemon.log()).toContain(`${key} is `);
    expect(daemon.log()).toContain("30 is used instead");
    const { code, out } = await ngrokd("config check");
    expect(code).toBe(2);
    expect(out).toContain("bound_endpoints.poll_interval is 0");
    expect(await daemon.stop()).toBe(0);
  });
});

stories("the program called by the name ngrokctl", () => {
  let cloud: Cloud;
  const ngrokctl = async (words = ""): Promise<Ran> =>
    await run(["/run/ngrokctl", ...words.split(" ").filter((word) => word !== "")]);

  beforeAll(async () => {
    symlinkSync(binary(), "/run/ngrokctl");
    cloud = await startCloud();
  });

  test("asks on stdout whether a daemon runs, with exit code 1", async () => {
    for (const words of ["status", "list", "health", "set-api-key abc"]) {
      const { code, out, err } = await ngrokctl(words);
      expect({ words, code, err }).toEqual({ words, code: 1, err: "" });
      expect(out).toStartWith("Error: ");
      expect(out).toContain("Is ngrokd running?");
    }
  });

  test("has the labels and exit codes that scripts look for", async () => {
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud, { api: { key: "" } }));
    start("the daemon", [binary(), "--config", defaultConfig]);
    await until("it answers", () => askSocket(defaultSocket, { command: "status" }));
    expect((await ngrokctl("status")).out).toContain("  ⚠ Registered:        No (");
    expect(await ngrokctl("set-api-key wrong-key-of-nobody")).toMatchObject({ code: 1, err: "" });
    const saved = await ngrokctl(`set-api-key ${cloud.apiKey}`);
    expect({ code: saved.code, out: saved.out }).toMatchObject({
      code: 0,
      out: expect.stringContaining("✓ API key set successfully"),
    });
    const listed = await until("it lists the endpoint", async () => {
      const { out } = await ngrokctl("list");
      return out.includes("hello.demo") && out;
    });
    expect(listed).toMatch(/^ {2}http:\/\/hello\.demo +127\.\d+\.\d+\.\d+:80 +virtual +✓$/m);
    expect(listed).toContain("  Total: 1 endpoint(s)\n");
    const { out, code } = await ngrokctl("status");
    expect(code).toBe(0);
    expect(out).toContain("  ✓ Registered:        Yes\n");
    expect(out).toContain("  Endpoints:           1\n");
  });

  test("shows the health server's answer as JSON", async () => {
    const { code, out } = await ngrokctl("health");
    expect(code).toBe(0);
    expect(JSON.parse(out.slice(out.indexOf("{")))).toBeObject();
  });

  test("is ngrokd in all else, and explains itself without words", async () => {
    expect((await ngrokctl("list --json")).json).toBeArray();
    expect((await ngrokctl("version")).out).toContain("ngrokd ");
    expect(await ngrokctl()).toMatchObject({ code: 1, err: "" });
    expect((await ngrokctl("frobnicate")).code).toBe(2);
  });
});
