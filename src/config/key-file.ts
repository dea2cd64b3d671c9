import { readFileIfThere } from "../files/atomic.ts";
import { NgrokdError } from "../model/error.ts";
import type { Env } from "./paths.ts";

const mostBytes = 64 * 1024;

/**
 * The API key in the file that NGROK_API_KEY_FILE names, such as a secret of a
 * container. Undefined if the key comes from elsewhere. Rejects with `config`
 * if the file has no key.
 */
export async function keyOfFile(env: Env): Promise<string | undefined> {
  const path = env.NGROK_API_KEY_FILE;
  if (!path || env.NGROK_API_KEY) return undefined;
  return await keyIn(
    path,
    "NGROK_API_KEY_FILE names it; write the key into it, or unset the variable",
  );
}

/** Rejects with `config` and this hint if the file has no key. */
export async function keyIn(path: string, hint: string): Promise<string> {
  const text = await readFileIfThere(path, mostBytes);
  if (text !== undefined && text.trim() !== "") return text;
  const why = text === undefined ? "there is no such file" : "it is empty";
  throw new NgrokdError("config", `Cannot read the API key in "${path}": ${why}`, { hint });
}
