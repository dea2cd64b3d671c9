import type { Loaded, Origin } from "./load.ts";
import { type Config, type Setting, type SettingKey, settings, valueAt } from "./schema.ts";

export interface ShownSetting {
  readonly key: SettingKey;
  /**
   * As in effect; a secret, or the secret part of it, is replaced by words
   * about it.
   */
  readonly value: unknown;
  readonly origin: Origin;
}

/** The configuration in effect, fit to be shown to anybody. */
export function showConfig({ config, origins }: Loaded): ShownSetting[] {
  return settings.map((setting) => ({
    key: setting.key,
    value: shownValue(setting, config),
    origin: origins[setting.key],
  }));
}

/** The value of one setting, fit to be shown to anybody. */
export function shownValue({ path, secret }: Setting, config: Config): unknown {
  const value = valueAt(config, path);
  const shown = secret === true ? secretInWords : secret;
  return shown === undefined ? value : shown(String(value));
}

/**
 * The last four characters, enough to tell two keys apart, and only of texts so
 * long that they do not help to guess the rest.
 */
export function secretInWords(secret: string): string {
  if (secret === "") return "not set";
  return secret.length > 20 ? `set (ends in …${secret.slice(-4)})` : "set";
}
