import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import type { Trusted } from "../files/writers.ts";
import type { Loaded } from "./loaded.ts";
import { ofProfile } from "./profiles.ts";
import { type Config, profileNames } from "./schema.ts";

/**
 * Pure: the files that decide what a daemon with this configuration does.
 * `trustFolder` has the CAs that are always trusted.
 */
export function trustedFiles(loaded: Loaded, trustFolder: string): Trusted[] {
  const { path, config, hostsPath } = loaded;
  const { ingress_ca } = config.server;
  const { hostsOriginal, hostsBefore, hostsAfter, ...files } = stateFiles(
    stateFolderOf(config.server),
  );
  const state = [...identityFiles(config.server), ...Object.values(files)];
  for (const name of profileNames(config)) {
    const { server } = ofProfile(loaded, name).config;
    const { operatorId, ingressEndpoint, lastList } = stateFiles(stateFolderOf(server));
    state.push(...identityFiles(server), operatorId, ingressEndpoint, lastList);
  }
  const cas = [trustFolder, ...(ingress_ca === "" ? [] : [ingress_ca])];
  return [
    { kind: "configuration", path },
    ...state.map((file) => ({ kind: "state", path: file }) as const),
    ...cas.map((file) => ({ kind: "CA", path: file }) as const),
    { kind: "hosts file", path: hostsPath },
  ];
}

const identityFiles = ({ client_cert, client_key }: Config["server"]): string[] => [
  client_cert,
  client_key,
];
