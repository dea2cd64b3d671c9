import { describe, expect, test } from "bun:test";
import { createSelectors } from "../../src/account/selectors.ts";
import type { Api } from "../../src/cloud/api.ts";
import type { Loaded } from "../../src/config/load.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { memoryLog } from "../support/memory-log.ts";

const { signal } = new AbortController();

/**
 * ngrok's side has one operator with these selectors; `wanted` is what the
 * configuration says, undefined where it says nothing. `refusal`: ngrok says no
 * to every question; `lost`: a change is made, and its answer does not arrive.
 */
function staged(registered: readonly string[], wanted: readonly string[] | undefined) {
  const calls: string[] = [];
  const log = memoryLog();
  const stage = {
    registered,
    wanted,
    refusal: undefined as NgrokdError | undefined,
    lost: undefined as NgrokdError | undefined,
  };
  const api = {
    async getOperator(id) {
      calls.push(`get ${id}`);
      if (stage.refusal !== undefined) throw stage.refusal;
      return {
        id,
        createdAt: "",
        description: "",
        metadata: "",
        selectors: stage.registered,
        ingressEndpoint: undefined,
        certPem: undefined,
      };
    },
    async updateOperator(id, { binding }) {
      calls.push(`update ${id} ${binding?.endpoint_selectors}`);
      stage.registered = binding?.endpoint_selectors ?? [];
      if (stage.lost !== undefined) throw stage.lost;
      return await api.getOperator(id);
    },
  } as Pick<Api, "getOperator" | "updateOperator"> as Api;
  const loaded = (): Loaded =>
    ({
      config: { bound_endpoints: { selectors: stage.wanted ?? ["true"] } },
      origins: { "bound_endpoints.selectors": stage.wanted === undefined ? "default" : "file" },
    }) as unknown as Loaded;
  const selectors = createSelectors({ loaded, log });
  return {
    stage,
    calls,
    log,
    selectors,
    look: async (id = "k8sop_1") => await selectors.ensure(api, id, signal),
  };
}

describe("the operator's selectors", () => {
  test("are asked for once and left alone where they are those of the configuration", async () => {
    const { calls, look } = staged(["a", "b"], ["a", "b"]);
    await look();
    await look();
    expect(calls).toEqual(["get k8sop_1"]);
  });

  test("are changed to those of the configuration, at the start and after a change, back to the default too", async () => {
    const { stage, log, look } = staged(["true"], ["a"]);
    await look();
    expect(stage.registered).toEqual(["a"]);
    expect(log.lines).toEqual([
      "info ngrok chooses the endpoints by these selectors from now on: a",
    ]);
    stage.wanted = undefined;
    await look();
    expect(stage.registered).toEqual(["true"]);
  });

  test("are nobody's business here where the configuration never said anything, and cost no call", async () => {
    const { stage, calls, look } = staged(["set in the dashboard"], undefined);
    await look();
    await look();
    expect(stage.registered).toEqual(["set in the dashboard"]);
    expect(calls).toEqual([]);
  });

  test("are looked at again for another operator", async () => {
    const { calls, look } = staged(["a"], ["a"]);
    await look("k8sop_1");
    await look("k8sop_2");
    expect(calls).toEqual(["get k8sop_1", "get k8sop_2"]);
  });

  test("are tried again at each pass where ngrok says no, which is told once and stays a warning until it is done", async () => {
    const { stage, log, selectors, look } = staged(["true"], ["a"]);
    stage.refusal = new NgrokdError("api", "ngrok says no (operation op_1)");
    await look();
    stage.refusal = new NgrokdError("api", "ngrok says no (operation op_2)");
    await look();
    expect(log.lines).toEqual([
      "warn ngrok was not told of bound_endpoints.selectors: ngrok says no (operation op_1)",
    ]);
    expect(selectors.trouble).toContain("ngrok says no");
    stage.refusal = undefined;
    await look();
    expect(stage.registered).toEqual(["a"]);
    expect(selectors.trouble).toBe("");
  });

  test("of before a change that failed are asked for anew when it is taken back, and the warning goes", async () => {
    const { stage, calls, selectors, look } = staged(["a"], ["a"]);
    await look();
    stage.wanted = ["b"];
    stage.refusal = new NgrokdError("api", "ngrok says no");
    await look();
    expect(selectors.trouble).toContain("ngrok says no");
    stage.wanted = ["a"];
    stage.refusal = undefined;
    await look();
    expect(selectors.trouble).toBe("");
    expect(stage.registered).toEqual(["a"]);
    expect(calls.length).toBe(3);
  });

  test("of before a change whose answer was lost are told again when it is taken back", async () => {
    const { stage, selectors, look } = staged(["a"], ["a"]);
    await look();
    stage.wanted = ["b"];
    stage.lost = new NgrokdError("api", "no answer in time");
    await look();
    expect(stage.registered).toEqual(["b"]);
    stage.wanted = ["a"];
    stage.lost = undefined;
    await look();
    expect(selectors.trouble).toBe("");
    expect(stage.registered).toEqual(["a"]);
  });

  test("that say what the default is are told where somebody has written them, and not before", async () => {
    const { stage, calls, look } = staged(["set in the dashboard"], undefined);
    await look("k8sop_1");
    await look("k8sop_2");
    expect(calls).toEqual([]);
    stage.wanted = ["true"];
    await look("k8sop_2");
    expect(stage.registered).toEqual(["true"]);
  });

  test("that could never be told are no trouble any more once the setting has gone", async () => {
    const { stage, selectors, look } = staged(["set in the dashboard"], ["a"]);
    stage.refusal = new NgrokdError("api", "ngrok says no");
    await look();
    stage.wanted = undefined;
    stage.refusal = undefined;
    await look();
    expect(selectors.trouble).toBe("");
    expect(stage.registered).toEqual(["true"]);
  });
});
