import { isDeepStrictEqual } from "node:util";
import type { Loaded, Origin } from "./loaded.ts";
import { redactedValue } from "./redact.ts";
import {
  type Config,
  type ProfileKey,
  profileNames,
  type Setting,
  type SettingKey,
  settings,
  settingsOfProfile,
} from "./schema.ts";
import { valueAt, withValueAt } from "./value-at.ts";

/** When a running daemon applies a change. */
export type Counts = "now" | "restart";

export interface Change {
  readonly key: SettingKey | ProfileKey;
  readonly counts: Counts;
  /** `from` and `to` are without secrets (see redactedValue). */
  readonly from: unknown;
  readonly to: unknown;
}

/** Pure: the settings that differ, in the order of the documentation. */
export function changesBetween(before: Loaded, after: Loaded): Change[] {
  const shared = settings.filter(({ key }) => key !== "profiles");
  return [...changesOf(shared, before, after), ...profileChanges(before, after)];
}

function changesOf<Key extends Change["key"]>(
  among: readonly Setting<Key>[],
  before: Loaded,
  after: Loaded,
): Change[] {
  return among
    .filter((setting) => differs(setting, before, after))
    .map((setting) => ({
      key: setting.key,
      counts: setting.needsRestart ? "restart" : "now",
      from: redactedValue(setting, before.config),
      to: redactedValue(setting, after.config),
    }));
}

/** A profile that is new or gone is one change, and so is their order. */
function profileChanges(before: Loaded, after: Loaded): Change[] {
  const [old, next] = [profileNames(before.config), profileNames(after.config)];
  const whole = (name: string, from: string, to: string): Change => ({
    key: name === "" ? "profiles" : `profiles.${name}`,
    counts: "now",
    from,
    to,
  });
  const staying = next.filter((name) => old.includes(name));
  const isMoved = !isDeepStrictEqual(
    staying,
    old.filter((name) => next.includes(name)),
  );
  return [
    ...old.filter((name) => !next.includes(name)).map((name) => whole(name, "there", "removed")),
    ...next.filter((name) => !old.includes(name)).map((name) => whole(name, "none", "added")),
    ...staying.flatMap((name) => changesOf(settingsOfProfile(name), before, after)),
    ...(isMoved ? [whole("", old.join(", "), next.join(", "))] : []),
  ];
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

function differs({ key, path }: Setting<string>, before: Loaded, after: Loaded): boolean {
  if (!isDeepStrictEqual(valueAt(before.config, path), valueAt(after.config, path))) return true;
  // An address from ngrok takes precedence over the default, but not over the
  // same text in the file.
  return (
    (key === "ingressEndpoint" || key.endsWith(".ingressEndpoint")) &&
    (originOf(key, before) === "default") !== (originOf(key, after) === "default")
  );
}

const originOf = (key: string, { origins }: Loaded): Origin =>
  (origins as Readonly<Record<string, Origin>>)[key] ?? "default";
