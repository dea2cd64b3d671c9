import { quote } from "../model/parsed.ts";
import { closest } from "../model/similar.ts";
import { insteads } from "./instead.ts";
import type { Problem } from "./problem.ts";
import {
  configSchema,
  groups,
  interpreted,
  profileNames,
  profileSettings,
  type Setting,
  settings,
  settingsFor,
  settingsOfProfile,
} from "./schema.ts";
import { groupAllowed } from "./setting.ts";
import { isRecord, valueAt, withValueAt } from "./value-at.ts";
import { profileName } from "./values.ts";
import { parseYaml, type Yaml } from "./yaml.ts";

/** To look for a similar setting costs time. */
const mostNamed = 100;

export interface Reading {
  /** Only the settings in the text. They are valid if `problems` is empty. */
  readonly values: unknown;
  /** The line of each of `access.rules`. */
  readonly ruleLines: readonly number[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/**
 * Pure: the values in the text of a configuration file, and all its problems.
 * `source` is the name of the file in messages. Strict: if a value of the Go
 * program cannot be used by ngrokd, it is a problem and not a warning.
 */
export function parseConfig(
  text: string,
  source: string,
  { strict = false }: { strict?: boolean } = {},
): Reading {
  const parsed = parseYaml(text);
  if (!parsed.ok) {
    return {
      values: {},
      ruleLines: [],
      warnings: [],
      problems: parsed.complaints.map((complaint) => ({ kind: "syntax", source, ...complaint })),
    };
  }
  const { yaml } = parsed;
  const root = yaml.root ?? {};
  if (!isRecord(root)) {
    const message = `the file is ${describeValue(root)}; allowed: ${groupAllowed}`;
    return {
      values: {},
      ruleLines: [],
      warnings: [],
      problems: [{ kind: "wrong-value", source, ...yaml.place([]), message }],
    };
  }
  const oddities = yaml.warnings.map(
    (complaint): Problem => ({ kind: "syntax", source, ...complaint }),
  );
  const unknown = [...unknownKeys(root), ...unknownInProfiles(root)];
  const named = unknown.slice(0, mostNamed).map(
    (path): Problem => ({
      kind: "unknown-key",
      source,
      ...yaml.placeOfKey(path),
      ...unknownKey(path),
    }),
  );
  const more = unknown.length - named.length;
  if (more > 0)
    named.push({ kind: "unknown-key", source, message: `${more} more names are no settings` });
  const blame = (path: readonly string[]) => ({ source, ...yaml.place(path) });
  const known = knownValues(root, yaml);
  const { values, warnings } = strict
    ? { values: known, warnings: [] }
    : withInsteads(known, blame);
  return {
    values,
    ruleLines: ruleLines(root, yaml),
    problems: wrongValues(values, blame),
    warnings: [...oddities, ...named, ...warnings],
  };
}

function ruleLines(root: unknown, yaml: Yaml): number[] {
  const path = ["access", "rules"];
  const rules = valueAt(root, path);
  return Array.isArray(rules) ? rules.map((_, i) => yaml.place([...path, String(i)]).line) : [];
}

type Blame = (path: readonly string[]) => Pick<Problem, "source" | "line" | "column">;

/** The values with those of {@link insteads}, and a warning for each. */
function withInsteads(
  values: unknown,
  blame: Blame,
): { readonly values: unknown; readonly warnings: readonly Problem[] } {
  const warnings: Problem[] = [];
  let usable = values;
  for (const { key, path, secret } of settings) {
    const wrong = (value: unknown): Problem[] => wrongValues(withValueAt({}, path, value), blame);
    const value = valueAt(values, path);
    const [problem] = value === undefined ? [] : wrong(value);
    const instead = problem === undefined ? undefined : insteads[key]?.(value);
    if (problem === undefined || instead === undefined || wrong(instead).length > 0) continue;
    usable = withValueAt(usable, path, instead);
    const shown = isEmpty(instead) || secret !== undefined ? "none" : JSON.stringify(instead);
    const message = `${problem.message}; ${shown} is used instead`;
    warnings.push({ ...problem, kind: "other-value", key, message });
  }
  return { values: usable, warnings };
}

/**
 * Pure: a problem for each value that the schema rejects. `blame` returns the
 * source of a value.
 */
export function wrongValues(values: unknown, blame: Blame): Problem[] {
  const result = configSchema.safeParse(values, interpreted);
  if (result.success) return [];
  const wrong = result.error.issues.flatMap((issue): Wrong[] => {
    const path = issue.path.map(String);
    return issue.code === "unrecognized_keys"
      ? issue.keys.map((key) => ({ code: issue.code, path: [...path, key] }))
      : [{ code: issue.code, path }];
  });
  const byPath = new Map(wrong.map((one) => [one.path.join("\0"), one]));
  return [...byPath.values()].map(({ code, path }) => {
    const setting = settingAt(path);
    const key = nameOf(path, setting);
    const text = wrongText({ code, path }, setting, values);
    return { kind: "wrong-value", ...blame(path), key, message: `${key} ${text}` };
  });
}

interface Wrong {
  /** Of zod's issue. */
  readonly code: string | undefined;
  readonly path: readonly string[];
}

/** What is wrong at a path, in words that fit after its name. */
function wrongText(
  { code, path }: Wrong,
  setting: AnySetting | undefined,
  values: unknown,
): string {
  const { fields = {}, allowed = groupAllowed } = setting ?? {};
  const field = path[(setting?.path.length ?? 0) + 1] ?? "";
  if (code === "unrecognized_keys") {
    const names = Object.keys(fields);
    const near = closest(field, names);
    const meant = near === undefined ? "" : `; did you mean "${near}"?`;
    return `is no field of a rule (${names.join(", ")})${meant}`;
  }
  if (code === "invalid_key") return `has a name that is not allowed; allowed: ${allowed}`;
  const is = describeValue(foundAt(values, path), setting);
  return `is ${is}; allowed: ${fields[field] ?? allowed}`;
}

/**
 * The known settings, without empty values (`key:`, `""`, `[]`). Empty means
 * the default, as in the Go program.
 */
function knownValues(root: Readonly<Record<string, unknown>>, yaml: Yaml): unknown {
  const wrongGroups = groupPathsFor(root).filter(
    (path) => !isEmpty(valueAt(root, path)) && !isRecord(valueAt(root, path)),
  );
  // A profile without a value has every setting at its default.
  const profiles = profileNames(root).reduce<unknown>(
    (values, name) => withValueAt(values, ["profiles", name], {}),
    {},
  );
  const start = wrongGroups.reduce<unknown>(
    (values, path) => withValueAt(values, path, valueAt(root, path)),
    profiles,
  );
  return settingsFor(root).reduce<unknown>((values, { path, kind }) => {
    const value = valueAt(root, path);
    // For numbers, an empty list is a value.
    const isMissing = isEmpty(value) && !(kind === "numbers" && Array.isArray(value));
    return isMissing ? values : withValueAt(values, path, asKind(kind, value, path, yaml));
  }, start);
}

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === "" ||
  (Array.isArray(value) && value.length === 0);

/**
 * The value as the Go program's YAML reader, yaml.v3, decodes it. In
 * `selectors: [true]` the item is the text "true", and `yes` is a boolean.
 * Files of the Go program must load unchanged.
 */
function asKind(
  kind: Setting["kind"],
  value: unknown,
  path: readonly string[],
  yaml: Yaml,
): unknown {
  if (kind === "text" && ["number", "boolean"].includes(typeof value))
    return yaml.plain(path) ?? String(value);
  if (kind === "list" && Array.isArray(value))
    return value.map((item, i) => asKind("text", item, [...path, String(i)], yaml));
  if (kind === "map" && isRecord(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [
        name,
        asKind(Array.isArray(item) ? "list" : "text", item, [...path, name], yaml),
      ]),
    );
  }
  if (kind === "maps" && Array.isArray(value))
    return value.map((item, i) => fieldsAsKind(item, [...path, String(i)], yaml));
  if (kind === "boolean" && typeof value === "string") {
    const word = yaml.plain(path)?.toLowerCase() ?? "";
    if (["y", "yes", "on"].includes(word)) return true;
    if (["n", "no", "off"].includes(word)) return false;
  }
  return value;
}

/** The fields of a map are texts, or lists of them. */
function fieldsAsKind(item: unknown, path: readonly string[], yaml: Yaml): unknown {
  if (!isRecord(item)) return item;
  const fields = Object.entries(item).map(([name, field]) => [
    name,
    asKind(Array.isArray(field) ? "list" : "text", field, [...path, name], yaml),
  ]);
  return Object.fromEntries(fields);
}

const groupPaths = Object.keys(groups).map((name) => name.split("."));
const groupsOfProfile = groupPaths.filter((group) =>
  profileSettings.some(({ path }) => isBelow(path, group)),
);

function isBelow(path: readonly string[], group: readonly string[]): boolean {
  return path.length > group.length && group.every((name, i) => path[i] === name);
}

/** The places of groups; a profile is one too. */
const groupPathsFor = (root: unknown): string[][] => [
  ...groupPaths,
  ["profiles"],
  ...profileNames(root).flatMap((name) =>
    [[], ...groupsOfProfile].map((group) => ["profiles", name, ...group]),
  ),
];

/** The names below profiles that are no settings of a profile. */
function unknownInProfiles(root: unknown): string[][] {
  const below = (path: readonly string[]): string[][] =>
    Object.entries(recordAt(root, path)).flatMap(([name]) => {
      const [, , ...inside] = [...path, name];
      if (profileSettings.some((one) => one.path.join("\0") === inside.join("\0"))) return [];
      const isGroup = profileSettings.some((one) => isBelow(one.path, inside));
      return isGroup ? below([...path, name]) : [[...path, name]];
    });
  return profileNames(root).flatMap((name) => below(["profiles", name]));
}

function recordAt(root: unknown, path: readonly string[]): Readonly<Record<string, unknown>> {
  const value = valueAt(root, path);
  return isRecord(value) ? value : {};
}

function unknownKeys(
  values: Readonly<Record<string, unknown>>,
  group: readonly string[] = [],
): string[][] {
  const names = new Set(namesIn(group));
  return Object.entries(values).flatMap(([name, value]) => {
    const path = [...group, name];
    if (!Object.hasOwn(groups, path.join("."))) return names.has(name) ? [] : [path];
    return isRecord(value) ? unknownKeys(value, path) : [];
  });
}

function unknownKey(path: readonly string[]): Pick<Problem, "key" | "message"> {
  const [first, profile, ...inside] = path;
  if (first === "profiles" && profile !== undefined && inside.length > 0) {
    const name = inside.join(".");
    if (!settings.some(({ path }) => inside.every((part, i) => path[i] === part)))
      return unknownKey(inside);
    return { key: name, message: `${name} is of the whole daemon: set it outside the profiles` };
  }
  const key = path.join(".");
  // A text that is not like a name may be a secret, as in `{key:2cVr…}` without
  // the space.
  const withoutName =
    "there is no such setting (its name is not shown); is a space missing after a colon?";
  if (!/^[a-z][\w.-]{0,39}$/i.test(key)) return { message: withoutName };
  const similar = suggestion(path);
  const question = similar === undefined ? "" : `; did you mean "${similar}"?`;
  return { key, message: `there is no setting "${key}"${question}` };
}

/**
 * The setting that was probably meant. A typing error in the name is likelier
 * than the wrong group. The wrong group is likelier than both together.
 */
function suggestion(path: readonly string[]): string | undefined {
  const name = path.at(-1) ?? "";
  const group = path.slice(0, -1);
  // The older name in the Go program.
  if (path.join(".") === "net.network_accessible") return "net.listen_interface";
  const near = closest(name, namesIn(group));
  if (near !== undefined) return [...group, near].join(".");
  const lastNames = settings.map(({ path }) => path.at(-1) ?? "");
  const elsewhere = closest(name, lastNames);
  return elsewhere === undefined ? undefined : settings[lastNames.indexOf(elsewhere)]?.key;
}

/** The names of the settings and groups directly in a group. */
function namesIn(group: readonly string[]): string[] {
  const inside = [...settings.map(({ path }) => path), ...groupPaths].filter(
    (path) => path.length === group.length + 1,
  );
  return inside
    .filter((path) => group.every((name, i) => path[i] === name))
    .map((path) => path.at(-1) ?? "");
}

const isProfileName = (name: string): boolean => profileName(name) !== undefined;

type AnySetting = Setting<string>;

function settingAt(path: readonly string[]): AnySetting | undefined {
  const [first, profile] = path;
  const isInside = first === "profiles" && profile !== undefined && isProfileName(profile);
  const known: readonly AnySetting[] = isInside ? settingsOfProfile(profile) : settings;
  return known.find((setting) => setting.path.every((name, i) => path[i] === name));
}

/**
 * The name of a value in messages: `bound_endpoints.selectors[2]`, counted from
 * 1, or `net.overrides["api.example.com"]`.
 */
function nameOf(path: readonly string[], setting: AnySetting | undefined): string {
  const item = setting === undefined ? undefined : path[setting.path.length];
  if (setting === undefined || item === undefined) return path.join(".");
  if (setting.kind === "map") return `${setting.key}[${quote(item)}]`;
  const inside = path.slice(setting.path.length);
  return (
    setting.key + inside.map((name) => (isIndex(name) ? indexText(name) : fieldText(name))).join("")
  );
}

const isIndex = (name: string): boolean => /^\d+$/.test(name);
const indexText = (name: string): string => `[${Number(name) + 1}]`;
const fieldText = (name: string): string =>
  /^[a-z_]{1,40}$/i.test(name) ? `.${name}` : `[${quote(name)}]`;

/** The value at `path`, through lists as well; undefined if it is missing. */
function foundAt(values: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, name) => (Array.isArray(value) ? value[Number(name)] : valueAt(value, [name])),
    values,
  );
}

/**
 * A value in words that fit after "is". The value itself is shown only if it
 * cannot be a secret.
 */
function describeValue(value: unknown, setting?: AnySetting): string {
  if (Array.isArray(value)) return "a list";
  if (isRecord(value)) return "a map";
  if (value === null || value === undefined) return "empty";
  if (setting === undefined) return "a single value";
  if (setting.secret !== undefined)
    return `a text of ${String(value).length} characters (not shown)`;
  // A URL may contain a password.
  return typeof value === "string"
    ? quote(value.replace(/\/\/[^/@]*@/, "//[redacted]@"))
    : String(value);
}
