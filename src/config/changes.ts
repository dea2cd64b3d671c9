import { isDeepStrictEqual } from "node:util";
import type { Loaded } from "./load.ts";
import {
  type Config,
  type Setting,
  type SettingKey,
  settings,
  valueAt,
  withValueAt,
} from "./schema.ts";
import { shownValue } from "./show.ts";

/**
 * When a change counts for a daemon that runs; `never`: the setting is without
 * effect in this version.
 */
export type Counts = "now" | "restart" | "never";

export interface Change {
  readonly key: SettingKey;
  readonly counts: Counts;
  /** Both fit to be shown: secrets are replaced by words about them. */
  readonly from: unknown;
  readonly to: unknown;
}

/**
 * Pure: the settings that differ, in the order in which they are documented.
 */
export function changesBetween(before: Loaded, after: Loaded): Change[] {
  return settings
    .filter((setting) => differs(setting, before, after))
    .map((setting) => ({
      key: setting.key,
      counts: setting.notYet ? "never" : setting.needsRestart ? "restart" : "now",
      from: shownValue(setting, before.config),
      to: shownValue(setting, after.config),
    }));
}

/**
 * Pure: `after`, except for what cannot change while the daemon runs: that
 * stays as `before` has it.
 */
export function takenOver(before: Loaded, after: Loaded): Loaded {
  const staying = settings.filter(({ needsRestart }) => needsRestart);
  const config = staying.reduce<unknown>(
    (config, { path }) => withValueAt(config, path, valueAt(before.config, path)),
    after.config,
  );
  return { ...after, config: config as Config };
}

function differs({ key, path }: Setting, before: Loaded, after: Loaded): boolean {
  if (!isDeepStrictEqual(valueAt(before.config, path), valueAt(after.config, path))) return true;
  // Its default stands back behind the address that ngrok names; the same text
  // in the file does not.
  return (
    key === "ingressEndpoint" &&
    (before.origins[key] === "default") !== (after.origins[key] === "default")
  );
}
