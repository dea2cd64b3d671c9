import { createApi } from "../cloud/api.ts";
import type { Fetch } from "../cloud/exchange.ts";
import { setConfigValue } from "../config/edit.ts";
import { type ApiKey, parseApiKey } from "../model/api-key.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { userAgent } from "../version.ts";

export interface TryKeyOptions {
  readonly apiUrl: string;
  /** The operator that this machine is registered as, if it is: the key has to be of the same account. */
  readonly operatorId: string | undefined;
  /** The file that keeps the key. */
  readonly configPath: string;
  readonly fetch?: Fetch;
  readonly signal?: AbortSignal;
}

/**
 * Tries a key against ngrok's API and only then saves it: a wrong key, or an API that cannot be asked, changes nothing.
 * Rejects with NgrokdError `usage` (it is no key), `unauthorized`, `refused` (another account's), or what the API call met.
 */
export async function tryAndSaveApiKey(text: string, options: TryKeyOptions): Promise<ApiKey> {
  const { apiUrl, operatorId, configPath, fetch, signal } = options;
  const key = readApiKey(text);
  const api = createApi({ url: apiUrl, key, userAgent: userAgent(), ...(fetch === undefined ? {} : { fetch }) });
  try {
    await api.checkKey(signal);
    if (operatorId !== undefined) await api.getOperator(operatorId, signal);
  } catch (error) {
    throw unchanged(error, operatorId);
  }
  await setConfigValue(configPath, "api.key", key);
  return key;
}

/** Throws NgrokdError `usage` where the text is no API key. */
export function readApiKey(text: string): ApiKey {
  const key = parseApiKey(text.trim());
  if (key.ok) return key.value;
  throw new NgrokdError("usage", `This is not an API key: ${key.reason}`, {
    hint: "copy it whole from https://dashboard.ngrok.com/api-keys",
  });
}

function unchanged(error: unknown, operatorId: string | undefined): NgrokdError {
  if (isNgrokdError(error, "unauthorized")) {
    return new NgrokdError("unauthorized", `ngrok refused this API key, and nothing was changed: ${error.message}`, {
      hint: "make a key at https://dashboard.ngrok.com/api-keys (an authtoken is something else)",
      details: { ...error.details },
    });
  }
  if (isNgrokdError(error, "not-found") && operatorId !== undefined) {
    return new NgrokdError(
      "refused",
      `This key does not know the operator "${operatorId}" that this machine is registered as, and nothing was changed`,
      {
        hint: "it is most likely a key of another account, or the operator was deleted in ngrok's dashboard",
        details: { ...error.details },
      },
    );
  }
  const code = error instanceof NgrokdError ? error.code : "api";
  const hint = error instanceof NgrokdError ? error.hint : undefined;
  return new NgrokdError(code, `The key could not be tried, and nothing was changed: ${reasonOf(error)}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
