import { type Api, createApi } from "../cloud/api.ts";
import type { Fetch } from "../cloud/exchange.ts";
import {
  type Identity,
  type IdentityPaths,
  readIdentityFiles,
  restoreIdentityFiles,
} from "../cloud/identity-files.ts";
import { isUnknownToNgrok } from "../cloud/refusal.ts";
import { register, undoRegistration } from "../cloud/registration.ts";
import { setConfigValue } from "../config/write.ts";
import { type ApiKey, parseApiKey } from "../model/api-key.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { keyCommand } from "../model/state.ts";
import { userAgent } from "../version.ts";
import { hostFacts } from "./host-facts.ts";
import { knowsOperator } from "./keys.ts";

export interface TryKeyOptions {
  readonly apiUrl: string;
  /**
   * The operator of this machine, even if its certificate is unusable.
   * Undefined if the machine is not registered. The key must belong to the same
   * account.
   */
  readonly operatorId: string | undefined;
  /** The configuration file that holds the key. */
  readonly configPath: string;
  /** The profile to which the key belongs; undefined for the default one. */
  readonly profile?: string | undefined;
  /**
   * The previous key, if there is one. It shows whether the operator belongs to
   * another account, and deletes it there.
   */
  readonly oldKey?: ApiKey | undefined;
  /**
   * If the key belongs to another account, this machine moves there. Without it
   * such a key is refused.
   */
  readonly switchAccount?: SwitchOptions | undefined;
  readonly fetch?: Fetch;
  readonly signal?: AbortSignal;
}

export interface SwitchOptions {
  readonly paths: IdentityPaths;
  readonly selectors: readonly string[];
  readonly log: Log;
}

export interface KeySaved {
  readonly key: ApiKey;
  /**
   * If this machine has moved to the key's account: the identity there, and a
   * sentence about the old operator.
   */
  readonly moved: { readonly identity: Identity; readonly farewell: string } | undefined;
}

/**
 * Tries a key against ngrok's API, and saves it only if the API accepts it.
 * With a wrong key, or without a reply from the API, nothing changes. Rejects
 * with NgrokdError `usage` (not a key), `unauthorized`, `refused` (of another
 * account), or the error of the API call.
 */
export async function tryAndSaveApiKey(text: string, options: TryKeyOptions): Promise<KeySaved> {
  const { operatorId, configPath, switchAccount, signal } = options;
  const key = readApiKey(text);
  const api = apiWith(key, options);
  const isOurs = await attempt("The key could not be checked", async () => {
    await api.checkKey(signal);
    return operatorId === undefined || (await knowsOperator(api, operatorId, signal));
  });
  if (operatorId === undefined || isOurs) {
    await attempt("ngrok accepts the key, but it could not be saved", () =>
      setConfigValue(configPath, "api.key", key, options.profile),
    );
    return { key, moved: undefined };
  }
  if (switchAccount === undefined) throw await anotherAccountError(operatorId, options);
  const to = { ...switchAccount, from: operatorId };
  const unmoved = "ngrok accepts the key, but this machine could not be moved to its account";
  return { key, moved: await attempt(unmoved, () => move(key, api, to, options)) };
}

/**
 * Resolves if ngrok accepts the key. Rejects as {@link tryAndSaveApiKey} does,
 * and saves nothing.
 */
export const tryApiKey = (
  key: ApiKey,
  options: Pick<TryKeyOptions, "apiUrl" | "fetch" | "signal">,
) => attempt("The key could not be checked", () => apiWith(key, options).checkKey(options.signal));

/** Throws NgrokdError `usage` if the text is not an API key. */
export function readApiKey(text: string): ApiKey {
  const key = parseApiKey(text.trim());
  if (key.ok) return key.value;
  throw new NgrokdError("usage", `This is not an API key: ${key.reason}`, {
    hint: "copy it whole from https://dashboard.ngrok.com/api-keys",
  });
}

/**
 * Registers in the key's account with the existing key pair. Before anything is
 * saved, ngrok must reply to a request for the new operator. The identity's
 * files are saved before the configuration's key. A crash between the two
 * leaves the new operator with the API key of the old account, which does not
 * have it. The daemon then registers with the old account again, and finds its
 * old operator by the key pair. So the old state is back. The other order would
 * lose the only key that can still delete the old operator.
 */
async function move(
  key: ApiKey,
  api: Api,
  to: SwitchOptions & { from: string },
  options: TryKeyOptions,
): Promise<KeySaved["moved"]> {
  const { paths, from, selectors, log } = to;
  const { signal } = options;
  const prove = (id: string): Promise<unknown> => api.boundEndpoints(id, signal);
  const more = signal === undefined ? {} : { signal };
  const facts = { selectors };
  const before = await readIdentityFiles(paths);
  const identity = await register({
    api,
    paths,
    facts,
    host: hostFacts(),
    again: true,
    leavesAccount: true,
    prove,
    log,
    ...more,
  });
  try {
    await setConfigValue(options.configPath, "api.key", key, options.profile);
  } catch (error) {
    const restored = restoreIdentityFiles(paths, before);
    await restored.catch((failure: unknown) =>
      log.warn(`The previous identity could not be restored: ${reasonOf(failure)}`),
    );
    throw await undoRegistration(api, identity.operatorId, error);
  }
  return { identity, farewell: await farewell(from, options) };
}

async function farewell(operatorId: string, options: TryKeyOptions): Promise<string> {
  const { oldKey } = options;
  const stays = `delete the operator ${operatorId} in the dashboard of the account that this machine has left`;
  if (oldKey === undefined) return `There was no key for the old account: ${stays}.`;
  try {
    await apiWith(oldKey, options).deleteOperator(operatorId);
    return `The operator ${operatorId} of the old account is deleted.`;
  } catch (error) {
    if (isUnknownToNgrok(error))
      return `The operator ${operatorId} of the old account was gone already.`;
    return `The old account could not be cleaned up: ${reasonOf(error)}; ${stays}.`;
  }
}

async function anotherAccountError(
  operatorId: string,
  options: TryKeyOptions,
): Promise<NgrokdError> {
  const { oldKey, signal } = options;
  const known =
    oldKey === undefined
      ? undefined
      : await knowsOperator(apiWith(oldKey, options), operatorId, signal).catch(() => undefined);
  const why =
    known === true
      ? "it is a key of another account, since the present key still knows the operator"
      : known === false
        ? "the operator was deleted in ngrok's dashboard: the daemon makes another by itself"
        : "it is most likely a key of another account, or the operator was deleted in ngrok's dashboard";
  return new NgrokdError(
    "refused",
    `This key does not know this machine's operator "${operatorId}", and nothing was changed`,
    {
      hint: `${why}\nto move this machine to the key's account: ${keyCommand(options, " --switch-account")}`,
    },
  );
}

function apiWith(key: ApiKey, { apiUrl, fetch }: Pick<TryKeyOptions, "apiUrl" | "fetch">): Api {
  return createApi({
    url: apiUrl,
    key,
    userAgent: userAgent(),
    ...(fetch === undefined ? {} : { fetch }),
  });
}

const keepUnchecked = "to save the key without a check: `sudo ngrokd set-api-key --offline`";

/**
 * Runs `work`. If it fails, the error begins with `prevented` and says that
 * nothing has changed.
 */
async function attempt<T>(prevented: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isNgrokdError(error, "unauthorized")) {
      throw new NgrokdError(
        "unauthorized",
        `ngrok refused this API key, and nothing was changed: ${error.message}`,
        {
          hint: "make a key at https://dashboard.ngrok.com/api-keys (an authtoken is something else)",
          details: { ...error.details },
        },
      );
    }
    const code = error instanceof NgrokdError ? error.code : "api";
    const unasked = ["network", "timeout", "tls"].includes(code);
    const own = error instanceof NgrokdError ? error.hint : undefined;
    const hint = [own, unasked ? keepUnchecked : undefined].filter((text) => text).join("\n");
    throw new NgrokdError(code, `${prevented}, and nothing was changed: ${reasonOf(error)}`, {
      cause: error,
      ...(hint === "" ? {} : { hint }),
    });
  }
}
