import { describe, expect, test } from "bun:test";
import { createLister } from "../../src/account/lister.ts";
import {
  createPass,
  judge,
  type PassDeps,
  type PassMemory,
  passEnd,
} from "../../src/account/poll.ts";
import type { Api } from "../../src/cloud/api.ts";
import type { Identity } from "../../src/cloud/registration.ts";
import type { ApiEndpoint } from "../../src/model/endpoint.ts";
import { NgrokdError } from "../../src/model/error.ts";
import type { Reconciled } from "../../src/model/pass.ts";
import { memoryLog } from "../support/memory-log.ts";

const identity: Identity = {
  operatorId: "k8sop_1",
  certPem: "",
  keyPem: "",
  ingressEndpoint: undefined,
};
const names = (...ids: string[]): ApiEndpoint[] =>
  ids.map((id) => ({ id, url: `http://${id}.demo`, proto: "http" }));
const unknown = (fromNgrok: boolean) =>
  new NgrokdError("not-found", "no such operator", { details: { fromNgrok } });
const key = (id: string): string => `${id}.demo:80`;

describe("a pass", () => {
  test("asks for the endpoints bound to our operator, and reconciles", async () => {
    const { pass, asked, reconciled } = staged({ bound: names("a", "b") });
    expect((await pass()).kind).toBe("ok");
    expect(asked).toEqual(["bound k8sop_1", "endpoints"]);
    expect(reconciled).toEqual([["a", "b"]]);
  });

  test("leaves out endpoints that the account no longer has, and none without id", async () => {
    const nameless: ApiEndpoint = { id: "", url: "http://x.demo", proto: "" };
    const { pass, reconciled } = staged({
      bound: [...names("a", "stale"), nameless],
      all: names("a", "other"),
    });
    await pass();
    expect(reconciled).toEqual([["a", ""]]);
  });

  test("takes the list as it is if the account's cannot be had", async () => {
    const { pass, reconciled, log } = staged({ bound: names("a"), all: new Error("500") });
    expect((await pass()).kind).toBe("ok");
    expect(reconciled).toEqual([["a"]]);
    expect(log.lines).toEqual(["debug Cannot tell stale endpoints from live ones: 500"]);
  });

  test("does not ask for the account's endpoints if nothing is bound", async () => {
    const { pass, asked } = staged({ bound: [] });
    await pass();
    expect(asked).toEqual(["bound k8sop_1"]);
  });

  test.each([
    ["no key", { api: () => undefined }],
    ["no identity", { identity: async () => undefined }],
  ] as [string, Partial<PassDeps>][])("is idle with %s", async (_name, deps) => {
    const { pass, asked, reconciled } = staged({ bound: names("a") }, deps);
    expect(await pass()).toEqual({ kind: "idle" });
    expect(asked).toEqual([]);
    expect(reconciled).toEqual([]);
  });

  test("fails, and changes nothing, if the list or the identity cannot be had", async () => {
    const error = new Error("no route");
    const first = staged({ bound: error });
    expect(await first.pass()).toEqual({ kind: "failed", error });
    expect(first.reconciled).toEqual([]);
    const second = staged({ bound: names("a") }, { identity: () => Promise.reject(error) });
    expect(await second.pass()).toEqual({ kind: "failed", error });
    expect(second.reconciled).toEqual([]);
    const third = staged({ bound: names("a") }, { reconcile: () => Promise.reject(error) });
    expect(await third.pass()).toEqual({ kind: "failed", error });
  });

  test("changes nothing if it is aborted on the way", async () => {
    const abort = new AbortController();
    const { pass, reconciled } = staged({
      bound: names("a"),
      onEndpoints: () => abort.abort(new Error("stopping")),
    });
    expect(await pass(abort.signal)).toEqual({ kind: "failed", error: new Error("stopping") });
    expect(reconciled).toEqual([]);
  });
});

describe("a short list", () => {
  test("believes a suddenly empty or short list only when it is seen again", async () => {
    for (const short of [names(), names("a"), names("x", "y", "z")]) {
      const world = { bound: short };
      const { pass, reconciled, log } = staged(world, {
        serving: () => ["a", "b", "c", "d"].map(key),
      });
      expect(await pass()).toEqual({ kind: "confirm", reconciled: undefined });
      expect(reconciled).toEqual([]);
      expect(log.lines).toEqual([
        "info ngrok lists few of the 4 endpoints that are served; polling again before any is removed",
      ]);
      expect((await pass()).kind).toBe("ok");
      expect(reconciled).toEqual([short.map(({ id }) => id)]);
    }
  });

  test("counts endpoints that can be served: a list of wildcards is an empty one", async () => {
    const bound = ["a", "b", "c"].map((id) => ({
      id,
      url: `https://*.${id}.demo`,
      proto: "https",
    }));
    expect((await staged({ bound }, { serving: () => [key("a")] }).pass()).kind).toBe("confirm");
  });

  test("forgets a short list with a full one, and remembers it through a failure", async () => {
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

describe("an operator that ngrok does not know", () => {
  test("replaces an operator that ngrok does not know twice, and goes on", async () => {
    const { pass, asked, reconciled } = staged({ bound: unknown(true) });
    expect((await pass()).kind).toBe("gone");
    expect(asked).toEqual(["bound k8sop_1"]);
    expect((await pass()).kind).toBe("ok");
    expect(asked.slice(1)).toEqual([
      "bound k8sop_1",
      "replace k8sop_1",
      "bound k8sop_2",
      "endpoints",
    ]);
    expect(reconciled).toEqual([["a"]]);
  });

  test("does not take a proxy's word for it, nor twice with a good answer between", async () => {
    const world: Staging = { bound: unknown(false) };
    const { pass, asked } = staged(world);
    for (let i = 0; i < 3; i += 1) expect((await pass()).kind).toBe("failed");
    const kinds: string[] = [];
    for (const bound of [unknown(true), names("a"), unknown(true), unknown(false), unknown(true)]) {
      world.bound = bound;
      kinds.push((await pass()).kind);
      if (asked.some((call) => call.startsWith("replace"))) break;
    }
    // A failure between two replies does not count.
    expect(kinds).toEqual(["gone", "ok", "gone", "failed", "ok"]);
  });

  test("changes nothing if the operator cannot be replaced, and tries again", async () => {
    const error = new Error("no route");
    const { pass, reconciled } = staged(
      { bound: unknown(true) },
      { replace: () => Promise.reject(error) },
    );
    await pass();
    expect(await pass()).toEqual({ kind: "failed", error });
    expect(await pass()).toEqual({ kind: "failed", error });
    expect(reconciled).toEqual([]);
  });
});

test("a long account's list is asked for when the bound one changes, else seldom", async () => {
  const list = (n: number, gone = 0): ApiEndpoint[] =>
    Array.from({ length: n }, (_, i) => ({
      id: `ep_${i + gone}`,
      url: `http://h${i + gone}`,
      proto: "",
    }));
  let [bound, all, asked, now] = [list(250), list(250), 0, 0];
  const api = {
    boundEndpoints: async () => bound,
    async endpointIds() {
      asked += 1;
      return ids(all);
    },
  } as Partial<Api> as Api;
  const lister = createLister(memoryLog(), () => now);
  const look = async () => (await lister(api, "k8sop_1", new AbortController().signal)).length;
  expect(await look()).toBe(250);
  expect(await look()).toBe(250);
  expect(asked).toBe(1);
  all = list(249, 1);
  now = 19_999;
  expect(await look()).toBe(250);
  expect(asked).toBe(1);
  now = 20_000;
  expect(await look()).toBe(249);
  expect(await look()).toBe(249);
  expect(asked).toBe(2);
  bound = list(249, 1);
  expect(await look()).toBe(249);
  expect(asked).toBe(3);
  [bound, all] = [list(99), list(99)];
  expect(await look()).toBe(99);
  expect(await look()).toBe(99);
  expect(asked).toBe(5);
});

test("passEnd returns the end of a pass, and the reason of a failure", () => {
  const error = new Error("no");
  const results = [
    { kind: "idle" },
    { kind: "ok", reconciled: undefined },
    { kind: "confirm", reconciled: undefined },
    { kind: "gone", error },
    { kind: "failed", error },
  ] as const;
  expect(results.map(passEnd)).toEqual([
    { kind: "idle" },
    { kind: "ok" },
    { kind: "confirm" },
    { kind: "confirm" },
    { kind: "failed", error },
  ]);
});

describe("the list that was saved before a start", () => {
  const down = new Error("503");
  const before = { operatorId: identity.operatorId, endpoints: names("a", "b") };

  test("is served while ngrok's API cannot be asked, until its first answer", async () => {
    const world: Staging = { bound: down };
    const { pass, reconciled, saved } = staged(world, { lastList: before });
    const resumed = {
      kind: "failed" as const,
      error: down,
      reconciled: { endpoints: [], problems: [] },
      resumed: true,
    };
    expect(await pass()).toEqual(resumed);
    expect(await pass()).toEqual(resumed);
    expect(reconciled).toEqual(Array(2).fill(["a", "b"]));
    expect(saved).toEqual([]);
    world.bound = names("b", "c");
    expect((await pass()).kind).toBe("ok");
    expect(reconciled.at(-1)).toEqual(["b", "c"]);
    expect(saved).toEqual(["k8sop_1: b c"]);
    // Endpoints that failed are tried again, too.
    world.bound = down;
    expect(await pass()).toEqual({ ...resumed, resumed: false });
    expect(reconciled.at(-1)).toEqual(["b", "c"]);
  });

  test("is tried again if it could not be served", async () => {
    const broken = new Error("broken");
    let times = 0;
    const reconcile = async (): Promise<Reconciled> => {
      times += 1;
      if (times === 1) throw broken;
      return { endpoints: [], problems: [] };
    };
    const { pass } = staged({ bound: down }, { lastList: before, reconcile });
    expect(await pass()).toEqual({ kind: "failed", error: broken });
    expect(await pass()).toEqual({
      kind: "failed",
      error: down,
      reconciled: { endpoints: [], problems: [] },
      resumed: true,
    });
  });

  test("is not for another or an unknown operator, nor for a daemon that stops", async () => {
    const other = staged({ bound: down }, { lastList: { ...before, operatorId: "k8sop_0" } });
    expect(await other.pass()).toEqual({ kind: "failed", error: down });
    expect(other.reconciled).toEqual([]);

    const world: Staging = { bound: unknown(true) };
    const gone = staged(world, { lastList: before });
    expect((await gone.pass()).kind).toBe("gone");
    world.bound = down;
    expect(await gone.pass()).toEqual({ kind: "failed", error: down });
    expect(gone.reconciled).toEqual([]);

    const stopping = staged({ bound: down }, { lastList: before });
    expect(await stopping.pass(AbortSignal.abort())).toEqual({ kind: "failed", error: down });
    expect(stopping.reconciled).toEqual([]);
  });

  test("is saved when ngrok lists something else, and not at every pass", async () => {
    const list = names("a");
    const world: Staging = { bound: list, all: list };
    const { pass, saved } = staged(world);
    await pass();
    await pass();
    expect(saved).toEqual(["k8sop_1: a"]);
    world.bound = unknown(true);
    await pass();
    await pass();
    expect(saved).toEqual(["k8sop_1: a", "k8sop_2: a"]);
  });

  test("counts also if it cannot be saved; the pass says so, and the next one tries", async () => {
    const list = names("a");
    let full = true;
    const saveList = async (): Promise<void> => {
      if (full) throw new NgrokdError("state", "no space left", { hint: "make room" });
    };
    const { pass, reconciled } = staged({ bound: list, all: list }, { saveList });
    const problems = [{ reason: "no space left", hint: "make room" }];
    expect(await pass()).toEqual({ kind: "ok", reconciled: { endpoints: [], problems } });
    expect(await pass()).toEqual({ kind: "ok", reconciled: { endpoints: [], problems } });
    full = false;
    expect(await pass()).toEqual({ kind: "ok", reconciled: { endpoints: [], problems: [] } });
    expect(reconciled).toEqual([["a"], ["a"], ["a"]]);
  });
});

interface Staging {
  bound: ApiEndpoint[] | Error;
  all?: ApiEndpoint[] | Error;
  onEndpoints?: () => void;
}

/**
 * A pass over an API with the state of `world`. Nothing is served by default.
 */
function staged(world: Staging, deps: Partial<PassDeps> = {}) {
  const log = memoryLog();
  const asked: string[] = [];
  const reconciled: string[][] = [];
  const saved: string[] = [];
  const answer = (list: ApiEndpoint[] | Error): ApiEndpoint[] => {
    if (list instanceof Error) throw list;
    return list;
  };
  const api = {
    async boundEndpoints(operatorId: string) {
      asked.push(`bound ${operatorId}`);
      return answer(world.bound);
    },
    async endpointIds() {
      asked.push("endpoints");
      world.onEndpoints?.();
      return ids(answer(world.all ?? world.bound));
    },
  } as Partial<Api> as Api;
  const run = createPass({
    api: () => api,
    identity: async () => identity,
    async replace({ operatorId }) {
      asked.push(`replace ${operatorId}`);
      world.bound = names("a");
      return { ...identity, operatorId: "k8sop_2" };
    },
    reconcile: async (listed): Promise<Reconciled> => {
      reconciled.push(listed.map(({ id }) => id));
      return { endpoints: [], problems: [] };
    },
    lastList: undefined,
    async saveList({ operatorId, endpoints }) {
      saved.push(`${operatorId}: ${endpoints.map(({ id }) => id).join(" ")}`);
    },
    serving: () => [],
    log,
    ...deps,
  });
  return {
    log,
    asked,
    reconciled,
    saved,
    pass: (signal = new AbortController().signal) => run(signal),
  };
}

describe("judge", () => {
  const fresh: PassMemory = {
    lastList: undefined,
    served: undefined,
    saved: undefined,
    unknownOperator: undefined,
    sawShortList: false,
  };
  const serving = () => ["a", "b", "c", "d"].map(key);
  const error = new Error("503");
  const operatorId = "k8sop_1";

  test("believes a short list only the second time", () => {
    const reply = { kind: "listed", operatorId, endpoints: names("a") } as const;
    const [memory, first] = judge(fresh, reply, serving);
    expect(first).toEqual({ kind: "short", servedCount: 4 });
    const [after, second] = judge(memory, reply, serving);
    expect(second).toEqual({ kind: "listed", list: { operatorId, endpoints: reply.endpoints } });
    expect(after).toEqual(fresh);
  });

  test("replaces an operator only when it is unknown the second time", () => {
    const reply = { kind: "unknown", operatorId, error } as const;
    const [memory, first] = judge(fresh, reply, serving);
    expect(first).toEqual({ kind: "unknown", operatorId, error });
    const [afterFailure] = judge(memory, { kind: "failed", operatorId, error }, serving);
    expect(judge(afterFailure, reply, serving)[1]).toEqual({ kind: "replace", error });
    const [afterList] = judge(memory, { kind: "listed", operatorId, endpoints: [] }, () => []);
    expect(judge(afterList, reply, serving)[1].kind).toBe("unknown");
  });

  test("falls back on the list of this process, then on the one before it", () => {
    const failed = { kind: "failed", operatorId, error } as const;
    const lastList = { operatorId, endpoints: names("a") };
    const endpointsOf = (memory: PassMemory) => {
      const [after, verdict] = judge(memory, failed, serving);
      expect(after).toBe(memory);
      return verdict.kind === "unreachable" ? verdict.endpoints : verdict.kind;
    };
    expect(endpointsOf(fresh)).toBeUndefined();
    expect(endpointsOf({ ...fresh, lastList })).toBe(lastList.endpoints);
    expect(endpointsOf({ ...fresh, lastList: { ...lastList, operatorId: "k8sop_0" } })).toBe(
      undefined,
    );
    expect(endpointsOf({ ...fresh, lastList, unknownOperator: operatorId })).toBeUndefined();
    const served = names("b");
    expect(endpointsOf({ ...fresh, lastList, served })).toBe(served);
  });
});

/** An unchanged list is the same array, as the API's is. */
const ids = (list: readonly ApiEndpoint[]): readonly string[] => {
  const known = idsOf.get(list) ?? list.map(({ id }) => id);
  idsOf.set(list, known);
  return known;
};
const idsOf = new WeakMap<readonly ApiEndpoint[], readonly string[]>();
