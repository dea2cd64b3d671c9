import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createIdentityKeeper, type IdentityKeeper } from "../../src/account/keeper.ts";
import { createCsr, createKey } from "../../src/cloud/certificate.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { Registration } from "../../src/model/state.ts";
import { type FakeNgrok, fakeNgrok } from "../support/fake-api.ts";
import { memoryLog } from "../support/memory-log.ts";

let folder: string;
let ngrok: FakeNgrok;
const signal = new AbortController().signal;
const file = (name: string): string => join(folder, name);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "ngrokd-keeper-"));
  ngrok = await fakeNgrok();
});
afterEach(async () => {
  await ngrok[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * A separate keeper. `changed` counts the identities that came into use. The
 * clock stands still until `wait` moves it.
 */
async function staged({ key = "a-good-api-key" } = {}) {
  const server = { client_cert: file("tls.crt"), client_key: file("tls.key") };
  writeFileSync(file("config.yml"), JSON.stringify({ api: { url: ngrok.url, key }, server }), {
    mode: 0o600,
  });
  const loaded = await loadConfig({ file: file("config.yml"), env: {} });
  const log = memoryLog();
  // A minute ahead of the clock for ngrok's certificates, so that they are
  // never younger than now.
  let now = Date.now() + 60_000;
  let changed = 0;
  let published: Registration = { kind: "waiting-for-key" };
  const keeper = createIdentityKeeper({
    loaded: () => loaded,
    fetch: () => globalThis.fetch,
    log,
    keepSecret: () => undefined,
    publish: (registration) => {
      published = registration;
    },
    changed: () => {
      changed += 1;
    },
    now: () => new Date(now),
    random: () => 1,
  });
  return {
    keeper,
    log,
    changed: () => changed,
    published: () => published,
    wait: (ms: number) => {
      now += ms;
    },
  };
}

const ensure = (keeper: IdentityKeeper) => keeper.ensure(keeper.api(), signal);
const calls = (method: string): number =>
  ngrok.requests.filter((request) => request.method === method).length;
/** The number of requests for a single operator. */
const operatorReads = (): number =>
  ngrok.requests.filter(({ method, path }) => method === "GET" && /_operators\/\w+$/.test(path))
    .length;
const hours = 3_600_000;

/**
 * Moves the clock by half a minute. By then the requests of an earlier
 * registration have arrived, and the search for twins runs.
 */
async function pastRegistrations({
  keeper,
  wait,
}: {
  keeper: IdentityKeeper;
  wait: (ms: number) => void;
}): Promise<void> {
  expect(keeper.msUntilDue()).toBe(30_000);
  wait(30_000);
  await ensure(keeper);
}

describe("the keeper of the identity", () => {
  test("registers once, however many calls ask for it at the same time", async () => {
    const { keeper } = await staged();
    const asked = [
      ensure(keeper),
      keeper.setApiKey("another-good-key", { switchAccount: false }),
      ensure(keeper),
      ensure(keeper),
    ];
    await Promise.all(asked);
    await keeper.refreshCertificate({ force: false });
    expect(calls("POST")).toBe(1);
    expect(ngrok.operators.size).toBe(1);
  });

  test("deletes the operators that an earlier process made with the same key", async () => {
    const { keeper, wait, log } = await staged();
    // If a daemon is killed, a request without a reply may arrive at any time.
    ngrok.intercept = ({ method }) => (method === "POST" ? { status: 502, text: "" } : undefined);
    await expect(ensure(keeper)).rejects.toThrow();
    const lost = ngrok.requests.find(({ method }) => method === "POST")?.text ?? "";
    const arrives = async (body: string): Promise<string> =>
      (
        (await (
          await fetch(`${ngrok.url}/kubernetes_operators`, { method: "POST", body })
        ).json()) as { id: string }
      ).id;
    let lists = 0;
    ngrok.intercept = ({ path, method }) =>
      method === "GET" && path === "/kubernetes_operators" && ++lists === 1
        ? { json: { operators: [] } }
        : undefined;
    const early = await arrives(lost);
    const { operatorId = "" } = (await ensure(keeper)) ?? {};
    expect([...ngrok.operators.keys()]).toEqual([operatorId]);
    expect(early === operatorId).toBe(false);

    const late = await arrives(lost);
    const stranger = await arrives(
      JSON.stringify({ ...JSON.parse(lost), binding: { csr: await createCsr(await createKey()) } }),
    );
    // If the list cannot be read, it is requested again.
    ngrok.intercept = ({ method }) => (method === "GET" ? { status: 503, text: "" } : undefined);
    await pastRegistrations({ keeper, wait });
    expect([...ngrok.operators.keys()]).toContain(late);
    ngrok.intercept = () => undefined;
    await pastRegistrations({ keeper, wait });
    expect([...ngrok.operators.keys()]).toEqual([operatorId, stranger]);
    expect(log.lines.filter((line) => line.startsWith("info Deleted the operator "))).toEqual(
      [early, late].map(
        (id) =>
          `info Deleted the operator ${id}, which an interrupted registration had made with this machine's key`,
      ),
    );
    const asked = ngrok.requests.length;
    wait(hours);
    await ensure(keeper);
    expect(ngrok.requests.length).toBe(asked);
  });

  test("a failed call does not fail the next one", async () => {
    const { keeper } = await staged();
    ngrok.intercept = () => ({ status: 500, text: "" });
    const failed = ensure(keeper);
    const bad = keeper.setApiKey("short", { switchAccount: false });
    await expect(failed).rejects.toMatchObject({ code: "api" });
    await expect(bad).rejects.toMatchObject({ code: "usage" });
    ngrok.intercept = () => undefined;
    expect((await ensure(keeper))?.operatorId).toBe("k8sop_1");
  });

  test("an aborted call does not wait for the one before it; a later one does", async () => {
    const { keeper } = await staged();
    let isSet = false;
    const setting = keeper.setApiKey("another-good-key", { switchAccount: false }).then(() => {
      isSet = true;
    });
    const stop = new AbortController();
    const called = keeper.ensure(keeper.api(), stop.signal);
    stop.abort(new Error("stopping"));
    await expect(called).rejects.toThrow("stopping");
    expect(isSet).toBe(false);
    expect((await ensure(keeper))?.operatorId).toBe("k8sop_1");
    expect(isSet).toBe(true);
    await setting;
  });

  test("registers with the key that is in effect when its turn comes", async () => {
    const { keeper } = await staged();
    const set = keeper.setApiKey("another-good-key", { switchAccount: false });
    const looked = ensure(keeper);
    await Promise.all([set, looked]);
    const made = ngrok.requests.find(({ method }) => method === "POST");
    expect(made?.headers.authorization).toBe("Bearer another-good-key");
  });
});

describe("the keeper of a certificate", () => {
  test("renews when that is due, and says when that is", async () => {
    ngrok.hours = 96; // of 144: due with 48 left.
    const { keeper, changed, wait, published } = await staged();
    await ensure(keeper);
    await pastRegistrations({ keeper, wait });
    expect(calls("PATCH")).toBe(0);
    expect(changed()).toBe(1);
    expect(keeper.msUntilDue() / hours).toBeCloseTo(48, 1);
    const before = published();
    wait(49 * hours);
    ngrok.hours = 300;
    expect(keeper.msUntilDue()).toBe(0);
    await ensure(keeper);
    expect(calls("PATCH")).toBe(1);
    expect(changed()).toBe(2);
    expect(published()).not.toEqual(before);
    expect(keeper.msUntilDue()).toBeGreaterThan(49 * hours);
  });

  test("backs off if renewing fails, logs it once, and fails no pass", async () => {
    ngrok.hours = 10; // Due from the beginning.
    const { keeper, log, wait } = await staged();
    ngrok.intercept = ({ method }) =>
      method === "PATCH" ? { status: 503, headers: { "retry-after": "90" }, text: "" } : undefined;
    await ensure(keeper);
    for (let i = 0; i < 3; i += 1) expect((await ensure(keeper))?.operatorId).toBe("k8sop_1");
    expect(calls("PATCH")).toBe(1);
    expect(keeper.renewalTrouble).toMatchObject({ failures: 1 });
    await pastRegistrations({ keeper, wait });
    expect(keeper.msUntilDue() / 1000).toBeCloseTo(61, 0);
    expect(keeper.warnings()).toEqual([
      expect.stringMatching(
        /^The client certificate expires in 9 h; renewing it has failed \(.*503/,
      ),
    ]);
    wait(92_000);
    await ensure(keeper);
    expect(calls("PATCH")).toBe(2);
    expect(keeper.renewalTrouble?.failures).toBe(2);
    expect(log.lines.filter((line) => line.includes("could not be renewed"))).toHaveLength(1);
    ngrok.intercept = () => undefined;
    ngrok.hours = 300;
    wait(100_000);
    await ensure(keeper);
    expect(keeper.renewalTrouble).toBeUndefined();
    expect(keeper.warnings()).toEqual([]);
  });

  test("does not renew again at once if the new certificate is near its end too", async () => {
    ngrok.hours = 5;
    const { keeper } = await staged();
    await ensure(keeper);
    ngrok.hours = 6;
    for (let i = 0; i < 4; i += 1) await ensure(keeper);
    expect(calls("PATCH")).toBe(1);
    expect(keeper.renewalTrouble?.reason).toContain("due for renewal already");
  });

  test("has no reason to wake without a key to renew with", async () => {
    ngrok.hours = 10;
    const first = await staged();
    await ensure(first.keeper);
    const { keeper } = await staged({ key: "" });
    expect((await ensure(keeper))?.operatorId).toBe("k8sop_1");
    expect(keeper.msUntilDue()).toBe(Number.POSITIVE_INFINITY);
    await expect(keeper.refreshCertificate({ force: true })).rejects.toMatchObject({
      code: "state",
      hint: "run `ngrokd set-api-key`",
    });
  });
});

describe("the keeper of the identity's files", () => {
  test("uses a renewed certificate that cannot be saved, and saves it later", async () => {
    ngrok.hours = 96;
    const { keeper, changed, wait, log } = await staged();
    await ensure(keeper);
    wait(49 * hours);
    ngrok.hours = 300;
    const old = readFileSync(file("tls.crt"), "utf8");
    // A folder can be neither read nor replaced.
    rmSync(file("tls.crt"));
    mkdirSync(file("tls.crt"));
    for (let i = 0; i < 3; i += 1) await ensure(keeper);
    expect(calls("PATCH")).toBe(1);
    expect(changed()).toBe(2);
    expect(keeper.current?.certPem === old).toBe(false);
    expect(keeper.warnings()).toEqual([expect.stringContaining("is in use, but cannot be saved")]);
    expect(log.lines.filter((line) => line.includes("cannot be saved"))).toHaveLength(1);
    rmdirSync(file("tls.crt"));
    await ensure(keeper);
    expect(readFileSync(file("tls.crt"), "utf8")).toBe(keeper.current?.certPem ?? "");
    expect(keeper.warnings()).toEqual([]);
    expect(calls("PATCH")).toBe(1);
    expect(changed()).toBe(2);
  });

  test("saves a renewed certificate later, also if ngrok names the ingress meanwhile", async () => {
    ngrok.hours = 96;
    await ensure((await staged()).keeper);
    // The state that the Go program leaves.
    rmSync(file("ingress_endpoint"));
    const { keeper, wait, log } = await staged();
    const [operator] = ngrok.operators.values();
    operator.binding.ingress_endpoint = undefined;
    ngrok.intercept = ({ method }) => (method === "GET" ? { status: 503, text: "" } : undefined);
    await ensure(keeper);
    wait(49 * hours);
    ngrok.hours = 300;
    // A directory can be neither read nor replaced.
    rmSync(file("tls.crt"));
    mkdirSync(file("tls.crt"));
    await ensure(keeper);
    const renewed = keeper.current?.certPem ?? "";
    const trouble = [expect.stringContaining("The renewed client certificate is in use, but")];
    expect(keeper.warnings()).toEqual(trouble);

    operator.binding.ingress_endpoint = "late.example.com";
    ngrok.intercept = () => undefined;
    for (let i = 0; i < 2; i += 1) await ensure(keeper);
    expect(keeper.current?.ingressEndpoint).toBe("late.example.com:443");
    expect(keeper.current?.certPem).toBe(renewed);
    expect(keeper.warnings()).toEqual(trouble);
    expect(log.lines.filter((line) => line.includes("cannot be saved"))).toHaveLength(1);

    rmdirSync(file("tls.crt"));
    await ensure(keeper);
    expect(readFileSync(file("tls.crt"), "utf8")).toBe(renewed);
    expect(readFileSync(file("ingress_endpoint"), "utf8")).toBe("late.example.com:443\n");
    expect(keeper.warnings()).toEqual([]);
    expect(calls("PATCH")).toBe(1);
  });

  test("blames the ingress address if only that of a renewal cannot be saved", async () => {
    ngrok.hours = 96;
    const { keeper, wait } = await staged();
    await ensure(keeper);
    const [operator] = ngrok.operators.values();
    operator.binding.ingress_endpoint = "moved.example.com";
    wait(49 * hours);
    ngrok.hours = 300;
    rmSync(file("ingress_endpoint"));
    mkdirSync(file("ingress_endpoint"));
    for (let i = 0; i < 2; i += 1) await ensure(keeper);
    expect(readFileSync(file("tls.crt"), "utf8")).toBe(keeper.current?.certPem ?? "");
    expect(keeper.current?.ingressEndpoint).toBe("moved.example.com:443");
    // The folder in the file's place cannot be read either.
    expect(keeper.warnings()).toEqual([
      expect.stringContaining("files of the identity have changed and cannot be used"),
      expect.stringContaining("The ingress address from ngrok is in use, but cannot be saved"),
    ]);
    rmdirSync(file("ingress_endpoint"));
    await ensure(keeper);
    expect(readFileSync(file("ingress_endpoint"), "utf8")).toBe("moved.example.com:443\n");
    expect(keeper.warnings()).toEqual([]);
  });

  test("uses an ingress that ngrok names and cannot be saved, and saves it later", async () => {
    await ensure((await staged()).keeper);
    // The state that the Go program leaves.
    rmSync(file("ingress_endpoint"));
    const { keeper, changed, log } = await staged();
    // A folder can be neither read nor replaced.
    ngrok.intercept = () => void mkdirSync(file("ingress_endpoint"), { recursive: true });
    for (let i = 0; i < 3; i += 1)
      expect((await ensure(keeper))?.ingressEndpoint).toBe("ingress.example.com:443");
    expect(operatorReads()).toBe(1);
    expect(changed()).toBe(2);
    expect(keeper.warnings()).toEqual([
      expect.stringContaining("The ingress address from ngrok is in use, but cannot be saved"),
    ]);
    expect(log.lines.filter((line) => line.includes("cannot be saved"))).toHaveLength(1);
    // Files that were written again without an ingress are not another
    // identity.
    rmdirSync(file("ingress_endpoint"));
    writeFileSync(file("tls.crt"), keeper.current?.certPem ?? "");
    await ensure(keeper);
    expect(readFileSync(file("ingress_endpoint"), "utf8")).toBe("ingress.example.com:443\n");
    expect(keeper.warnings()).toEqual([]);
    expect(operatorReads()).toBe(1);
    expect(changed()).toBe(2);
  });

  test("asks once for the ingress of each operator whose files name none", async () => {
    await ensure((await staged()).keeper);
    rmSync(file("ingress_endpoint"));
    const [made] = ngrok.operators.values();
    ngrok.operators.set("k8sop_other", {
      ...made,
      id: "k8sop_other",
      binding: { ...made.binding, ingress_endpoint: "other.example.com" },
    });
    made.binding.ingress_endpoint = undefined;
    const { keeper } = await staged();
    for (let i = 0; i < 3; i += 1) expect((await ensure(keeper))?.ingressEndpoint).toBeUndefined();
    expect(operatorReads()).toBe(1);
    writeFileSync(file("operator_id"), "k8sop_other");
    for (let i = 0; i < 3; i += 1)
      expect((await ensure(keeper))?.ingressEndpoint).toBe("other.example.com:443");
    expect(operatorReads()).toBe(2);
  });

  test("keeps the identity in use if its files break, and takes over good ones", async () => {
    const { keeper, log, changed } = await staged();
    const identity = await ensure(keeper);
    const good = readFileSync(file("tls.crt"));
    for (const damage of [
      () => writeFileSync(file("tls.crt"), "broken"),
      () => rmSync(file("tls.key")),
    ]) {
      damage();
      expect(await ensure(keeper)).toEqual(identity);
      expect(keeper.warnings()).toEqual([
        expect.stringContaining("so the previous ones stay in use"),
      ]);
    }
    await ensure(keeper);
    expect(log.lines.filter((line) => line.includes("stay in use"))).toHaveLength(2);
    writeFileSync(file("tls.key"), identity?.keyPem ?? "");
    writeFileSync(file("tls.crt"), good);
    writeFileSync(file("operator_id"), "k8sop_restored\n");
    expect((await ensure(keeper))?.operatorId).toBe("k8sop_restored");
    expect(keeper.warnings()).toEqual([]);
    expect(changed()).toBe(2);
  });
});

describe("the keeper of a lost operator", () => {
  test("asks every earlier key for the operator, and waits for all replies", async () => {
    const { keeper } = await staged();
    const identity = await ensure(keeper);
    if (identity === undefined) throw new Error("not registered");
    const notFound = {
      status: 404,
      json: { error_code: "ERR_NGROK_5", status_code: 404, msg: "Resource not found", details: {} },
    };
    const refused = {
      status: 401,
      json: { error_code: "ERR_NGROK_202", status_code: 401, msg: "no key", details: {} },
    };
    // A typing error, then no key, then a key of another account.
    for (const text of ["a-key-with-a-typo", "", "a-key-of-another-account"]) keeper.useKey(text);
    let trouble: { status: number; text: string } | undefined = { status: 503, text: "" };
    ngrok.intercept = ({ headers, path }) => {
      if (headers.authorization?.includes("typo")) return refused;
      if (headers.authorization?.includes("another"))
        return path.includes(identity.operatorId) ? notFound : undefined;
      return trouble;
    };
    const replacing = () => keeper.replace(identity, keeper.api() as never, signal);
    await expect(replacing()).rejects.toMatchObject({ code: "api" });
    trouble = undefined;
    await expect(replacing()).rejects.toMatchObject({ code: "refused" });
    expect(calls("POST")).toBe(1);
    expect(keeper.current).toEqual(identity);
  });

  test("replaces neither a new operator nor one of another account", async () => {
    const { keeper } = await staged();
    const identity = await ensure(keeper);
    if (identity === undefined) throw new Error("not registered");
    const api = keeper.api();
    if (api === undefined) throw new Error("no key");
    expect(await keeper.replace({ ...identity, operatorId: "k8sop_before" }, api, signal)).toEqual(
      identity,
    );

    keeper.useKey("a-key-of-another-account");
    ngrok.intercept = ({ headers, path }) =>
      path.includes(identity.operatorId) && headers.authorization?.includes("another")
        ? {
            status: 404,
            json: {
              error_code: "ERR_NGROK_5",
              status_code: 404,
              msg: "Resource not found",
              details: {},
            },
          }
        : undefined;
    await expect(keeper.replace(identity, keeper.api() ?? api, signal)).rejects.toMatchObject({
      code: "refused",
      hint: expect.stringContaining("--switch-account"),
    });
    expect(calls("POST")).toBe(1);
    expect(keeper.current).toEqual(identity);
  });
});
