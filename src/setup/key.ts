import { readApiKey, tryApiKey } from "../account/set-api-key.ts";
import { keyIn } from "../config/key-file.ts";
import type { Loaded } from "../config/loaded.ts";
import type { Env } from "../config/paths.ts";
import { keysOf } from "../config/profiles.ts";
import type { ApiKey } from "../model/api-key.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { createFetch } from "../net/fetch.ts";
import type { Net } from "../net/types.ts";
import type { Say } from "../terminal/say.ts";
import { cancelled } from "./ask.ts";
import type { KeyAnswer } from "./facts.ts";

export interface KeyOptions {
  readonly net: Net;
  readonly env: Env;
  readonly say: Say;
  readonly loaded: Loaded;
  /** The value of `--api-key-file`; `-` is stdin. */
  readonly file: string | undefined;
  /** The key is saved without a question to ngrok. */
  readonly offline: boolean;
  readonly dryRun: boolean;
  readonly readStdin: () => Promise<string>;
  /** Undefined if nobody can be asked. */
  readonly askKey: (() => Promise<string>) | undefined;
}

/** How often a person may type a key that ngrok refuses. */
const mostTries = 3;
const patienceMs = 20_000;

/**
 * The key to save, which ngrok has accepted if it could be asked. Rejects with
 * NgrokdError `usage` if there is none, and `unauthorized` if ngrok refuses it.
 */
export async function keyAnswer(options: KeyOptions): Promise<KeyAnswer> {
  const given = await givenKey(options);
  const { say, loaded, askKey, dryRun } = options;
  if (given !== undefined) {
    const key = readApiKey(given);
    if (key === loaded.config.api.key) return { kind: "keep" };
    return await checked(key, options);
  }
  if (keysOf(loaded).length > 0) return { kind: "keep" };
  if (dryRun) return { kind: "ask" };
  if (askKey === undefined)
    throw new NgrokdError("usage", "No API key was given, and there is no terminal to ask on", {
      hint:
        "--api-key-file FILE names a file with a key of https://dashboard.ngrok.com/api-keys, " +
        "and --api-key-file - reads it from stdin",
    });
  say.note("Your API key: https://dashboard.ngrok.com/api-keys (not an authtoken).");
  for (let tries = 1; ; tries += 1) {
    try {
      return await checked(readApiKey(await askKey()), options);
    } catch (error) {
      if (isNgrokdError(error, "cancelled")) throw cancelled(error);
      const again = isNgrokdError(error, "unauthorized") || isNgrokdError(error, "usage");
      if (!again || tries === mostTries) throw error;
      say.warn(reasonOf(error));
    }
  }
}

async function givenKey({ file, env, readStdin }: KeyOptions): Promise<string | undefined> {
  if (file === "-") return await readStdin();
  if (file !== undefined)
    return await keyIn(file, "--api-key-file names it; write the key into it");
  if (env.NGROK_API_KEY) return env.NGROK_API_KEY;
  const path = env.NGROK_API_KEY_FILE;
  return path ? await keyIn(path, "NGROK_API_KEY_FILE names it; write the key into it") : undefined;
}

async function checked(key: ApiKey, options: KeyOptions): Promise<KeyAnswer> {
  const { net, say, loaded, offline, dryRun } = options;
  const unchecked = { kind: "save", key, isChecked: false } as const;
  if (offline || dryRun) return unchecked;
  const fetch = createFetch(net, loaded.proxy);
  const signal = AbortSignal.timeout(patienceMs);
  try {
    await say.awaiting("Waiting for ngrok to check the key", () =>
      tryApiKey(key, { apiUrl: loaded.config.api.url, fetch, signal }),
    );
  } catch (error) {
    if (isNgrokdError(error, "unauthorized")) throw error;
    say.warn(reasonOf(error));
    return unchecked;
  }
  return { ...unchecked, isChecked: true };
}
