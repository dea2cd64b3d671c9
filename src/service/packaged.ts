import { defaultHostsPath, defaultSocketPath } from "../config/paths.ts";
import { defaultConfig } from "../config/schema.ts";
import { stateFolderOf } from "../files/state-folder.ts";
import { packageMarker } from "./service-facts.ts";
import { unitText } from "./unit.ts";

/**
 * Pure: the unit that the packages bring, for the default configuration. If a
 * machine needs another one, `ngrokd service install` writes it, and systemd
 * then prefers that.
 */
export const packagedUnitText = (): string =>
  unitText(
    {
      program: "/usr/bin/ngrokd",
      serveArgs: [],
      environment: {},
      hostsPath: defaultHostsPath,
      socketPath: defaultSocketPath,
      folders: [stateFolderOf(defaultConfig.server)],
      reads: [],
      makesInterface: false,
      drainSeconds: defaultConfig.forward.drain_timeout,
    },
    packageMarker,
  );

/** Pure: whether two units differ in nothing but their first lines. */
export const sameService = (one: string, other: string): boolean =>
  withoutFirstLine(one) === withoutFirstLine(other);

const withoutFirstLine = (text: string): string => text.slice(text.indexOf("\n"));
