/** The configuration as types and lists, from the settings in groups/. */
import { z } from "zod";
import { ownShape } from "./groups/groups.ts";
import { nameLists } from "./groups/names-group.ts";
import { type Described, group, groupsIn, setting, settingsIn, text } from "./setting.ts";
import { isRecord, valueAt } from "./value-at.ts";
import * as values from "./values.ts";

/** The settings of one more account; all others are those of the daemon. */
const profileShape = {
  api: ownShape.api,
  ingressEndpoint: ownShape.ingressEndpoint,
  server: group("The files of the profile.", {
    client_cert: setting(text(values.optional(values.path)).default(""), {
      description: "The client certificate. The profile's state is kept in the same folder.",
      allowed: "an absolute path",
    }),
    client_key: setting(text(values.optional(values.path)).default(""), {
      description: "The private key of the client certificate.",
      allowed: "an absolute path",
    }),
  }),
  bound_endpoints: ownShape.bound_endpoints,
  names: group(
    "Rules for the names of the profile. A list without entries is that of the top level.",
    nameLists,
  ),
};

const shape = {
  ...ownShape,
  profiles: setting(
    z.record(text(values.profileName), z.object(profileShape).readonly()).default({}).readonly(),
    {
      description:
        "More accounts that this daemon serves, by a name of your choice. The settings outside " +
        "are the profile `default`, which is used if it has a key or if there is no other. A " +
        "profile has its own api, ingressEndpoint, bound_endpoints, server.client_cert and " +
        "server.client_key, each with the same default; its files are in profiles/NAME of the " +
        "state folder. It may also have names.allow, names.deny and names.only; a list without " +
        "entries is that of the top level. If two profiles have a host name, the first one in " +
        "this order serves it.",
      allowed:
        "names of at most 32 small letters, digits, - and _ that begin with a letter, each with " +
        "its settings below it",
      example: { work: { api: { key: "key-of-the-other-account" } } },
    },
  ),
};

/**
 * For each parse of a configuration. There are few, so to compile a parser
 * would cost more than it saves.
 */
export const interpreted = { jitless: true } as const;

export const configSchema = z.object(shape).readonly();
export type Config = z.output<typeof configSchema>;
export type ProfileConfig = Config["profiles"][string];

/** A setting's dotted name, such as `server.log_level`. */
export type SettingKey = KeysOf<Config>;
type KeysOf<C> = {
  [K in keyof C & string]: IsValue<C[K]> extends true ? K : `${K}.${KeysOf<C[K]>}`;
}[keyof C & string];
/** A map with names chosen by the user is a value and not a group. */
type IsValue<T> = T extends string | number | boolean | readonly unknown[]
  ? true
  : string extends keyof T
    ? true
    : false;

/** A setting's dotted name below a profile, or the profile itself. */
export type ProfileKey = `profiles.${string}`;

/** Every setting at its default. */
export const defaultConfig: Config = configSchema.parse({}, interpreted);

export interface Setting<Key extends string = SettingKey> extends Described {
  readonly key: Key;
}

/** All settings in the order of the documentation. */
export const settings = settingsIn(shape, defaultConfig) as readonly Setting[];

/** The settings of a profile, by their names below it. */
export const profileSettings = settingsIn(
  profileShape,
  z.object(profileShape).parse({}, interpreted),
);

/**
 * Every single setting that these values have or may have: those of the top
 * level, and those of each profile.
 */
export function settingsFor(root: unknown): readonly Setting<SettingKey | ProfileKey>[] {
  return [
    ...settings.filter(({ key }) => key !== "profiles"),
    ...profileNames(root).flatMap((name) => settingsOfProfile(name)),
  ];
}

/** The settings of a profile, by their names from the root of the file. */
export const settingsOfProfile = (name: string): Setting<ProfileKey>[] =>
  profileSettings.map((one) => ({
    ...one,
    key: `profiles.${name}.${one.key}`,
    path: ["profiles", name, ...one.path],
  }));

/** A profile without settings. */
export const emptyProfile: ProfileConfig = z.object(profileShape).readonly().parse({}, interpreted);

/** The names of the profiles beside the default one, in their order. */
export function profileNames(root: unknown): string[] {
  const profiles = valueAt(root, ["profiles"]);
  return isRecord(profiles) ? Object.keys(profiles) : [];
}

/** The description of each group of settings, by its dotted name. */
export const groups: Readonly<Record<string, string>> = groupsIn(shape);
