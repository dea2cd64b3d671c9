import type { Loaded, Origin } from "./loaded.ts";
import {
  type Config,
  type ProfileKey,
  type Setting,
  type SettingKey,
  settingsFor,
} from "./schema.ts";
import { valueAt } from "./value-at.ts";

export interface RedactedSetting {
  readonly key: SettingKey | ProfileKey;
  /** The value in effect; a secret part is replaced by a description. */
  readonly value: unknown;
  readonly origin: Origin;
}

/** The configuration in effect, without secrets. */
export function redactedSettings({ config, origins }: Loaded): RedactedSetting[] {
  return settingsFor(config).map((setting) => ({
    key: setting.key,
    value: redactedValue(setting, config),
    origin: origins[setting.key] ?? "default",
  }));
}

/** The value of one setting, without secrets. */
export function redactedValue({ path, secret }: Setting<string>, config: Config): unknown {
  const value = valueAt(config, path);
  const shown = secret === true ? secretInWords : secret;
  return shown === undefined ? value : shown(String(value));
}

/**
 * A description of a secret. Its last four characters are enough to tell two
 * keys apart. For a short secret they are left out, since they would help to
 * guess the rest.
 */
export function secretInWords(secret: string): string {
  if (secret === "") return "not set";
  return secret.length > 20 ? `set (ends in …${secret.slice(-4)})` : "set";
}
