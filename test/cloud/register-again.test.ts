import { describe, expect, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Api, createApi } from "../../src/cloud/api.ts";
import { fitsKey } from "../../src/cloud/certificate.ts";
import { isUnknownToNgrok } from "../../src/cloud/refusal.ts";
import {
  type Identity,
  identityPaths,
  loadIdentity,
  type Registration,
  register,
} from "../../src/cloud/registration.ts";
import { writeFileAtomic } from "../../src/files/atomic.ts";
import type { ApiKey } from "../../src/model/api-key.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { type FakeNgrok, fakeNgrok } from "../support/fake-api.ts";

const host = { hostname: "build-box", os: "linux", arch: "x64", version: "1.2.3" };
const facts = { selectors: ["true"] };

/** The error of every step after the program was killed. */
class Killed extends Error {}

/**
 * Counts the steps that leave a trace, at ngrok or on disk. It ends the program
 * before the step of this number, and nothing works from then on.
 */
function killedBefore(step: number) {
  let done = 0;
  const alive = (): void => {
    if (done >= step) throw new Killed();
    done += 1;
  };
  const write: typeof writeFileAtomic = async (...args) => {
    alive();
    await writeFileAtomic(...args);
  };
  const mortal = (api: Api): Api => ({
    ...api,
    async createOperator(...args) {
      alive();
      return await api.createOperator(...args);
    },
    async updateOperator(...args) {
      alive();
      return await api.updateOperator(...args);
    },
    async deleteOperator(...args) {
      alive();
      await api.deleteOperator(...args);
    },
    async operators(...args) {
      alive();
      return await api.operators(...args);
    },
  });
  return { write, mortal, steps: () => done };
}

async function setUp() {
  const folder = await mkdtemp(join(tmpdir(), "ngrokd-again-"));
  const ngrok = await fakeNgrok();
  const paths = identityPaths({
    client_cert: join(folder, "tls.crt"),
    client_key: join(folder, "tls.key"),
  });
  const api = createApi({ url: ngrok.url, key: "a-good-api-key" as ApiKey, userAgent: "test" });
  const call = (more: Partial<Registration> = {}): Promise<Identity> =>
    register({ api, paths, facts, host, ...more });
  return {
    folder,
    ngrok,
    paths,
    api,
    call,
    async [Symbol.asyncDispose]() {
      await ngrok[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * The daemon's work after a start: the identity of the files, or a new one if
 * ngrok does not know it.
 */
async function start({ api, paths, call }: Awaited<ReturnType<typeof setUp>>): Promise<Identity> {
  const identity = await call();
  try {
    await api.getOperator(identity.operatorId);
    return identity;
  } catch (error) {
    if (!isUnknownToNgrok(error)) throw error;
    expect((await loadIdentity(paths)).kind).toBe("identity");
    return await call({ again: true });
  }
}

/**
 * Checks that the identity on disk is the one operator that ngrok has,
 * certificate included.
 */
async function expectWhole(
  { ngrok, paths }: Awaited<ReturnType<typeof setUp>>,
  identity: Identity,
): Promise<void> {
  expect([...ngrok.operators.keys()]).toEqual([identity.operatorId]);
  expect(await loadIdentity(paths)).toEqual({ kind: "identity", identity });
  expect(fitsKey(identity.certPem, identity.keyPem)).toBe(true);
  expect(identity.certPem.trim()).toBe(certificateOf(ngrok, identity).trim());
}

const certificateOf = (ngrok: FakeNgrok, { operatorId }: Identity): string =>
  ngrok.operators.get(operatorId).binding.cert.cert;

/**
 * Kills `work` before its first step, its second, and so on until it succeeds.
 * `after` runs each time.
 */
async function killedEverywhere(
  prepare: (set: Awaited<ReturnType<typeof setUp>>) => Promise<unknown>,
  work: (set: Awaited<ReturnType<typeof setUp>>, more: Partial<Registration>) => Promise<unknown>,
): Promise<number> {
  for (let step = 0; ; step += 1) {
    await using set = await setUp();
    await prepare(set);
    const { write, mortal, steps } = killedBefore(step);
    const killed = await work(set, { write, api: mortal(set.api) }).then(
      () => false,
      (error: unknown) => {
        // The program may wrap the error of a rejected write. Its cause stays
        // the same.
        if (
          !(error instanceof Killed) &&
          !(error instanceof NgrokdError && error.cause instanceof Killed)
        )
          throw error;
        return true;
      },
    );
    await expectWhole(set, await start(set));
    // A second start: a repaired identity does not change.
    await expectWhole(set, await start(set));
    if (!killed) return steps();
  }
}

describe("a program killed between any two steps leaves no second or lost operator", () => {
  test("while it registers for the first time", async () => {
    const steps = await killedEverywhere(
      async () => undefined,
      ({ call }, more) => call(more),
    );
    // Key, operator, certificate, ingress, operator id.
    expect(steps).toBe(5);
  });

  test("while it registers again because ngrok does not know its operator", async () => {
    const steps = await killedEverywhere(
      async ({ call, ngrok }) => {
        await call();
        ngrok.operators.clear();
      },
      ({ call }, more) => call({ ...more, again: true }),
    );
    // Two look-ups and the operator. Then the old certificate's copy and the
    // new certificate, and the same for the operator id.
    expect(steps).toBe(7);
  });

  test("while it is certified again after its certificate has expired", async () => {
    const steps = await killedEverywhere(
      async ({ call, ngrok }) => {
        ngrok.hours = -1;
        await call();
        ngrok.hours = 24;
      },
      ({ call }, more) => call(more),
    );
    expect(steps).toBe(3);
  });

  test("while it registers again with a key that was damaged", async () => {
    await killedEverywhere(
      async ({ call, ngrok, paths }) => {
        await call();
        ngrok.operators.clear();
        await Bun.write(paths.key, "damaged");
      },
      ({ call }, more) => call({ ...more, again: true }),
    );
  });
});

describe("register again", () => {
  test("keeps the key, and moves the old certificate aside after ngrok's answer", async () => {
    await using set = await setUp();
    const old = await set.call();
    set.ngrok.operators.clear();
    set.ngrok.intercept = ({ method }) =>
      method === "POST" ? { status: 503, text: "" } : undefined;
    await expect(set.call({ again: true })).rejects.toMatchObject({ code: "api" });
    expect(await loadIdentity(set.paths)).toEqual({ kind: "identity", identity: old });
    set.ngrok.intercept = () => undefined;
    const fresh = await set.call({ again: true });
    expect(fresh.operatorId).toBe("k8sop_2");
    expect(fresh.keyPem).toEqual(old.keyPem);
    await expectWhole(set, fresh);
  });

  test("saves nothing of an operator that fails the proof, and deletes it again", async () => {
    await using set = await setUp();
    const old = await set.call();
    set.ngrok.operators.clear();
    const prove = () => Promise.reject(new NgrokdError("network", "no answer"));
    await expect(set.call({ again: true, prove })).rejects.toMatchObject({ code: "network" });
    expect(set.ngrok.operators.size).toBe(0);
    expect(await loadIdentity(set.paths)).toEqual({ kind: "identity", identity: old });
    expect(await readFile(set.paths.operatorId, "utf8")).toBe(old.operatorId);
  });
});
