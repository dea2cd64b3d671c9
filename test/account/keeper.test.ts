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
 * A keeper on its own; `changed` counts how often the ingress had to be
 * renewed. The clock stands still until `wait` moves it.
 */
async function staged({ key = "a-good-api-key" } = {}) {
  const server = { client_cert: file("tls.crt"), client_key: file("tls.key") };
  writeFileSync(file("config.yml"), JSON.stringify({ api: { url: ngrok.url, key }, server }), {
    mode: 0o600,
  });
  const loaded = await loadConfig({ file: file("config.yml"), env: {} });
  const log = memoryLog();
  // A minute ahead of the clock that ngrok's certificates are made by, so that
  // they are never younger than now.
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

const look = (keeper: IdentityKeeper) => keeper.ensure(keeper.api(), signal);
const calls = (method: string): number =>
  ngrok.requests.filter((request) => request.method === method).length;
/** How often a single operator was asked for. */
const looksUp = (): number =>
  ngrok.requests.filter(({ method, path }) => method === "GET" && /_operators\/\w+$/.test(path))
    .length;
const hours = 3_600_000;

/**
 * Half a minute later, when what an earlier registration had on its way has
 * arrived, and was looked for.
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
  await look(keeper);
}

describe("the keeper of the identity", () => {
  test("registers once, whoever asks for it at the same time", async () => {
    const { keeper } = await staged();
    const asked = [
      look(keeper),
      keeper.setApiKey("another-good-key", { switchAccount: false }),
      look(keeper),
      look(keeper),
    ];
    await Promise.all(asked);
    await keeper.refreshCertificate({ force: false });
    expect([calls("POST"), ngrok.operators.size]).toEqual([1, 1]);
  });

  test("deletes what a registration of an earlier life has made with the same key, also where it arrives later, and nothing else", async () => {
    const { keeper, wait, log } = await staged();
    // What was sent and not answered, by a daemon that was killed, may arrive
    // at any time.
    ngrok.intercept = ({ method }) => (method === "POST" ? { status: 502, text: "" } : undefined);
    await expect(look(keeper)).rejects.toThrow();
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
    const { operatorId = "" } = (await look(keeper)) ?? {};
    expect([[...ngrok.operators.keys()], early === operatorId]).toEqual([[operatorId], false]);

    const late = await arrives(lost);
    const stranger = await arrives(
      JSON.stringify({ ...JSON.parse(lost), binding: { csr: await createCsr(await createKey()) } }),
    );
    // Where the list cannot be had, it is asked for again.
    ngrok.intercept = ({ method }) => (method === "GET" ? { status: 503, text: "" } : undefined);
    await pastRegistrations({ keeper, wait });
    expect([...ngrok.operators.keys()]).toContain(late);
    ngrok.intercept = () => undefined;
    await pastRegistrations({ keeper, wait });
    expect([...ngrok.operators.keys()]).toEqual([operatorId, stranger]);
    expect(log.lines.filter((line) => line.startsWith("info Deleted the operator "))).toEqual(
      [early, late].map(
        (id) =>
          `info Deleted the operator ${id}, which a registration that was cut off had made with this machine's key`,
      ),
    );
    const asked = ngrok.requests.length;
    wait(hours);
    await look(keeper);
    expect(ngrok.requests.length).toBe(asked);
  });

  test("a failure of one is not the next one's", async () => {
    const { keeper } = await staged();
    ngrok.intercept = () => ({ status: 500, text: "" });
    const failed = look(keeper);
    const bad = keeper.setApiKey("short", { switchAccount: false });
    await expect(failed).rejects.toMatchObject({ code: "api" });
    await expect(bad).rejects.toMatchObject({ code: "usage" });
    ngrok.intercept = () => undefined;
    expect((await look(keeper))?.operatorId).toBe("k8sop_1");
  });

  test("renews when it is due, in a look that otherwise asks for nothing, and says when that is", async () => {
    ngrok.hours = 96; // of 144: due with 48 left.
    const { keeper, changed, wait, published } = await staged();
    await look(keeper);
    await pastRegistrations({ keeper, wait });
    expect([calls("PATCH"), changed()]).toEqual([0, 1]);
    expect(keeper.msUntilDue() / hours).toBeCloseTo(48, 1);
    const before = published();
    wait(49 * hours);
    ngrok.hours = 300;
    expect(keeper.msUntilDue()).toBe(0);
    await look(keeper);
    expect([calls("PATCH"), changed()]).toEqual([1, 2]);
    expect(published()).not.toEqual(before);
    expect(keeper.msUntilDue()).toBeGreaterThan(49 * hours);
  });

  test("uses a renewed certificate that cannot be saved, says so once, asks for no other, and saves it as soon as that can be", async () => {
    ngrok.hours = 96;
    const { keeper, changed, wait, log } = await staged();
    await look(keeper);
    wait(49 * hours);
    ngrok.hours = 300;
    const old = readFileSync(file("tls.crt"), "utf8");
    // What is no file can be neither read nor replaced.
    rmSync(file("tls.crt"));
    mkdirSync(file("tls.crt"));
    for (let i = 0; i < 3; i += 1) await look(keeper);
    expect([calls("PATCH"), changed(), keeper.current?.certPem === old]).toEqual([1, 2, false]);
    expect(keeper.warnings()).toEqual([expect.stringContaining("is in use, and cannot be saved")]);
    expect(log.lines.filter((line) => line.includes("cannot be saved"))).toHaveLength(1);
    rmdirSync(file("tls.crt"));
    await look(keeper);
    expect(readFileSync(file("tls.crt"), "utf8")).toBe(keeper.current?.certPem ?? "");
    expect([keeper.warnings(), calls("PATCH"), changed()]).toEqual([[], 1, 2]);
  });

  test("saves a renewed certificate later, also if ngrok names the ingress meanwhile", async () => {
    ngrok.hours = 96;
    await look((await staged()).keeper);
    // As the Go program leaves it.
    rmSync(file("ingress_endpoint"));
    const { keeper, wait, log } = await staged();
    const [operator] = ngrok.operators.values();
    operator.binding.ingress_endpoint = undefined;
    ngrok.intercept = ({ method }) => (method === "GET" ? { status: 503, text: "" } : undefined);
    await look(keeper);
    wait(49 * hours);
    ngrok.hours = 300;
    // A directory can be neither read nor replaced.
    rmSync(file("tls.crt"));
    mkdirSync(file("tls.crt"));
    await look(keeper);
    const renewed = keeper.current?.certPem ?? "";
    const trouble = [expect.stringContaining("The renewed client certificate is in use, and")];
    expect(keeper.warnings()).toEqual(trouble);

    operator.binding.ingress_endpoint = "late.example.com";
    ngrok.intercept = () => undefined;
    for (let i = 0; i < 2; i += 1) await look(keeper);
    expect(keeper.current?.ingressEndpoint).toBe("late.example.com:443");
    expect(keeper.current?.certPem).toBe(renewed);
    expect(keeper.warnings()).toEqual(trouble);
    expect(log.lines.filter((line) => line.includes("cannot be saved"))).toHaveLength(1);

    rmdirSync(file("tls.crt"));
    await look(keeper);
    expect(readFileSync(file("tls.crt"), "utf8")).toBe(renewed);
    expect(readFileSync(file("ingress_endpoint"), "utf8")).toBe("late.example.com:443\n");
    expect(keeper.warnings()).toEqual([]);
    expect(calls("PATCH")).toBe(1);
  });

  test("blames the ingress address if only that of a renewal cannot be saved", async () => {
    ngrok.hours = 96;
    const { keeper, wait } = await staged();
    await look(keeper);
    const [operator] = ngrok.operators.values();
    operator.binding.ingress_endpoint = "moved.example.com";
    wait(49 * hours);
    ngrok.hours = 300;
    rmSync(file("ingress_endpoint"));
    mkdirSync(file("ingress_endpoint"));
    for (let i = 0; i < 2; i += 1) await look(keeper);
    expect(readFileSync(file("tls.crt"), "utf8")).toBe(keeper.current?.certPem ?? "");
    expect(keeper.current?.ingressEndpoint).toBe("moved.example.com:443");
    // The folder in the file's place cannot be read, either.
    expect(keeper.warnings()).toEqual([
      expect.stringContaining("files of the identity have changed and cannot be used"),
      expect.stringContaining(
        "The ingress address that ngrok named is in use, and cannot be saved",
      ),
    ]);
    rmdirSync(file("ingress_endpoint"));
    await look(keeper);
    expect(readFileSync(file("ingress_endpoint"), "utf8")).toBe("moved.example.com:443\n");
    expect(keeper.warnings()).toEqual([]);
  });

  test("dials the ingress that ngrok names although it cannot be saved, says so once, asks once, and saves it as soon as that can be", async () => {
    await look((await staged()).keeper);
    // As the Go program leaves it.
    rmSync(file("ingress_endpoint"));
    const { keeper, changed, log } = await staged();
    // What is no file can be neither read nor replaced.
    ngrok.intercept = () => void mkdirSync(file("ingress_endpoint"), { recursive: true });
    for (let i = 0; i < 3; i += 1)
      expect((await look(keeper))?.ingressEndpoint).toBe("ingress.example.com:443");
    expect([looksUp(), changed()]).toEqual([1, 2]);
    expect(keeper.warnings()).toEqual([
      expect.stringContaining(
        "The ingress address that ngrok named is in use, and cannot be saved",
      ),
    ]);
    expect(log.lines.filter((line) => line.includes("cannot be saved"))).toHaveLength(1);
    // Files that were written again and name no ingress are no other identity.
    rmdirSync(file("ingress_endpoint"));
    writeFileSync(file("tls.crt"), keeper.current?.certPem ?? "");
    await look(keeper);
    expect(readFileSync(file("ingress_endpoint"), "utf8")).toBe("ingress.example.com:443\n");
    expect([keeper.warnings(), looksUp(), changed()]).toEqual([[], 1, 2]);
  });

  test("asks for the ingress of each operator whose files name none, and once where ngrok names none", async () => {
    await look((await staged()).keeper);
    rmSync(file("ingress_endpoint"));
    const [made] = ngrok.operators.values();
    ngrok.operators.set("k8sop_other", {
      ...made,
      id: "k8sop_other",
      binding: { ...made.binding, ingress_endpoint: "other.example.com" },
    });
    made.binding.ingress_endpoint = undefined;
    const { keeper } = await staged();
    for (let i = 0; i < 3; i += 1) expect((await look(keeper))?.ingressEndpoint).toBeUndefined();
    expect(looksUp()).toBe(1);
    writeFileSync(file("operator_id"), "k8sop_other");
    for (let i = 0; i < 3; i += 1)
      expect((await look(keeper))?.ingressEndpoint).toBe("other.example.com:443");
    expect(looksUp()).toBe(2);
  });

  test("backs off where renewing fails, tells it once, and the look succeeds all the same", async () => {
    ngrok.hours = 10; // Due from the beginning.
    const { keeper, log, wait } = await staged();
    ngrok.intercept = ({ method }) =>
      method === "PATCH" ? { status: 503, headers: { "retry-after": "90" }, text: "" } : undefined;
    await look(keeper);
    for (let i = 0; i < 3; i += 1) expect((await look(keeper))?.operatorId).toBe("k8sop_1");
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
    await look(keeper);
    expect([calls("PATCH"), keeper.renewalTrouble?.failures]).toEqual([2, 2]);
    expect(log.lines.filter((line) => line.includes("could not be renewed"))).toHaveLength(1);
    ngrok.intercept = () => undefined;
    ngrok.hours = 300;
    wait(100_000);
    await look(keeper);
    expect([keeper.renewalTrouble, keeper.warnings()]).toEqual([undefined, []]);
  });

  test("does not ask again and again where ngrok's new certificate is near its end too", async () => {
    ngrok.hours = 5;
    const { keeper } = await staged();
    await look(keeper);
    ngrok.hours = 6;
    for (let i = 0; i < 4; i += 1) await look(keeper);
    expect(calls("PATCH")).toBe(1);
    expect(keeper.renewalTrouble?.reason).toContain("due for renewal already");
  });

  test("has no reason to wake where there is no key to renew with", async () => {
    ngrok.hours = 10;
    const first = await staged();
    await look(first.keeper);
    const { keeper } = await staged({ key: "" });
    expect((await look(keeper))?.operatorId).toBe("k8sop_1");
    expect(keeper.msUntilDue()).toBe(Number.POSITIVE_INFINITY);
    await expect(keeper.refreshCertificate({ force: true })).rejects.toMatchObject({
      code: "state",
      hint: "run `ngrokd set-api-key`",
    });
  });

  test("keeps the identity in use where its files are broken or gone, says why once, and takes over what fits", async () => {
    const { keeper, log, changed } = await staged();
    const identity = await look(keeper);
    const good = readFileSync(file("tls.crt"));
    for (const damage of [
      () => writeFileSync(file("tls.crt"), "broken"),
      () => rmSync(file("tls.key")),
    ]) {
      damage();
      expect(await look(keeper)).toEqual(identity);
      expect(keeper.warnings()).toEqual([
        expect.stringContaining("so the ones before stay in use"),
      ]);
    }
    await look(keeper);
    expect(log.lines.filter((line) => line.includes("stay in use"))).toHaveLength(2);
    writeFileSync(file("tls.key"), identity?.keyPem ?? "");
    writeFileSync(file("tls.crt"), good);
    writeFileSync(file("operator_id"), "k8sop_restored\n");
    expect((await look(keeper))?.operatorId).toBe("k8sop_restored");
    expect([keeper.warnings(), changed()]).toEqual([[], 2]);
  });

  test("a look that is called off does not wait for what goes on before it, and what comes after it does", async () => {
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
    expect((await look(keeper))?.operatorId).toBe("k8sop_1");
    expect(isSet).toBe(true);
    await setting;
  });

  test("registers with the key that is in effect when its turn has come", async () => {
    const { keeper } = await staged();
    const set = keeper.setApiKey("another-good-key", { switchAccount: false });
    const looked = look(keeper);
    await Promise.all([set, looked]);
    const made = ngrok.requests.find(({ method }) => method === "POST");
    expect(made?.headers.authorization).toBe("Bearer another-good-key");
  });

  test("asks every former key whose the operator is, and does nothing while that cannot be known", async () => {
    const { keeper } = await staged();
    const identity = await look(keeper);
    if (identity === undefined) throw new Error("not registered");
    const notFound = {
      status: 404,
      json: { error_code: "ERR_NGROK_5", status_code: 404, msg: "Resource not found", details: {} },
    };
    const refused = {
      status: 401,
      json: { error_code: "ERR_NGROK_202", status_code: 401, msg: "no key", details: {} },
    };
    // A slip of the hand, then no key at all, then one of another account.
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
    expect([calls("POST"), keeper.current]).toEqual([1, identity]);
  });

  test("does not register for an operator that somebody has replaced meanwhile, and asks the former key before it gives one up", async () => {
    const { keeper } = await staged();
    const identity = await look(keeper);
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
    expect([calls("POST"), keeper.current]).toEqual([1, identity]);
  });
});
