import { isDeepStrictEqual } from "node:util";
import type { Api } from "../cloud/api.ts";
import type { Loaded } from "../config/load.ts";
import { reasonOf } from "../model/error.ts";
import { sameFailure } from "../model/failure.ts";
import type { Log } from "../model/log.ts";

/** The selectors by which ngrok chooses the endpoints of our operator. */
export interface Selectors {
  /**
   * One step of a pass. If ngrok uses other selectors, it sets the configured
   * ones there. It costs one call at the start, and one after each change. If
   * the selectors were never configured, it makes no call, and the dashboard
   * sets them. A failure is logged, and the next pass tries again. It does not
   * fail this pass, since ngrok keeps its selectors. Rejects only with the
   * reason of `signal`.
   */
  ensure(api: Api, operatorId: string, signal: AbortSignal): Promise<void>;
  /** Why ngrok does not use the configured selectors; "" if it does. */
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
   * The operator and selectors that ngrok has confirmed; undefined: unknown.
   */
  let confirmed: string | undefined;
  /**
   * Whether the selectors were configured at any time since the start. If the
   * setting is removed later, the default is set at ngrok.
   */
  let wasConfigured = false;
  let trouble = "";

  return {
    async ensure(api, operatorId, signal) {
      const { config, origins } = loaded();
      const { selectors } = config.bound_endpoints;
      wasConfigured ||= origins["bound_endpoints.selectors"] !== "default";
      const wanted = JSON.stringify([operatorId, selectors]);
      if (!wasConfigured || confirmed === wanted) return;
      // A failed call may have had its effect, with only its reply lost.
      confirmed = undefined;
      try {
        const operator = await api.getOperator(operatorId, signal);
        if (!isDeepStrictEqual(operator.selectors, selectors)) {
          await api.updateOperator(
            operatorId,
            { binding: { endpoint_selectors: selectors } },
            signal,
          );
          log.info(`ngrok now selects the endpoints by these selectors: ${selectors.join(", ")}`);
        }
        confirmed = wanted;
        trouble = "";
      } catch (error) {
        if (signal.aborted) throw error;
        const before = trouble;
        trouble = `Cannot set bound_endpoints.selectors at ngrok: ${reasonOf(error)}`;
        if (!sameFailure(trouble, before)) log.warn(trouble);
      }
    },
    get trouble() {
      return trouble;
    },
  };
}
