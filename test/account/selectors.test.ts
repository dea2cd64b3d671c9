import { describe, expect, test } from "bun:test";
import { createSelectors } from "../../src/account/selectors.ts";
import type { Api } from "../../src/cloud/api.ts";
import type { Loaded } from "../../src/config/load.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { memoryLog } from "../support/memory-log.ts";

const { signal } = new AbortController();

/**
 * ngrok has one operator with these selectors. `wanted` are the configured
 * ones, undefined if there are none. `refusal`: ngrok refuses every request.
 * `lost`: a change is made, but its reply is lost.
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
  test("are asked for once, and left alone if they are those of the configuration", async () => {
    const { calls, look } = staged(["a", "b"], ["a", "b"]);
    await look();
    await look();
    expect(calls).toEqual(["get k8sop_1"]);
  });

  test("are changed to those of the configuration, and back to the default", async () => {
    const { stage, log, look } = staged(["true"], ["a"]);
    await look();
    expect(stage.registered).toEqual(["a"]);
    expect(log.lines).toEqual(["info ngrok now selects the endpoints by these selectors: a"]);
    stage.wanted = undefined;
    await look();
    expect(stage.registered).toEqual(["true"]);
  });

  test("cost no call if the configuration never set them", async () => {
    const { stage, calls, look } = staged(["set in the dashboard"], undefined);
    await look();
    await look();
    expect(stage.registered).toEqual(["set in the dashboard"]);
    expect(calls).toEqual([]);
  });

  test("are asked for again for another operator", async () => {
    const { calls, look } = staged(["a"], ["a"]);
    await look("k8sop_1");
    await look("k8sop_2");
    expect(calls).toEqual(["get k8sop_1", "get k8sop_2"]);
  });

  test("are tried again at each pass if ngrok says no, with one log line", async () => {
    const { stage, log, selectors, look } = staged(["true"], ["a"]);
    stage.refusal = new NgrokdError("api", "ngrok says no (operation op_1)");
    await look();
    stage.refusal = new NgrokdError("api", "ngrok says no (operation op_2)");
    await look();
    expect(log.lines).toEqual([
      "warn Cannot set bound_endpoints.selectors at ngrok: ngrok says no (operation op_1)",
    ]);
    expect(selectors.trouble).toContain("ngrok says no");
    stage.refusal = undefined;
    await look();
    expect(stage.registered).toEqual(["a"]);
    expect(selectors.trouble).toBe("");
  });

  test("are asked for again when a failed change is undone, and the warning goes", async () => {
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

  test("are set again when a change whose answer was lost is undone", async () => {
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

  test("that equal the default are set only once they are configured", async () => {
    const { stage, calls, look } = staged(["set in the dashboard"], undefined);
    await look("k8sop_1");
    await look("k8sop_2");
    expect(calls).toEqual([]);
    stage.wanted = ["true"];
    await look("k8sop_2");
    expect(stage.registered).toEqual(["true"]);
  });

  test("that could never be set are no trouble once the setting is gone", async () => {
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
