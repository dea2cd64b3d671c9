import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Account, createAccount, type EndedPass } from "../../src/account/account.ts";
import type { Fetch } from "../../src/cloud/exchange.ts";
import { loadConfig } from "../../src/config/load.ts";
import { type LocalCloud, startLocalCloud } from "../../src/local-cloud/cloud.ts";
import type { Registration } from "../../src/model/state.ts";
import { net } from "../support/conns.ts";
import { memoryLog } from "../support/memory-log.ts";

let folder: string;
const closings: (() => Promise<void>)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ngrokd-account-"));
});
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

interface Staged {
  readonly account: Account;
  readonly start: () => Promise<void>;
  readonly cloud: LocalCloud;
  readonly folder: string;
  readonly log: ReturnType<typeof memoryLog>;
  /** The URLs of each served list. */
  readonly served: string[][];
  readonly passes: EndedPass[];
  readonly registrations: Registration["kind"][];
  /** The number of times that another identity came into use. */
  readonly identities: () => number;
}

/** Ends only by the signal of its request. */
const silentFetch: Fetch = (_url, { signal }) =>
  new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));

interface Stage {
  readonly key?: string;
  /** The folder of an earlier account. */
  readonly earlier?: string;
  /** ngrok's API accepts requests, but never replies. */
  readonly isSilent?: boolean;
}

/** An account of this name with its own local cloud and folder. */
async function staged(
  name: string,
  { key, earlier, isSilent = false }: Stage = {},
): Promise<Staged> {
  const any = { host: "127.0.0.1", port: 0 };
  const cloud = await startLocalCloud({
    net,
    api: any,
    ingress: any,
    endpoints: [{ url: `http://${name}.demo`, upstream: "127.0.0.1:1" }],
  });
  closings.push(cloud.close);
  const own = earlier ?? join(folder, name);
  mkdirSync(own, { recursive: true });
  const config = {
    api: { url: cloud.apiUrl, key: key ?? cloud.apiKey },
    server: { client_cert: join(own, "tls.crt"), client_key: join(own, "tls.key") },
  };
  writeFileSync(join(own, "config.yml"), JSON.stringify(config), { mode: 0o600 });
  const loaded = await loadConfig({ file: join(own, "config.yml"), env: {} });
  const log = memoryLog();
  const served: string[][] = [];
  const passes: EndedPass[] = [];
  const registrations: Registration["kind"][] = [];
  let identities = 0;
  const account = createAccount({
    name,
    stateFolder: own,
    loaded: () => loaded,
    fetch: () => (isSilent ? silentFetch : globalThis.fetch),
    log,
    keepSecret: () => undefined,
    serving: () => [],
    async serve(listed) {
      served.push(listed.map(({ url }) => url));
      return { endpoints: [], problems: [] };
    },
    published: ({ kind }) => void registrations.push(kind),
    changed: () => {
      identities += 1;
    },
  });
  closings.push(account.stop);
  const start = (): Promise<void> =>
    account.start({
      before: async () => undefined,
      after: async (pass) => void passes.push(pass),
    });
  return {
    account,
    start,
    cloud,
    folder: own,
    log,
    served,
    passes,
    registrations,
    identities: () => identities,
  };
}

describe("an account", () => {
  test("registers, serves ngrok's list, and saves it", async () => {
    const { account, start, folder, served, passes, registrations, identities } =
      await staged("one");
    const pass = account.pass();
    await start();
    expect(await pass).toBe("ok");
    expect(served[0]).toEqual(["http://one.demo"]);
    expect(registrations).toEqual(["registering", "registered"]);
    expect(identities()).toBe(1);
    expect(passes[0]).toMatchObject({ result: { kind: "ok" }, isStopping: false });
    expect(readFileSync(join(folder, "endpoints.json"), "utf8")).toContain("one.demo");
    expect(account.schedule.failures).toBe(0);
    expect(account.live()).toEqual({ ok: true, reason: "" });
  });

  test("waits for a key, and polls when it gets one", async () => {
    const { account, start, cloud, served, registrations } = await staged("one", { key: "" });
    await start();
    expect(await account.pass()).toBe("idle");
    expect(registrations.at(-1)).toBe("waiting-for-key");
    expect(account.schedule.next).toBeUndefined();
    await account.identity.setApiKey(cloud.apiKey, { switchAccount: false });
    expect(await account.pass()).toBe("ok");
    expect(served).toEqual([["http://one.demo"]]);
  });

  test("serves its last list at once, although ngrok never replies", async () => {
    const before = await staged("one");
    await before.start();
    await before.account.pass();
    await before.account.stop();
    const silent = await staged("one", { earlier: before.folder, isSilent: true });
    await silent.start();
    expect(silent.served).toEqual([["http://one.demo"]]);
    expect(silent.passes.map(({ result }) => result.kind)).toEqual(["resumed"]);
  });

  test("serves no last list of another operator", async () => {
    const before = await staged("one");
    await before.start();
    await before.account.pass();
    await before.account.stop();
    const path = join(before.folder, "endpoints.json");
    writeFileSync(path, readFileSync(path, "utf8").replace(/k8sop_\w+/, "k8sop_other"));
    const silent = await staged("one", { earlier: before.folder, isSilent: true });
    await silent.start();
    expect(silent.served).toEqual([]);
  });

  test("starts with a warning if its last list cannot be read", async () => {
    const { account, start, folder, log } = await staged("one");
    writeFileSync(join(folder, "endpoints.json"), "nonsense");
    await start();
    expect(await account.pass()).toBe("ok");
    expect(log.lines).toContainEqual(expect.stringContaining("warn Cannot understand"));
    expect(readFileSync(join(folder, "endpoints.json"), "utf8")).toContain("one.demo");
  });

  test("fails a pass whose preparation fails, and polls again at the next", async () => {
    const { account, passes } = await staged("one");
    let failures = 1;
    await account.start({
      async before() {
        if (failures-- > 0) throw new Error("no such CA");
      },
      after: async (pass) => void passes.push(pass),
    });
    expect(await account.pass()).toBe("ok");
    expect(passes.map(({ result }) => result.kind)).toEqual(["failed", "ok"]);
  });

  test("runs no pass after its stop", async () => {
    const { account, start, passes } = await staged("one");
    await start();
    await account.pass();
    await account.stop();
    const before = passes.length;
    account.kick();
    await account.pass();
    expect(passes).toHaveLength(before);
  });
});

describe("two accounts in one process", () => {
  test("have an identity, a list and a state folder each", async () => {
    const [one, two] = [await staged("one"), await staged("two")];
    await Promise.all([one.start(), two.start()]);
    const ends = await Promise.all([one.account.pass(), two.account.pass()]);
    expect(ends).toEqual(["ok", "ok"]);
    for (const { account, cloud, folder, served, identities } of [one, two]) {
      expect(new Set(served.flat())).toEqual(new Set([`http://${account.name}.demo`]));
      expect(cloud.operators().map(({ id }) => id)).toEqual([
        account.identity.current?.operatorId ?? "",
      ]);
      expect(identities()).toBe(1);
      expect(existsSync(join(folder, "endpoints.json"))).toBe(true);
    }
    expect(one.account.identity.current?.keyPem).not.toBe(two.account.identity.current?.keyPem);
  });

  test("fail and stop each for itself", async () => {
    const [one, two] = [await staged("one"), await staged("two")];
    await Promise.all([one.start(), two.start()]);
    await Promise.all([one.account.pass(), two.account.pass()]);
    await one.cloud.close();
    expect(await one.account.pass()).toBe("failed");
    expect(one.account.schedule.failures).toBeGreaterThan(0);
    // The previous list counts.
    expect(one.served.at(-1)).toEqual(["http://one.demo"]);
    await one.account.stop();

    two.cloud.addEndpoint({ url: "http://more.demo", upstream: "127.0.0.1:1" });
    expect(await two.account.pass()).toBe("ok");
    expect(two.served.at(-1)?.toSorted()).toEqual(["http://more.demo", "http://two.demo"]);
    expect(two.account.schedule.failures).toBe(0);
  });
});
