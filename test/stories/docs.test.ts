import { afterEach, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { faultTable } from "../../src/local-cloud/faults.ts";
import { type Cloud, configFor, registered, startCloud } from "../support/cloud.ts";
import { type Daemon, missedDeadline, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { layOverUsrBin, netcat, plainSystemctl } from "../support/stand-ins.ts";
import { endAll, stories, until } from "../support/story.ts";
import { echo } from "../support/tcp.ts";
import { userOf } from "../support/user.ts";
import { page } from "../support/web.ts";

const docs = join(import.meta.dirname, "../../docs");
const textOf = (file: string): string => readFileSync(join(docs, file), "utf8");

/** Commands with it need a daemon that has this profile. */
const ofProfile = "--profile work";

/** The commands of a page: its blocks marked `sh`, in order. */
const blocksOf = (file: string): string[] =>
  [...textOf(file).matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);

/**
 * Runs commands as the page shows them, up to the first failure. Root's own
 * folder is /run/docs here.
 */
const shell = (script: string) =>
  run(["sh", "-euc", script.replaceAll("/root/", "/run/docs/")], { cwd: "/run/docs" });

async function works(block: string): Promise<void> {
  let { code, out, err } = await shell(block);
  // On a busy machine a step of doctor or why may miss its deadline.
  for (let tries = 1; tries < 5 && missedDeadline(out); tries += 1)
    ({ code, out, err } = await shell(block));
  expect({ block, code, out, err }).toMatchObject({ code: 0 });
}

/**
 * Waits for the first poll of a daemon that a block has started. A reader needs
 * longer to reach the next block.
 */
async function settled(): Promise<void> {
  await until("the daemon serves, if one runs", async () => {
    const { code, out } = await ngrokd("status --json");
    return code === 4 || JSON.parse(out).phase === "serving";
  });
}

/** The endpoints of the pages' examples. */
async function serveSamples(cloud: Cloud, daemon: Daemon): Promise<void> {
  await cloud.add("http://hello.demo", page("hello").address);
  await cloud.add("tcp://echo.demo:7000", (await echo()).address);
  await daemon.becomes("echo.demo", "listening");
  await daemon.becomes("hello.demo", "listening");
}

stories("the commands in docs/", () => {
  beforeAll(() => {
    mkdirSync("/run/docs", { recursive: true });
  });
  // A failed test must not leave its daemon to the next one.
  afterEach(endAll);

  test.each(["usage.md", "api.md", "troubleshooting.md"])(
    "%s: all work, in order, beside a daemon with the endpoints of the page",
    async (file) => {
      if (Bun.which("nc") === null) layOverUsrBin({ nc: netcat });
      const { cloud, daemon } = await registered();
      await serveSamples(cloud, daemon);
      writeFileSync("/run/docs/api-key", `${cloud.apiKey}\n`);
      const blocks = blocksOf(file).filter((block) => !block.includes(ofProfile));
      expect(blocks.length).toBeGreaterThan(0);
      for (const block of blocks) await works(block);
      expect(await daemon.stop()).toBe(0);
      await cloud.stop();
    },
  );

  test("usage.md: those of a profile work beside a daemon that has it", async () => {
    const blocks = blocksOf("usage.md").filter((block) => block.includes(ofProfile));
    expect(blocks).toHaveLength(1);
    const cloud = await startCloud();
    const config = configFor(cloud);
    writeConfig({ ...config, profiles: { work: { api: { url: cloud.apiUrl } } } });
    writeFileSync("/run/docs/api-key", `${cloud.apiKey}\n`);
    const daemon = await serve();
    await until("the daemon serves", async () => (await cloud.operators()).length === 1);
    for (const block of blocks) await works(block);
    expect((await cloud.operators()).length).toBe(2);
    expect(await daemon.stop()).toBe(0);
    await cloud.stop();
  });

  test("operations.md: all work, in order, with a systemd that runs ngrokd alone", async () => {
    layOverUsrBin({
      sudo: 'exec "$@"\n',
      systemctl: plainSystemctl,
      journalctl: "echo a line of the log\n",
    });
    for (const folder of ["/etc/systemd/system", "/run/systemd/system"])
      mkdirSync(folder, { recursive: true });
    const cloud = await startCloud();
    writeConfig(configFor(cloud));
    for (const block of blocksOf("operations.md")) {
      await works(block);
      await settled();
    }
    // The restored backup runs now: the same machine to ngrok.
    const { registration, operator_id } = (await ngrokd("status --json")).json;
    expect({ registration, operators: (await cloud.operators()).map(({ id }) => id) }).toEqual({
      registration: "registered",
      operators: [operator_id],
    });
    expect((await ngrokd("service uninstall")).code).toBe(0);
  });

  test("without-root.md: all work, in order, for an ordinary user", async () => {
    const cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    const user = userOf(cloud);
    // The three seconds of the page may be too short on a busy machine.
    const whenOpen = (port: number): string =>
      `until ss -Hltn "sport = :${port}" | grep -q .; do sleep 0.1; done`;
    const script = blocksOf("without-root.md")
      .join("\n")
      .replace("sleep 3", whenOpen(8080))
      .replace("sleep 3", whenOpen(3128));
    const { code, out, err } = await user.run(["sh", "-euc", script]);
    expect({ code, out, err }).toMatchObject({ code: 0 });
    expect(out.match(/hello/g)?.length).toBeGreaterThan(4);
    expect(out).toContain("FindProxyForURL");
  });

  test("usage.md explains every metric, and no page names one that there is not", async () => {
    const { cloud, daemon } = await registered();
    await serveSamples(cloud, daemon);
    expect((await run(["curl", "-sS", "http://hello.demo/"])).code).toBe(0);
    const text = (await run(["curl", "-sS", "http://127.0.0.1:8081/metrics"])).out;
    const metrics = [...text.matchAll(/^# TYPE (ngrokd_\w+)/gm)].map(([, name = ""]) => name);
    expect(metrics.length).toBeGreaterThan(15);
    expect(
      metrics.filter((name) => !textOf("usage.md").includes(`${name.replace("ngrokd", "")}`)),
    ).toEqual([]);
    const named = [
      ...(textOf("usage.md") + textOf("operations.md")).matchAll(/\bngrokd_[a-z_]+/g),
    ].map(([name]) => name);
    // Some metrics are there only with their setting, such as those of DNS.
    const known = readFileSync("src/desk/metrics.ts", "utf8");
    expect(named.filter((name) => !metrics.includes(name) && !known.includes(name))).toEqual([]);
    expect(await daemon.stop()).toBe(0);
  });

  test("local-cloud.md: all of them work, in their order", async () => {
    const blocks = blocksOf("local-cloud.md");
    const { code, out, err } = await shell(`trap 'kill $!' EXIT\n${blocks.join("\n")}`);
    expect({ code, out, err }).toMatchObject({ code: 0 });
    expect(out).toContain("db.demo");
  });

  test("local-cloud.md lists every fault", () => {
    const page = textOf("local-cloud.md");
    const missing = Object.keys(faultTable).filter(
      (name) => name !== "status" && !page.includes(`| \`${name}`),
    );
    expect(missing).toEqual([]);
  });
});
