/** config/ reads, checks, shows and changes the configuration file. */

import { closeSync, constants, createReadStream, openSync, readSync } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileError } from "../files/atomic.ts";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError } from "../model/error.ts";
import { type ProxyRules, parseProxyUrl } from "../model/proxy.ts";
import { keyOfFile } from "./key-file.ts";
import type { Loaded, Origin } from "./loaded.ts";
import { parseConfig, type Reading, wrongValues } from "./parse.ts";
import { configPath, type Env, hostsPathIn, missingConfig } from "./paths.ts";
import { configError, needsRoot, type Problem, withHint } from "./problem.ts";
import { sharedFolders } from "./profiles.ts";
import {
  type Config,
  configSchema,
  interpreted,
  type SettingKey,
  settings,
  settingsFor,
} from "./schema.ts";
import { valueAt, withValueAt } from "./value-at.ts";

export interface LoadOptions {
  /** The value of `--config`. */
  readonly file?: string | undefined;
  readonly env: Env;
  /** Settings from the command line; undefined if a flag is missing. */
  readonly flags?: Readonly<Partial<Record<SettingKey, string | number | boolean | undefined>>>;
  /** Counts instead of the text in the file, such as a draft of it. */
  readonly draft?: string | undefined;
}

export type { Loaded, Origin } from "./loaded.ts";

/**
 * The configuration in effect: flags over environment over file over defaults.
 * If the default file is missing, all defaults apply. A named file must exist.
 * Rejects with NgrokdError `config` (which lists every problem), `permission`
 * or `state`.
 */
export async function loadConfig(options: LoadOptions): Promise<Loaded> {
  const { problems, loaded } = await inspectConfig(options);
  if (loaded === undefined) throw configError(configPath(options.file, options.env).path, problems);
  return loaded;
}

export interface Inspection {
  readonly path: string;
  readonly exists: boolean;
  /** Whether the file exists and is empty: valid, but seldom intended. */
  readonly blank: boolean;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  /** Undefined if there are problems. */
  readonly loaded: Loaded | undefined;
}

/**
 * As {@link loadConfig}, but returns the problems. Rejects only if the file
 * cannot be read at all.
 */
export async function inspectConfig(options: LoadOptions): Promise<Inspection> {
  const { file, env, flags = {}, draft } = options;
  const { path, origin } = configPath(file, env);
  const source = draft === undefined ? await readConfigFile(path) : { text: draft, mode: 0o600 };
  if (source === undefined && origin !== "default") throw missingConfig(path);
  const reading = parseConfig(source?.text ?? "", path);
  const exists = source !== undefined;
  const blank = source?.text.trim() === "";
  const warnings = [...reading.warnings, ...openModeProblems(path, source?.mode, reading)];
  const overrides = overridesOf({ env, flags, keyOfFile: await keyOfFile(env) }, reading);
  const problems = [...reading.problems, ...wrongOverrides(overrides)];
  if (problems.length > 0) return { path, exists, blank, problems, warnings, loaded: undefined };
  const values = overrides.reduce(
    (values, { path, value }) => withValueAt(values, path, value),
    reading.values,
  );
  const hostsPath = hostsPathIn(env);
  const config = configSchema.parse(values, interpreted);
  const origins = originsOf(reading, overrides);
  const proxy = proxyRules(config, origins, env);
  const { ruleLines } = reading;
  const loaded = { config, origins, path, exists, hostsPath, proxy, ruleLines, warnings };
  const shared = sharedFolders(loaded);
  if (shared.length > 0)
    return { path, exists, blank, problems: shared, warnings, loaded: undefined };
  return { path, exists, blank, problems, warnings, loaded };
}

/** The place of a rule of `access.rules`, counted from 1. */
export const rulePlace = ({ path, ruleLines }: Pick<Loaded, "path" | "ruleLines">, n: number) =>
  `${path}:${ruleLines[n - 1] ?? 1}`;

/** A hundred times the size of a commented file with many overrides. */
const maxBytes = 1024 * 1024;

/**
 * The file's text and mode (permission bits), or undefined if there is no file.
 * Rejects with NgrokdError `config`, `permission` or `state`.
 */
export async function readConfigFile(
  path: string,
): Promise<{ text: string; mode: number } | undefined> {
  const bytes: Uint8Array[] = [];
  let mode: number;
  try {
    const info = await stat(path);
    mode = info.mode & 0o7777;
    const chunks = info.isFIFO() ? pipe(path) : createReadStream(path, { end: maxBytes });
    for await (const chunk of chunks) bytes.push(chunk);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    const told = fileError(`Cannot read the configuration "${path}"`, error);
    if (told.code === "state" && told.hint === undefined) throw withHint(told, fileHint);
    return needsRoot(told);
  }
  const all = Buffer.concat(bytes);
  if (all.length > maxBytes) throw unreadable(path, "it is larger than 1 MiB");
  try {
    return { text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(all), mode };
  } catch {
    throw unreadable(path, "it is not UTF-8 text");
  }
}

function unreadable(path: string, what: string): NgrokdError {
  return new NgrokdError("config", `Cannot read the configuration "${path}": ${what}`, {
    hint: fileHint,
  });
}

const fileHint =
  "name a YAML file, as `ngrokd config init` writes one, with --config or NGROKD_CONFIG";

/**
 * The bytes in a pipe, such as a shell's `<(…)`, until its writers have ended.
 * Opened without waiting: a pipe without a writer would hold the daemon for
 * ever, and every later reload with it.
 */
async function* pipe(path: string): AsyncGenerator<Uint8Array> {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const deadline = performance.now() + pipeMs;
  try {
    for (let size = 0; size <= maxBytes; ) {
      const chunk = readOrWait(file);
      if (chunk?.length === 0 && size > 0) return;
      if (chunk?.length === 0 || performance.now() > deadline)
        throw unreadable(path, "it is a pipe to which nothing writes");
      if (chunk === undefined) await setTimeout(10);
      else {
        yield chunk;
        size += chunk.length;
      }
    }
  } finally {
    closeSync(file);
  }
}

const pipeMs = 5000;

/** Undefined if nothing is there yet, and empty at the end. */
function readOrWait(file: number): Uint8Array | undefined {
  const chunk = Buffer.alloc(64 * 1024);
  try {
    return chunk.subarray(0, readSync(file, chunk));
  } catch (error) {
    if (errnoOf(error) === "EAGAIN") return undefined;
    throw error;
  }
}

function openModeProblems(path: string, mode: number | undefined, { values }: Reading): Problem[] {
  const key = settingsFor(values).some(
    ({ path, secret }) => secret === true && valueAt(values, path) !== undefined,
  );
  const password = String(valueAt(values, ["forward", "proxy_url"]) ?? "").includes("@");
  if (
    mode === undefined ||
    !(key || password) ||
    (mode & 0o007) === 0 ||
    process.platform === "win32"
  )
    return [];
  const secret = key ? "API key" : "proxy's password";
  const message = `every user of this machine can read the ${secret} in it; run \`chmod 600 ${path}\``;
  return [{ kind: "open-mode", source: path, message }];
}

interface Override {
  readonly key: SettingKey;
  readonly path: readonly string[];
  readonly value: unknown;
  readonly origin: Origin;
}

/**
 * The values from flags and environment. A path may be relative to the current
 * folder. An empty variable counts as absent.
 */
function overridesOf(
  { env, flags = {}, keyOfFile }: Omit<LoadOptions, "file"> & { keyOfFile: string | undefined },
  { values }: Reading,
): Override[] {
  return settings.flatMap(({ key, path }): Override[] => {
    const override = (origin: Origin, value: unknown): Override[] => [
      {
        key,
        path,
        origin,
        value: key === "server.socket_path" && typeof value === "string" ? resolve(value) : value,
      },
    ];
    if (flags[key] !== undefined) return override("flag", flags[key]);
    if (key === "api.key" && env.NGROK_API_KEY)
      return override("environment NGROK_API_KEY", env.NGROK_API_KEY);
    if (key === "api.key" && keyOfFile !== undefined)
      return override("environment NGROK_API_KEY_FILE", keyOfFile);
    if (key === "server.socket_path" && env.NGROKD_SOCKET)
      return override("environment NGROKD_SOCKET", env.NGROKD_SOCKET);
    // These variables concern all programs, so the file comes first.
    const proxy =
      key === "forward.proxy_url" &&
      valueAt(values, path) === undefined &&
      proxyVariables.find((name) => env[name]);
    if (proxy) return override(`environment ${proxy}`, env[proxy]);
    return [];
  });
}

/** In Go's order. HTTP_PROXY is left out: all requests use https. */
const proxyVariables = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] as const;

function proxyRules({ forward }: Config, origins: Loaded["origins"], env: Env): ProxyRules {
  const proxy = parseProxyUrl(forward.proxy_url);
  const fromEnvironment = origins["forward.proxy_url"].startsWith("environment");
  const usable = forward.proxy_url !== "" && proxy.ok ? proxy.value : undefined;
  const httpProxy = Boolean(env.HTTP_PROXY || env.http_proxy);
  return { proxy: usable, fromEnvironment, noProxy: env.NO_PROXY || env.no_proxy || "", httpProxy };
}

function wrongOverrides(overrides: readonly Override[]): Problem[] {
  return overrides.flatMap(({ path, value, origin }) =>
    wrongValues(withValueAt({}, path, value), () => ({ source: origin })),
  );
}

function originsOf({ values }: Reading, overrides: readonly Override[]): Loaded["origins"] {
  const origin = ({ key, path }: { key: string; path: readonly string[] }): Origin =>
    overrides.find((override) => override.key === key)?.origin ??
    (valueAt(values, path) === undefined ? "default" : "file");
  return Object.fromEntries(
    [...settings, ...settingsFor(values)].map((setting) => [setting.key, origin(setting)]),
  ) as Loaded["origins"];
}
