// How schema.ts describes a setting: the value's schema with its documentation.

import { z } from "zod";
import { valueAt } from "./value-at.ts";
import type { Rule } from "./values.ts";

interface About {
  readonly description: string;
  /** The allowed values, in words that fit after "allowed:". */
  readonly allowed: string;
  /** For the documentation, if the default is empty. */
  readonly example?: unknown;
  /** True: never shown. A function returns the part that may be shown. */
  readonly secret?: true | ((value: string) => string);
  /** A running daemon cannot apply a change; its next start does. */
  readonly needsRestart?: true;
  /** For a list of maps: the allowed values of their fields. */
  readonly fields?: Readonly<Record<string, string>>;
}

export interface Described extends About {
  /** The dotted name, such as `server.log_level`. */
  readonly key: string;
  /** The names from the root of the file, as `["server", "log_level"]`. */
  readonly path: readonly string[];
  readonly kind: "text" | "number" | "boolean" | "list" | "numbers" | "map" | "maps";
  readonly default: unknown;
}

const abouts = z.registry<About>();

/** The allowed form of a group of settings. */
export const groupAllowed = "settings, each as `name: value` on a line of its own below it";

/** The schema of a value, with its documentation. */
export function setting<T extends z.ZodType>(schema: T, about: About): T {
  abouts.add(schema, about);
  return schema;
}

export function group<F extends z.ZodRawShape>(description: string, fields: F) {
  // prefault, not default: an absent group gets the defaults of its settings.
  const schema = z
    .object(fields)
    .readonly()
    .prefault({} as never);
  return setting(schema, { description, allowed: groupAllowed });
}

/** The settings of a schema's fields, in their order. */
export function settingsIn(
  fields: z.ZodRawShape,
  defaults: unknown,
  path: readonly string[] = [],
): Described[] {
  return Object.entries(fields).flatMap(([name, field]) => {
    const inner = fieldsOf(field);
    const at = [...path, name];
    return inner === undefined
      ? [describe(at, field as z.ZodType, valueAt(defaults, at))]
      : settingsIn(inner, defaults, at);
  });
}

/** The description of each group of settings, by its dotted name. */
export const groupsIn = (fields: z.ZodRawShape): Readonly<Record<string, string>> =>
  Object.fromEntries(groupsBelow([], fields));

function groupsBelow(path: readonly string[], fields: z.ZodRawShape): [string, string][] {
  return Object.entries(fields).flatMap(([name, field]): [string, string][] => {
    const inner = fieldsOf(field);
    if (inner === undefined) return [];
    const at = [...path, name];
    const description = abouts.get(field as z.ZodType)?.description ?? "";
    return [[at.join("."), description], ...groupsBelow(at, inner)];
  });
}

/** The fields of a group; undefined for a setting. */
function fieldsOf(field: unknown): z.ZodRawShape | undefined {
  return field instanceof z.ZodPrefault
    ? (field as ReturnType<typeof group>).unwrap().unwrap().shape
    : undefined;
}

function describe(path: readonly string[], schema: z.ZodType, usual: unknown): Described {
  const about = abouts.get(schema);
  if (about === undefined) throw new Error(`the setting ${path.join(".")} has no documentation`);
  const kind = about.fields === undefined ? kindOf(usual) : "maps";
  return { ...about, key: path.join("."), path, kind, default: usual };
}

function kindOf(usual: unknown): Described["kind"] {
  if (typeof usual === "number") return "number";
  if (typeof usual === "boolean") return "boolean";
  if (typeof usual === "string") return "text";
  if (!Array.isArray(usual)) return "map";
  return typeof usual[0] === "number" ? "numbers" : "list";
}

/** A text that `rule` allows, in the spelling of the rule. */
export function text(rule: Rule) {
  return z.string().transform((value, context) => {
    const canonical = rule(value);
    if (canonical !== undefined) return canonical;
    context.addIssue("not allowed");
    return z.NEVER;
  });
}
