import { isAbsolute, resolve } from "node:path";
import { readFileIfThere } from "../files/atomic.ts";
import { NgrokdError } from "../model/error.ts";

// The places that a command must know before it reads the configuration. This
// file does not import zod, so that the clients of the daemon start fast.

export const defaultConfigPath = "/etc/ngrokd/config.yml";
export const defaultSocketPath = "/var/run/ngrokd.sock";
export const defaultHostsPath = "/etc/hosts";

export type Env = Readonly<Record<string, string | undefined>>;

export interface ConfigPath {
  /** Absolute. */
  readonly path: string;
  /**
   * The source of the path: `--config`, NGROKD_CONFIG, or neither. With one of
   * the first two, the file must exist.
   */
  readonly origin: "flag" | "environment NGROKD_CONFIG" | "default";
}

/**
 * The path of the configuration file. An empty variable counts as absent, as in
 * Docker's env files.
 */
export function configPath(flag: string | undefined, env: Env): ConfigPath {
  if (flag !== undefined && flag !== "") return { path: resolve(flag), origin: "flag" };
  const variable = env.NGROKD_CONFIG ?? "";
  return variable === ""
    ? { path: defaultConfigPath, origin: "default" }
    : { path: resolve(variable), origin: "environment NGROKD_CONFIG" };
}

/** The absolute path of the hosts file: NGROKD_HOSTS_PATH or the default. */
export const hostsPathIn = (env: Env): string => resolve(env.NGROKD_HOSTS_PATH || defaultHostsPath);

/**
 * The path of the daemon's socket, for its clients. It comes from the flag,
 * NGROKD_SOCKET, the file or the default, in this order. A client may lack the
 * right to read the file, or may ask for the file's faults. So if the default
 * file cannot be read, the default socket is used. Rejects only if a named file
 * cannot be read.
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
