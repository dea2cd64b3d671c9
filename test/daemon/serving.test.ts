import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPlainGuard } from "../../src/access/guard.ts";
import { loadConfig } from "../../src/config/load.ts";
import { relayLimits } from "../../src/daemon/relay-settings.ts";
import { createServing } from "../../src/daemon/serving.ts";
import { createMachine } from "../../src/machine/machine.ts";
import { createRelay } from "../../src/relay/relay.ts";
import { subnet } from "../machine/support.ts";
import { net } from "../support/conns.ts";
import { accepted, fakeIngress } from "../support/fake-ingress.ts";
import { memoryLog } from "../support/memory-log.ts";
import { endpoint } from "./support.ts";

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

const shop = endpoint("ep_1", "tcp://shop.demo:18301");
const bank = endpoint("ep_2", "tcp://bank.demo:18301");
const rival = endpoint("ep_3", "tcp://shop.demo:18302");

describe("serving", () => {
  test("shows the lists of all accounts, whichever of them comes", async () => {
    const { serve, names } = await staged();
    await serve("home", [bank]);
    expect(names()).toEqual(["bank.demo"]);
    const { endpoints } = await serve("work", [shop]);
    expect(endpoints.map(({ url, state }) => `${url} ${state}`)).toEqual([
      "tcp://bank.demo:18301 listening",
      "tcp://shop.demo:18301 listening",
    ]);
    expect(names()).toEqual(["bank.demo", "shop.demo"]);
    await serve("home", []);
    expect(names()).toEqual(["shop.demo"]);
  });

  test("gives a name to the first account, and gives the other the reason", async () => {
    const { serve } = await staged();
    await serve("home", [rival]);
    const { endpoints } = await serve("work", [shop]);
    expect(endpoints.map(({ url, state, reason }) => ({ url, state, reason }))).toEqual([
      { url: "tcp://shop.demo:18301", state: "listening", reason: "" },
      {
        url: "tcp://shop.demo:18302",
        state: "unsupported",
        reason: 'the account "work" serves a host of this name',
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

  test("lets lists that come at the same time follow each other", async () => {
    const { serve, names } = await staged();
    await Promise.all([serve("work", [shop]), serve("home", [bank]), serve("work", [])]);
    expect(names()).toEqual(["bank.demo"]);
  });
});

/** Two accounts on a machine with its own hosts file. */
async function staged() {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-serving-"));
  endings.push(async () => rmSync(folder, { recursive: true }));
  const hostsPath = join(folder, "hosts");
  writeFileSync(hostsPath, "127.0.0.1 localhost\n");
  writeFileSync(join(folder, "config.yml"), "net: { subnet: 127.85.0.0/16 }\n");
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
  const range = subnet("127.85.0.0/16");
  const link = { ground: { kind: "loopback", range }, carry: async () => undefined } as const;
  const { serve } = createServing({
    accounts,
    loaded: () => loaded,
    relay,
    machine,
    link,
    names: { show: () => undefined, forget: () => undefined },
    fileLimit: () => 10_000,
    log,
  });
  return {
    hostsPath,
    serve,
    names: () =>
      [...readFileSync(hostsPath, "utf8").matchAll(/^127\.85\S+\t(\S+)$/gm)]
        .map(([, name]) => name ?? "")
        .sort(),
  };
}
