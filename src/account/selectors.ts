import { isDeepStrictEqual } from "node:util";
import type { Api } from "../cloud/api.ts";
import type { Loaded } from "../config/load.ts";
import { reasonOf } from "../model/error.ts";
import { sameFailure } from "../model/failure.ts";
import type { Log } from "../model/log.ts";

/** The selectors by which ngrok chooses the endpoints of our operator. */
export interface Selectors {
  /**
   * A pass's part: sets the configured selectors at ngrok if it uses others.
   * Costs one call at the start, and one after each change. A configuration
   * that never set them costs none: then the dashboard sets them. A failure is
   * told and tried again at the next pass. It does not fail this one, since
   * ngrok goes on with its selectors. Rejects only with the reason of `signal`.
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
      // A failed call may have had its effect: only its answer was lost.
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
