import { isDeepStrictEqual } from "node:util";
import type { Api } from "../cloud/api.ts";
import type { Loaded } from "../config/load.ts";
import { reasonOf } from "../model/error.ts";
import { sameFailure } from "../model/failure.ts";
import type { Log } from "../model/log.ts";

/** The selectors by which ngrok chooses our operator's endpoints. */
export interface Selectors {
  /**
   * A pass's look: has ngrok choose by those of the configuration where it goes
   * by others. Costs a call once, and after each change, and none where the
   * configuration has never said anything: then it is ngrok's dashboard that
   * says it. A failure is told and tried again at the next pass; it does not
   * fail this one, since ngrok then goes on with what it has.
   */
  ensure(api: Api, operatorId: string, signal: AbortSignal): Promise<void>;
  /**
   * Why ngrok does not go by those of the configuration; empty where it does.
   */
  readonly trouble: string;
}

export function createSelectors({
  loaded,
  log,
}: {
  readonly loaded: () => Loaded;
  readonly log: Log;
}): Selectors {
  /**
   * What ngrok goes by, as it said itself; undefined where that is not known.
   */
  let settled: string | undefined;
  /**
   * Whether the configuration has said anything since the start: what was asked
   * for is taken back where the setting goes.
   */
  let said = false;
  let trouble = "";

  return {
    async ensure(api, operatorId, signal) {
      const { config, origins } = loaded();
      const { selectors } = config.bound_endpoints;
      said ||= origins["bound_endpoints.selectors"] !== "default";
      const wanted = JSON.stringify([operatorId, selectors]);
      if (!said || settled === wanted) return;
      // A call that fails may have had its effect all the same, and only its
      // answer was lost.
      settled = undefined;
      try {
        const operator = await api.getOperator(operatorId, signal);
        if (!isDeepStrictEqual(operator.selectors, selectors)) {
          await api.updateOperator(
            operatorId,
            { binding: { endpoint_selectors: selectors } },
            signal,
          );
          log.info(
            `ngrok chooses the endpoints by these selectors from now on: ${selectors.join(", ")}`,
          );
        }
        settled = wanted;
        trouble = "";
      } catch (error) {
        if (signal.aborted) throw error;
        const before = trouble;
        trouble = `ngrok was not told of bound_endpoints.selectors: ${reasonOf(error)}`;
        if (!sameFailure(trouble, before)) log.warn(trouble);
      }
    },
    get trouble() {
      return trouble;
    },
  };
}
