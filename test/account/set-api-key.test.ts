import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hostFacts } from "../../src/account/host-facts.ts";
import { type TryKeyOptions, tryAndSaveApiKey } from "../../src/account/set-api-key.ts";
import { createApi } from "../../src/cloud/api.ts";
import {
  type Identity,
  identityPaths,
  loadIdentity,
  register,
} from "../../src/cloud/registration.ts";
import { writeFileAtomic } from "../../src/files/atomic.ts";
import { type LocalCloud, startLocalCloud } from "../../src/local-cloud/cloud.ts";
import { type ApiKey, parseApiKey } from "../../src/model/api-key.ts";
import { silentLog } from "../../src/model/log.ts";
import { net } from "../support/conns.ts";

const selectors = ["true"];
const another = "a-key-of-another-account";
let cloud: LocalCloud;
let folder: string;
let config: string;
let identity: Identity;
let options: TryKeyOptions;
const paths = () =>
  identityPaths({ client_cert: join(folder, "tls.crt"), client_key: join(folder, "tls.key") });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "ngrokd-api-key-"));
  config = join(folder, "config.yml");
  const any = { host: "127.0.0.1", port: 0 };
  cloud = await startLocalCloud({ net, api: any, ingress: any });
  cloud.setKey(another, "another");
  writeFileSync(config, "api:\n  key: local-cloud-key # mine\n");
  identity = await registered();
  const switchAccount = { paths: paths(), selectors, log: silentLog };
  options = {
    apiUrl: cloud.apiUrl,
    operatorId: identity.operatorId,
    configPath: config,
    oldKey: key(cloud.apiKey),
    switchAccount,
  };
});
afterEach(async () => {
  await cloud.close();
  rmSync(folder, { recursive: true, force: true });
});

function key(text: string): ApiKey {
  const parsed = parseApiKey(text);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.value;
}

/**
 * The daemon's work at its start. It uses the files' identity, or with `again`
 * another one instead.
 */
async function registered({ again = false, with: text = cloud.apiKey } = {}): Promise<Identity> {
  const api = createApi({ url: cloud.apiUrl, key: key(text), userAgent: "test" });
  return await register({ api, paths: paths(), facts: { selectors }, host: hostFacts(), again });
}

const accounts = (): string[] =>
  cloud
    .operators()
    .map(({ id, account }) => `${account} ${id === identity.operatorId ? "old" : "new"}`);

describe("tryAndSaveApiKey", () => {
  test("saves a key of the same account, and the comment beside it stays", async () => {
    cloud.setKey("the-second-key-9", "main");
    expect(await tryAndSaveApiKey("the-second-key-9", options)).toEqual({
      key: key("the-second-key-9"),
      moved: undefined,
    });
    expect(readFileSync(config, "utf8")).toBe('api:\n  key: "the-second-key-9" # mine\n');
    expect(accounts()).toEqual(["main old"]);
  });

  test.each([
    [
      "of an account whose old key works",
      () => undefined,
      "it is a key of another account, since the present key still knows",
    ],
    [
      "of an account that has deleted the operator",
      deleteOperator,
      "the operator was deleted in ngrok's dashboard",
    ],
    [
      "beside an old key that is revoked",
      () => cloud.setKey(cloud.apiKey, undefined),
      "most likely a key of another account",
    ],
  ])("explains a key of another account, %s, and changes nothing", async (_what, prepare, why) => {
    await prepare();
    const before = readFileSync(config, "utf8");
    const asked = tryAndSaveApiKey(another, { ...options, switchAccount: undefined });
    await expect(asked).rejects.toMatchObject({
      code: "refused",
      hint: expect.stringContaining(why),
    });
    expect(readFileSync(config, "utf8")).toBe(before);
    expect(await loadIdentity(paths())).toEqual({ kind: "identity", identity });
  });

  test("distinguishes a key that cannot be tried from one that cannot be saved", async () => {
    const fetch: TryKeyOptions["fetch"] = async () => new Response("", { status: 503 });
    await expect(tryAndSaveApiKey(cloud.apiKey, { ...options, fetch })).rejects.toThrow(
      /^The key could not be checked, and nothing was changed: /,
    );
    writeFileSync(config, "api: [\n");
    await expect(tryAndSaveApiKey(cloud.apiKey, options)).rejects.toMatchObject({
      code: "config",
      message: expect.stringMatching(
        /^ngrok accepts the key, but it could not be saved, and nothing was changed: .*line \d/,
      ),
      hint: expect.stringContaining("ngrokd config edit"),
    });
    expect(readFileSync(config, "utf8")).toBe("api: [\n");
  });
});

describe("a move to another account", () => {
  test("moves to another account: registers, saves, deletes the old operator", async () => {
    const { moved } = await tryAndSaveApiKey(another, options);
    expect(moved?.farewell).toBe(
      `The operator ${identity.operatorId} of the old account is deleted.`,
    );
    expect(accounts()).toEqual(["another new"]);
    expect(await loadIdentity(paths())).toEqual({
      kind: "identity",
      identity: moved?.identity as Identity,
    });
    expect(readFileSync(config, "utf8")).toContain(another);
  });

  test("says so if the old account cannot be cleaned up", async () => {
    cloud.setKey(cloud.apiKey, undefined);
    const { moved } = await tryAndSaveApiKey(another, options);
    expect(moved?.farewell).toContain(`could not be cleaned up`);
    expect(moved?.farewell).toContain(identity.operatorId);
    expect(accounts().sort()).toEqual(["another new", "main old"]);
  });

  test("keeps the old identity if the new account does not answer for its own", async () => {
    // One request each for the key, for the operator, by id, by key, and for
    // the new operator. Then nothing works.
    const calls: string[] = [];
    const fetch: TryKeyOptions["fetch"] = async (url, init) => {
      calls.push(`${init.method} ${new URL(url).pathname}`);
      if (url.includes("bound_endpoints")) return new Response("", { status: 503 });
      return await globalThis.fetch(url, init);
    };
    await expect(tryAndSaveApiKey(another, { ...options, fetch })).rejects.toMatchObject({
      code: "api",
    });
    expect(calls.at(-1)).toStartWith("DELETE ");
    expect(accounts()).toEqual(["main old"]);
    expect(await loadIdentity(paths())).toEqual({ kind: "identity", identity });
    expect(readFileSync(config, "utf8")).not.toContain(another);
  });

  test("goes back if the key cannot be saved", async () => {
    rmSync(config);
    mkdirSync(config);
    await expect(tryAndSaveApiKey(another, options)).rejects.toThrow(
      "ngrok accepts the key, but this machine could not be moved to its account, and nothing was changed: ",
    );
    expect(accounts()).toEqual(["main old"]);
    expect(await loadIdentity(paths())).toEqual({ kind: "identity", identity });
  });
});

describe("a move that is cut off", () => {
  test("killed before any write, a start has operator and certificate that match", async () => {
    const api = (text: string) =>
      createApi({ url: cloud.apiUrl, key: key(text), userAgent: "test" });
    const move = {
      api: api(another),
      paths: paths(),
      facts: { selectors },
      host: hostFacts(),
      again: true,
      leavesAccount: true,
    };
    for (let writes = 0, killed = true; killed; writes += 1) {
      let left = writes;
      const write: typeof writeFileAtomic = async (...args) => {
        if (left === 0) throw new Error("killed");
        left -= 1;
        await writeFileAtomic(...args);
      };
      killed = await register({ ...move, write }).then(
        () => false,
        () => true,
      );
      const found = await registered();
      const isKnown = await api(cloud.apiKey)
        .getOperator(found.operatorId)
        .then(
          () => true,
          () => false,
        );
      const healed = isKnown ? found : await registered({ again: true });
      expect(healed.operatorId).toBe(identity.operatorId);
      const { certPem } = await api(cloud.apiKey).getOperator(identity.operatorId);
      expect(healed.certPem.trim()).toBe(certPem?.trim() ?? "");
    }
  });

  test("killed before the key is saved, the old key finds its old operator again", async () => {
    await registered({ again: true, with: another });
    expect(accounts().sort()).toEqual(["another new", "main old"]);
    expect((await registered({ again: true })).operatorId).toBe(identity.operatorId);
    // A second call finds the operator of the first.
    const { moved } = await tryAndSaveApiKey(another, options);
    expect(accounts()).toEqual(["another new"]);
    expect(cloud.operators()[0]?.id).toBe(moved?.identity.operatorId ?? "");
  });
});

async function deleteOperator(): Promise<void> {
  await createApi({ url: cloud.apiUrl, key: key(cloud.apiKey), userAgent: "test" }).deleteOperator(
    identity.operatorId,
  );
}
