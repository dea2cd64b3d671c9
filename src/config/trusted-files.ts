import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import type { Trusted } from "../files/writers.ts";
import type { Loaded } from "./load.ts";

/**
 * Pure: the files that decide what a daemon with this configuration does.
 * `trustFolder` has the CAs that are always trusted.
 */
export function trustedFiles(
  { path, config, hostsPath }: Pick<Loaded, "path" | "config" | "hostsPath">,
  trustFolder: string,
): Trusted[] {
  const { client_cert, client_key, ingress_ca } = config.server;
  const { hostsOriginal, hostsBefore, hostsAfter, ...files } = stateFiles(
    stateFolderOf(config.server),
  );
  const state = [client_cert, client_key, ...Object.values(files)];
  const cas = [trustFolder, ...(ingress_ca === "" ? [] : [ingress_ca])];
  return [
    { kind: "configuration", path },
    ...state.map((file) => ({ kind: "state", path: file }) as const),
    ...cas.map((file) => ({ kind: "CA", path: file }) as const),
    { kind: "hosts file", path: hostsPath },
  ];
}
