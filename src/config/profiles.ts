import { dirname, join } from "node:path";
import { profileFolder, stateFolderOf } from "../files/state-folder.ts";
import { NgrokdError } from "../model/error.ts";
import { defaultProfile } from "../model/profile.ts";
import type { Loaded, Origin } from "./loaded.ts";
import type { Problem } from "./problem.ts";
import {
  type Config,
  emptyProfile,
  type ProfileConfig,
  profileNames,
  profileSettings,
  type SettingKey,
} from "./schema.ts";

/*
 * A profile is one more account of the same daemon. The settings outside of
 * `profiles` are the default profile.
 */

type Profiles = Pick<Loaded, "config">;

/**
 * Pure: the names of the profiles that exist, in the order that settles
 * conflicts. The default one exists if it has a key, or if there is no other.
 */
export function profilesOf({ config }: Profiles): string[] {
  const named = profileNames(config);
  return named.length === 0 || config.api.key !== "" ? [defaultProfile, ...named] : named;
}

/** Pure: the API keys of all profiles, which must not reach the log. */
export function keysOf({ config }: Profiles): string[] {
  const named = Object.values(config.profiles).map(({ api }) => api.key);
  return [config.api.key, ...named].filter((key) => key !== "");
}

/**
 * Pure: the configuration as one profile has it. The same text of a profile in
 * the same configuration returns the same object. An unknown profile has every
 * setting at its default.
 */
export function ofProfile(loaded: Loaded, name: string): Loaded {
  if (name === (loaded.profile ?? defaultProfile)) return loaded;
  if (loaded.whole !== undefined) return ofProfile(loaded.whole, name);
  const known = views.get(loaded) ?? new Map<string, Loaded>();
  views.set(loaded, known);
  const view = known.get(name) ?? viewOf(loaded, name);
  known.set(name, view);
  return view;
}

const views = new WeakMap<Loaded, Map<string, Loaded>>();

function viewOf(loaded: Loaded, name: string): Loaded {
  const { config, origins } = loaded;
  const profile = config.profiles[name];
  const own = Object.fromEntries(
    profileSettings.map(({ key }) => [key, origins[`profiles.${name}.${key}`] ?? "default"]),
  ) as Partial<Record<SettingKey, Origin>>;
  const { api, ingressEndpoint, bound_endpoints, names } = profile ?? emptyProfile;
  const server = { ...config.server, ...filesOf(config, name) };
  return {
    ...loaded,
    profile: name,
    whole: loaded,
    config: {
      ...config,
      ...{ api, ingressEndpoint, bound_endpoints, server },
      names: { ...config.names, ...written(names) },
    },
    origins: { ...origins, ...own },
  };
}

/** Pure: the lists with entries. A profile without one has the daemon's. */
const written = (lists: ProfileConfig["names"]): Partial<Config["names"]> =>
  Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0));

/** Pure: the certificate and key of a profile, in its folder unless named. */
function filesOf(
  { server, profiles }: Config,
  name: string,
): Pick<Config["server"], "client_cert" | "client_key"> {
  const { client_cert: cert = "", client_key: key = "" } = profiles[name]?.server ?? {};
  const folder = cert === "" ? profileFolder(stateFolderOf(server), name) : dirname(cert);
  return {
    client_cert: cert === "" ? join(folder, "tls.crt") : cert,
    client_key: key === "" ? join(folder, "tls.key") : key,
  };
}

/**
 * Pure: the configuration of the profile that a command means. Without a name
 * it is the default profile, or the only one. Throws NgrokdError `usage` if
 * there is no such profile, or if a name is necessary.
 */
export function chosenProfile(loaded: Loaded, name: string | undefined): Loaded {
  return ofProfile(loaded, chosenName(profilesOf(loaded), name));
}

/** Pure: as {@link chosenProfile}, of the names of all profiles. */
export function chosenName(names: readonly string[], name: string | undefined): string {
  if (name !== undefined && name !== "") {
    if (names.includes(name) || name === defaultProfile) return name;
    throw new NgrokdError("usage", `There is no profile "${name}"`, {
      hint:
        `the profiles are ${names.join(", ")}; a new one is added below "profiles" with ` +
        "`sudo ngrokd config edit`",
    });
  }
  const [first = defaultProfile] = names;
  if (names.length < 2 || first === defaultProfile) return first;
  throw new NgrokdError("usage", "There are several profiles, and none was named", {
    hint: `name one with --profile: ${names.join(", ")}`,
  });
}

/**
 * Pure: profiles that would overwrite each other's files. `source` is the name
 * of the configuration file.
 */
export function sharedFolders(loaded: Loaded): Problem[] {
  const owners = new Map<string, string>();
  return [defaultProfile, ...profileNames(loaded.config)].flatMap((name): Problem[] => {
    const folder = stateFolderOf(ofProfile(loaded, name).config.server);
    const owner = owners.get(folder);
    owners.set(folder, owner ?? name);
    if (owner === undefined) return [];
    const key = `profiles.${name}.server.client_cert`;
    const message =
      `${key} is in the folder "${folder}" of the profile ${owner}; ` +
      "allowed: a folder of its own for each profile";
    return [{ kind: "wrong-value", source: loaded.path, key, message }];
  });
}
