import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPlainGuard } from "../../src/access/guard.ts";
import { loadConfig } from "../../src/config/load.ts";
import { relayLimits } from "../../src/daemon/relay-settings.ts";
import { createServing } from "../../src/daemon/serving.ts";
import { createMachine } from "../../src/machine/machine.ts";
import { createNames } from "../../src/names/names.ts";
import type { Answer, Ask } from "../../src/names/question.ts";
import { createRelay } from "../../src/relay/relay.ts";
import { host, subnet } from "../machine/support.ts";
import { net } from "../support/conns.ts";
import { accepted, fakeIngress } from "../support/fake-ingress.ts";
import { memoryLog } from "../support/memory-log.ts";
import { until } from "../support/story.ts";
import { endpoint } from "./support.ts";

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

const shop = endpoint("ep_1", "tcp://shop.demo:18311");
const bank = endpoint("ep_2", "tcp://bank.demo:18311");
const rival = endpoint("ep_3", "tcp://shop.demo:18312");

describe("serving", () => {
  test("shows the lists of all accounts, whichever of them comes", async () => {
    const { serve, names } = await staged();
    await serve("home", [bank]);
    expect(names()).toEqual(["bank.demo"]);
    const { endpoints } = await serve("work", [shop]);
    expect(endpoints.map(({ url, state }) => `${url} ${state}`)).toEqual([
      "tcp://bank.demo:18311 listening",
      "tcp://shop.demo:18311 listening",
    ]);
    expect(names()).toEqual(["bank.demo", "shop.demo"]);
    await serve("home", []);
    expect(names()).toEqual(["shop.demo"]);
  });

  test("takes back the names of an account that is gone, and hands on those of both", async () => {
    const { serve, names } = await staged();
    await serve("work", [shop, bank]);
    await serve("home", [rival]);
    const { endpoints } = await serve("work", undefined);
    expect(endpoints.map(({ account, url, state }) => [account, url, state])).toEqual([
      ["home", "tcp://shop.demo:18312", "listening"],
    ]);
    expect(names()).toEqual(["shop.demo"]);
  });

  test("gives a name to the first account, and gives the other the reason", async () => {
    const { serve } = await staged();
    await serve("home", [rival]);
    const { endpoints } = await serve("work", [shop]);
    expect(endpoints.map(({ url, state, reason }) => ({ url, state, reason }))).toEqual([
      { url: "tcp://shop.demo:18311", state: "listening", reason: "" },
      {
        url: "tcp://shop.demo:18312",
        state: "unsupported",
        reason: "the profile work comes first, and serves this name",
      },
    ]);
  });

  test("returns the same result for the same lists, until a file has changed", async () => {
    const { serve, hostsPath, names } = await staged();
    const lists = { work: [shop], home: [bank] };
    await serve("work", lists.work);
    const first = await serve("home", lists.home);
    expect(await serve("home", lists.home)).toBe(first);
    writeFileSync(hostsPath, "127.0.0.1 localhost\n");
    expect(await serve("work", lists.work)).not.toBe(first);
    expect(names()).toEqual(["bank.demo", "shop.demo"]);
  });

  test("warns of a port that a program wants since then, and no longer than that", async () => {
    const { serve, wanted } = await staged();
    const lists = [shop];
    const warnings = async () => (await serve("work", lists)).endpoints.map((one) => one.warning);
    expect(await warnings()).toEqual([""]);
    wanted.set(18311, "/etc/ssh/sshd_config");
    expect(await warnings()).toEqual([expect.stringContaining("/etc/ssh/sshd_config")]);
    wanted.clear();
    expect(await warnings()).toEqual([""]);
  });

  test("lets lists that come at the same time follow each other", async () => {
    const { serve, names } = await staged();
    await Promise.all([serve("work", [shop]), serve("home", [bank]), serve("work", [])]);
    expect(names()).toEqual(["bank.demo"]);
  });
});

describe("serving, for names that mean something else", () => {
  const used: Ask = async (name) =>
    name === "shop.demo" ? { kind: "addresses", addresses: ["192.0.2.80"] } : { kind: "none" };

  test("refuses them, and serves the others in the same pass", async () => {
    const { serve, names } = await staged({ ask: used });
    const { endpoints } = await serve("work", [shop, bank]);
    expect(names()).toEqual(["bank.demo"]);
    expect(endpoints.map(({ url, state, reason }) => ({ url, state, reason }))).toEqual([
      { url: "tcp://bank.demo:18311", state: "listening", reason: "" },
      {
        url: "tcp://shop.demo:18311",
        state: "refused",
        reason:
          '"shop.demo" leads to 192.0.2.80 without ngrokd; names.allow: [shop.demo] in the configuration allows it',
      },
    ]);
  });

  test("serves the other names before the answer to a slow question is here", async () => {
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const slow: Ask = (name) =>
      name === "shop.demo" ? promise : Promise.resolve({ kind: "none" });
    const { serve, names } = await staged({ ask: slow });
    const passed = serve("work", [shop, bank]);
    await until("bank.demo is served", () => names().includes("bank.demo"));
    expect(names()).toEqual(["bank.demo"]);
    resolve({ kind: "none" });
    await passed;
    expect(names()).toEqual(["bank.demo", "shop.demo"]);
  });

  test("opens a name below a wildcard before the answer to a slow question is here", async () => {
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const slow: Ask = (name) =>
      name === "shop.demo" ? promise : Promise.resolve({ kind: "none" });
    const { serve, open } = await staged({ ask: slow, config: "dns: { enabled: true }\n" });
    const team = endpoint("ep_4", "https://*.team.demo:18313");
    await serve("work", [team]);
    let passed = false;
    const pass = serve("work", [team, shop]).then(() => {
      passed = true;
    });
    await Bun.sleep(1);
    expect(await open(host("a.team.demo"))).toEqual(["127.85.0.1"]);
    expect(passed).toBe(false);
    resolve({ kind: "none" });
    await pass;
  });

  test("pauses a name, and serves it again at its address", async () => {
    const { serve, names, known } = await staged();
    const lists = [shop, bank];
    const before = await serve("work", lists);
    await known.pause("shop.demo", true);
    const paused = await serve("work", lists);
    expect(names()).toEqual(["bank.demo"]);
    expect(paused.endpoints.map(({ state, reason }) => `${state} ${reason}`)).toEqual([
      "listening ",
      "paused it is paused; `ngrokd resume shop.demo` serves it again",
    ]);
    await known.pause("shop.demo", false);
    const after = await serve("work", lists);
    expect(after.endpoints.map(({ ip }) => ip)).toEqual(before.endpoints.map(({ ip }) => ip));
  });

  test("serves no wildcard of a whole public domain, and no setting allows it", async () => {
    const { serve } = await staged({
      config: 'dns: { enabled: true }\nnames: { allow: ["*.co.uk", "*.github.io"] }\n',
    });
    const urls = [
      "https://*.co.uk:18311",
      "https://*.github.io:18311",
      "https://*.team.demo:18311",
    ];
    const { endpoints } = await serve(
      "work",
      urls.map((url) => endpoint(url, url)),
    );
    expect(endpoints.map(({ url, state, reason }) => `${url} ${state} ${reason}`)).toEqual([
      'https://*.co.uk:18311 unsupported "*.co.uk" would take over a whole public domain',
      "https://*.github.io:18311 wildcard ",
      "https://*.team.demo:18311 wildcard ",
    ]);
  });

  test("writes aliases into the hosts file, with the address of their host", async () => {
    const { serve, hostsPath } = await staged({
      config: "names: { alias: { shop.demo: [shop, localhost] } }\n",
    });
    const { endpoints } = await serve("work", [shop, bank]);
    expect(readFileSync(hostsPath, "utf8")).toContain("127.85.0.2\tshop\n127.85.0.2\tshop.demo\n");
    expect(endpoints.map(({ url, warning }) => `${url} ${warning}`)).toEqual([
      "tcp://bank.demo:18311 ",
      'tcp://shop.demo:18311 its alias "localhost" is left out: "localhost" always means the local machine or network',
    ]);
    await serve("work", [bank]);
    expect(readFileSync(hostsPath, "utf8")).not.toContain("shop");
  });
});

/** Two accounts on a machine with its own hosts file. */
async function staged({
  config = "",
  ask = async () => ({ kind: "silent" }),
}: {
  config?: string;
  ask?: Ask;
} = {}) {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-serving-"));
  endings.push(async () => rmSync(folder, { recursive: true }));
  const hostsPath = join(folder, "hosts");
  writeFileSync(hostsPath, "127.0.0.1 localhost\n");
  writeFileSync(join(folder, "config.yml"), `net: { subnet: 127.85.0.0/16 }\n${config}`);
  const read = await loadConfig({ file: join(folder, "config.yml"), env: {} });
  const loaded = { ...read, hostsPath };
  const log = memoryLog();
  const accounts = ["work", "home"];
  const relay = createRelay({
    net,
    log,
    accounts,
    limits: relayLimits(loaded.config),
    room: () => Number.POSITIVE_INFINITY,
    memory: Number.POSITIVE_INFINITY,
    guard: createPlainGuard(net),
  });
  endings.push(() => relay.drain(AbortSignal.abort()));
  const ingress = await fakeIngress((conn) => conn.write(accepted()));
  endings.push(async () => await ingress[Symbol.asyncDispose]());
  for (const account of accounts) relay.credentials(account, ingress.settings);
  const machine = createMachine({
    hostsPath,
    stateFolder: join(folder, "state"),
    socketPath: join(folder, "ngrokd.sock"),
    owners: { isAlive: async () => false },
    log,
  });
  await machine.prepare();
  const known = createNames({
    stateFolder: join(folder, "state"),
    assignment: () => machine.assignment,
    ask,
    conf: () => ({ servers: ["192.0.2.1"], search: [] }),
    log,
    changed: () => undefined,
  });
  await known.load();
  const wanted = new Map<number, string>();
  const range = subnet("127.85.0.0/16");
  const link = { ground: { kind: "loopback", range }, carry: async () => undefined } as const;
  const { serve, open } = createServing({
    accounts: () => accounts,
    loaded: () => loaded,
    relay,
    machine,
    link,
    names: { show: () => undefined, forget: () => undefined },
    meanings: known,
    fileLimit: () => 10_000,
    wanted: async () => wanted,
    log,
  });
  return {
    hostsPath,
    known,
    wanted,
    serve,
    open,
    names: () =>
      [...readFileSync(hostsPath, "utf8").matchAll(/^127\.85\S+\t(\S+)$/gm)]
        .map(([, name]) => name ?? "")
        .sort(),
  };
}
