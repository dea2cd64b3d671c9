import { isDeepStrictEqual } from "node:util";
import type { Loaded } from "./load.ts";
import { redactedValue } from "./redact.ts";
import { type Config, type Setting, type SettingKey, settings } from "./schema.ts";
import { valueAt, withValueAt } from "./value-at.ts";

/** When a running daemon applies a change. */
export type Counts = "now" | "restart";

export interface Change {
  readonly key: SettingKey;
  readonly counts: Counts;
  /** `from` and `to` are without secrets (see redactedValue). */
  readonly from: unknown;
  readonly to: unknown;
}

/** Pure: the settings that differ, in the order of the documentation. */
export function changesBetween(before: Loaded, after: Loaded): Change[] {
  return settings
    .filter((setting) => differs(setting, before, after))
    .map((setting) => ({
      key: setting.key,
      counts: setting.needsRestart ? "restart" : "now",
      from: redactedValue(setting, before.config),
      to: redactedValue(setting, after.config),
    }));
}

/**
 * Pure: `after`, but with the values of `before` for all settings that need a
 * restart.
 */
export function afterReload(before: Loaded, after: Loaded): Loaded {
  const staying = settings.filter(({ needsRestart }) => needsRestart);
  const config = staying.reduce<unknown>(
    (config, { path }) => withValueAt(config, path, valueAt(before.config, path)),
    after.config,
  );
  return { ...after, config: config as Config };
}

function differs({ key, path }: Setting, before: Loaded, after: Loaded): boolean {
  if (!isDeepStrictEqual(valueAt(before.config, path), valueAt(after.config, path))) return true;
  // An address from ngrok takes precedence over the default, but not over the
  // same text in the file.
  return (
    key === "ingressEndpoint" &&
    (before.origins[key] === "default") !== (after.origins[key] === "default")
  );
}
