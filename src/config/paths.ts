import { isAbsolute, resolve } from "node:path";
import { readFileIfThere } from "../files/atomic.ts";
import { NgrokdError } from "../model/error.ts";

export const defaultConfigPath = "/etc/ngrokd/config.yml";
/**
 * Here and not in schema.ts, since clients need it and nothing else of the
 * configuration: they start without zod.
 */
export const defaultSocketPath = "/var/run/ngrokd.sock";
export const defaultHostsPath = "/etc/hosts";

export type Env = Readonly<Record<string, string | undefined>>;

export interface ConfigPath {
  /** Absolute. */
  readonly path: string;
  /**
   * Who named it: `--config`, NGROKD_CONFIG, or nobody. A file that somebody
   * named must be there.
   */
  readonly origin: "flag" | "environment NGROKD_CONFIG" | "default";
}

/**
 * Where the configuration is. Empty variables count as absent, as in Docker's
 * env files.
 */
export function configPath(flag: string | undefined, env: Env): ConfigPath {
  if (flag !== undefined && flag !== "") return { path: resolve(flag), origin: "flag" };
  const named = env.NGROKD_CONFIG ?? "";
  return named === ""
    ? { path: defaultConfigPath, origin: "default" }
    : { path: resolve(named), origin: "environment NGROKD_CONFIG" };
}

/**
 * The daemon's socket, for its clients: flag, NGROKD_SOCKET, the file, the
 * default. A client may be a user who must not read the file, or may be asking
 * why the file is wrong, so what cannot be had from a file that nobody named
 * gives the default. Rejects only for a file that was named and cannot be read.
 */
export async function findSocketPath(options: {
  flag?: string | undefined;
  config?: string | undefined;
  env: Env;
}): Promise<string> {
  const { flag, config, env } = options;
  const direct = flag || env.NGROKD_SOCKET;
  if (direct) return resolve(direct);
  const { path, origin } = configPath(config, env);
  const text = await readFileIfThere(path).catch((error: unknown) => {
    if (origin === "default") return "";
    throw error;
  });
  if (text === undefined && origin !== "default") throw missingConfig(path);
  return (text?.includes("socket_path") && (await socketPathIn(text))) || defaultSocketPath;
}

async function socketPathIn(text: string): Promise<string | undefined> {
  const { parse } = await import("yaml");
  try {
    const path: unknown = parse(text, { logLevel: "silent", merge: true })?.server?.socket_path;
    return typeof path === "string" && isAbsolute(path) ? path : undefined;
  } catch {
    return undefined; // Not YAML: the daemon and `config check` say so.
  }
}

export function missingConfig(path: string): NgrokdError {
  const hint = `\`ngrokd config init --config ${path}\` writes one with every setting explained`;
  return new NgrokdError(
    "config",
    `Cannot read the configuration "${path}": there is no such file`,
    { hint },
  );
}
