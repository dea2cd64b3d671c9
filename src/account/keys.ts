import { type Api, createApi, type ListMemory } from "../cloud/api.ts";
import type { Fetch } from "../cloud/exchange.ts";
import { isUnknownToNgrok } from "../cloud/refusal.ts";
import type { Loaded } from "../config/load.ts";
import { type ApiKey, parseApiKey } from "../model/api-key.ts";
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import { keyCommand } from "../model/state.ts";
import { userAgent } from "../version.ts";

/**
 * The API key in use, and earlier ones: the account of an earlier key may have
 * our operator.
 */
export interface ApiKeys {
  readonly inUse: ApiKey | undefined;
  /** ngrok's API with the key in use; undefined without one. */
  api(): Api | undefined;
  /**
   * Takes a text from the configuration. If it is not a key, there is no key.
   */
  use(text: string): void;
  /** Takes a key whose account has the operator in use. */
  useProven(key: ApiKey): void;
  /**
   * Rejects with NgrokdError `refused` if an earlier key's account has the
   * operator: the key in use then belongs to another account. Rejects with the
   * error of {@link Api} if an earlier key cannot be tried.
   */
  refuseAnotherAccount(operatorId: string, signal: AbortSignal): Promise<void>;
}

export function createApiKeys({
  loaded,
  fetch,
}: {
  readonly loaded: () => Loaded;
  readonly fetch: () => Fetch;
}): ApiKeys {
  let inUse = keyIn(loaded().config.api.key);
  const former = new Set<ApiKey>();
  const memory: ListMemory = new Map();
  const apiWith = (key: ApiKey): Api =>
    createApi({
      url: loaded().config.api.url,
      key,
      userAgent: userAgent(),
      fetch: fetch(),
      memory,
    });

  return {
    get inUse() {
      return inUse;
    },
    api: () => (inUse === undefined ? undefined : apiWith(inUse)),
    use(text) {
      const next = keyIn(text);
      if (inUse !== undefined) former.add(inUse);
      if (next !== undefined) former.delete(next);
      inUse = next;
    },
    useProven(key) {
      inUse = key;
      former.clear();
    },
    async refuseAnotherAccount(operatorId, signal) {
      const answers = await Promise.all(
        [...former].map((key) => isOperatorOf(apiWith(key), operatorId, signal)),
      );
      if (answers.includes(true)) throw anotherAccount(operatorId, loaded());
    },
  };
}

function keyIn(text: string): ApiKey | undefined {
  const key = parseApiKey(text);
  return key.ok ? key.value : undefined;
}

/** A refused key counts as a key of an account without the operator. */
async function isOperatorOf(api: Api, operatorId: string, signal: AbortSignal): Promise<boolean> {
  return await knowsOperator(api, operatorId, signal).catch((error: unknown) => {
    if (isNgrokdError(error, "unauthorized")) return false;
    throw error;
  });
}

/**
 * Whether the operator is in the account of the API's key. A 404 from a proxy
 * proves nothing, so it rejects as {@link Api} does.
 */
export async function knowsOperator(
  api: Api,
  operatorId: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    await api.getOperator(operatorId, signal);
    return true;
  } catch (error) {
    if (isUnknownToNgrok(error)) return false;
    throw error;
  }
}

const anotherAccount = (operatorId: string, loaded: Loaded): NgrokdError =>
  new NgrokdError(
    "refused",
    `The API key is of another account than this machine's operator ${operatorId}`,
    {
      hint: `put the old key back, or move this machine to the other account: ${keyCommand(loaded, " --switch-account")}`,
    },
  );
