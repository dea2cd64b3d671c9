import { describe, expect, test } from "bun:test";
import type { Api } from "../../src/cloud/api.ts";
import type { Identity } from "../../src/cloud/registration.ts";
import { createPass, type PassDeps, passEnd } from "../../src/daemon/pass.ts";
import type { Reconciled } from "../../src/daemon/reconcile.ts";
import type { ApiEndpoint } from "../../src/model/endpoint.ts";
import { memoryLog } from "../support/memory-log.ts";

const identity: Identity = { operatorId: "k8sop_1", certPem: "", keyPem: "", ingressEndpoint: undefined };
const names = (...ids: string[]): ApiEndpoint[] => ids.map((id) => ({ id, url: `http://${id}.demo`, proto: "http" }));
const key = (id: string): string => `${id}.demo:80`;

describe("a pass", () => {
  test("asks for what is bound to our operator, and reconciles with it", async () => {
    const { pass, asked, reconciled } = staged({ bound: names("a", "b") });
    expect((await pass()).kind).toBe("ok");
    expect([asked, reconciled]).toEqual([["bound k8sop_1", "endpoints"], [["a", "b"]]]);
  });

  test("leaves out what the account no longer has, but nothing that has no id to tell by", async () => {
    const nameless: ApiEndpoint = { id: "", url: "http://x.demo", proto: "" };
    const { pass, reconciled } = staged({ bound: [...names("a", "stale"), nameless], all: names("a", "other") });
    await pass();
    expect(reconciled).toEqual([["a", ""]]);
  });

  test("takes the list as it is where the account's cannot be had", async () => {
    const { pass, reconciled, log } = staged({ bound: names("a"), all: new Error("500") });
    expect((await pass()).kind).toBe("ok");
    expect([reconciled, log.lines]).toEqual([[["a"]], ["debug Cannot tell stale endpoints from live ones: 500"]]);
  });

  test("does not ask for the account's endpoints where nothing is bound", async () => {
    const { pass, asked } = staged({ bound: [] });
    await pass();
    expect(asked).toEqual(["bound k8sop_1"]);
  });

  test.each([
    ["no key", { api: () => undefined }],
    ["no identity", { identity: async () => undefined }],
  ] as [string, Partial<PassDeps>][])("is idle where there is %s", async (_name, deps) => {
    const { pass, asked, reconciled } = staged({ bound: names("a") }, deps);
    expect([await pass(), asked, reconciled]).toEqual([{ kind: "idle" }, [], []]);
  });

  test("fails, and changes nothing, where the list or the identity cannot be had", async () => {
    const error = new Error("no route");
    const first = staged({ bound: error });
    expect([await first.pass(), first.reconciled]).toEqual([{ kind: "failed", error }, []]);
    const second = staged({ bound: names("a") }, { identity: () => Promise.reject(error) });
    expect([await second.pass(), second.reconciled]).toEqual([{ kind: "failed", error }, []]);
    const third = staged({ bound: names("a") }, { reconcile: () => Promise.reject(error) });
    expect(await third.pass()).toEqual({ kind: "failed", error });
  });

  test("changes nothing where it is aborted on the way", async () => {
    const abort = new AbortController();
    const { pass, reconciled } = staged({ bound: names("a"), onEndpoints: () => abort.abort(new Error("stopping")) });
    expect([await pass(abort.signal), reconciled]).toEqual([{ kind: "failed", error: new Error("stopping") }, []]);
  });

  test("believes a list that is suddenly empty or short only when it is seen again", async () => {
    for (const short of [names(), names("a"), names("x", "y", "z")]) {
      const world = { bound: short };
      const { pass, reconciled, log } = staged(world, { serving: () => ["a", "b", "c", "d"].map(key) });
      expect(await pass()).toEqual({ kind: "confirm", reconciled: undefined });
      expect(reconciled).toEqual([]);
      expect(log.lines).toEqual(["info ngrok lists few of the 4 endpoints that are served; looking again before any is retired"]);
      expect((await pass()).kind).toBe("ok");
      expect(reconciled).toEqual([short.map(({ id }) => id)]);
    }
  });

  test("counts what can be served: a list of nothing but wildcards is an empty one", async () => {
    const bound = ["a", "b", "c"].map((id) => ({ id, url: `https://*.${id}.demo`, proto: "https" }));
    expect((await staged({ bound }, { serving: () => [key("a")] }).pass()).kind).toBe("confirm");
  });

  test("forgets its doubt with a full list, and keeps it through a failure", async () => {
    const world: Staging = { bound: [] };
    const { pass } = staged(world, { serving: () => ["a", "b", "c", "d"].map(key) });
    const kinds: string[] = [];
    for (const bound of [[], names("a", "b", "c", "d"), [], new Error("503"), [], []]) {
      world.bound = bound;
      kinds.push((await pass()).kind);
    }
    expect(kinds).toEqual(["confirm", "ok", "confirm", "failed", "ok", "confirm"]);
  });

  test("believes any list while nothing is served", async () => {
    expect((await staged({ bound: [] }).pass()).kind).toBe("ok");
  });
});

test("passEnd tells the loop how a pass ended, and why it failed", () => {
  const error = new Error("no");
  const results = [
    { kind: "idle" },
    { kind: "ok", reconciled: undefined },
    { kind: "confirm", reconciled: undefined },
    { kind: "failed", error },
  ] as const;
  expect(results.map(passEnd)).toEqual([{ kind: "idle" }, { kind: "ok" }, { kind: "confirm" }, { kind: "failed", error }]);
});

interface Staging {
  bound: ApiEndpoint[] | Error;
  all?: ApiEndpoint[] | Error;
  onEndpoints?: () => void;
}

/** A pass over an API that answers what `world` says at that time; `serving` nothing, unless told. */
function staged(world: Staging, deps: Partial<PassDeps> = {}) {
  const log = memoryLog();
  const asked: string[] = [];
  const reconciled: string[][] = [];
  const answer = (list: ApiEndpoint[] | Error): ApiEndpoint[] => {
    if (list instanceof Error) throw list;
    return list;
  };
  const api = {
    async boundEndpoints(operatorId: string) {
      asked.push(`bound ${operatorId}`);
      return answer(world.bound);
    },
    async endpoints() {
      asked.push("endpoints");
      world.onEndpoints?.();
      return answer(world.all ?? world.bound);
    },
  } as Partial<Api> as Api;
  const run = createPass({
    api: () => api,
    identity: async () => identity,
    reconcile: async (listed): Promise<Reconciled> => {
      reconciled.push(listed.map(({ id }) => id));
      return { endpoints: [], problems: [] };
    },
    serving: () => [],
    log,
    ...deps,
  });
  return { log, asked, reconciled, pass: (signal = new AbortController().signal) => run(signal) };
}
