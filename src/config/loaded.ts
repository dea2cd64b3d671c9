import type { ProxyRules } from "../model/proxy.ts";
import type { Problem } from "./problem.ts";
import type { Config, ProfileKey, SettingKey } from "./schema.ts";

export type Origin = "flag" | `environment ${string}` | "file" | "default";

export interface Loaded {
  readonly config: Config;
  /** The origin of each value. */
  readonly origins: Readonly<Record<SettingKey, Origin> & Partial<Record<ProfileKey, Origin>>>;
  /**
   * The profile whose configuration this is (see ofProfile); undefined for the
   * whole.
   */
  readonly profile?: string;
  /** The whole configuration, if this is the one of a profile. */
  readonly whole?: Loaded;
  /** The absolute path of the configuration file. */
  readonly path: string;
  /** Whether that file exists. */
  readonly exists: boolean;
  /** The absolute path of the hosts file. */
  readonly hostsPath: string;
  /** From `forward.proxy_url`, or else from the environment; with NO_PROXY. */
  readonly proxy: ProxyRules;
  /** The line of each of `access.rules` in the file. */
  readonly ruleLines: readonly number[];
  /** Problems that do not stop the daemon, such as unknown keys. */
  readonly warnings: readonly Problem[];
}
