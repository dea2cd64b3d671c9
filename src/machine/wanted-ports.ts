import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { readFileIfThere } from "../files/atomic.ts";

/** Ports, each with the file by which a program of this machine wants it. */
export type WantedPorts = ReadonlyMap<number, string>;

/** Where this machine's programs name their ports. */
export interface PortPlaces {
  readonly sshd: string;
  /** A folder of more files for sshd. */
  readonly sshdParts: string;
  /** The folder of the socket units that systemd starts. */
  readonly sockets: string;
}

const usualPlaces: PortPlaces = {
  sshd: "/etc/ssh/sshd_config",
  sshdParts: "/etc/ssh/sshd_config.d",
  sockets: "/etc/systemd/system/sockets.target.wants",
};

/**
 * The ports that sshd and socket units of systemd want on all addresses at
 * their next start. While a door listens at such a port, on whatever address,
 * that start fails. Files that cannot be read name none. Never rejects.
 */
export async function wantedPorts(places = usualPlaces): Promise<WantedPorts> {
  const main = await textOf(places.sshd);
  const parts = await filesIn(places.sshdParts, ".conf");
  const named = [[places.sshd, main ?? ""] as const, ...parts].flatMap(([path, text]) =>
    sshdPorts(text).map((port) => [port, path] as const),
  );
  const ofSshd = main !== undefined && named.length === 0 ? [[22, places.sshd] as const] : named;
  const units = await filesIn(places.sockets, ".socket");
  const ofUnits = units.flatMap(([path, text]) =>
    socketPorts(text).map((port) => [port, path] as const),
  );
  return new Map([...ofSshd, ...ofUnits]);
}

/**
 * Pure: the ports of `Port` lines, and of `ListenAddress` lines for all
 * addresses (sshd_config(5)).
 */
export function sshdPorts(text: string): number[] {
  const line =
    /^[ \t]*(?:port[ \t=]+|listenaddress[ \t=]+(?:0\.0\.0\.0|\[::\]):)(\d{1,5})\s*(?:#.*)?$/gim;
  return [...text.matchAll(line)].map(([, port]) => Number(port));
}

/**
 * Pure: the TCP ports of `ListenStream=` on all addresses (systemd.socket(5)).
 * An empty value takes back the ones before it.
 */
export function socketPorts(text: string): number[] {
  const values = [...text.matchAll(/^\s*ListenStream\s*=[ \t]*(.*?)\s*$/gm)].map(
    ([, value = ""]) => value,
  );
  return values.slice(values.lastIndexOf("") + 1).flatMap((value) => {
    const port = /^(?:(?:0\.0\.0\.0|\[::\]):)?(\d{1,5})$/.exec(value)?.[1];
    return port === undefined ? [] : [Number(port)];
  });
}

/** Pure: the warning for an endpoint at this port; "" if none is due. */
export function wantedText(port: number, wanted: WantedPorts): string {
  const path = wanted.get(port);
  if (path !== undefined)
    return `"${path}" wants port ${port} on all addresses: its program cannot start while this endpoint is served`;
  const name = remoteLogins.get(port);
  return name === undefined
    ? ""
    : `port ${port} is for remote logins (${name}): a server for them cannot start on all addresses while this endpoint is served`;
}

/**
 * Further ports for remote logins (/etc/services), whose servers have
 * configurations in many places. ssh's own is reserved.
 */
const remoteLogins: ReadonlyMap<number, string> = new Map([
  [23, "telnet"],
  [513, "login"],
  [514, "shell"],
]);

async function filesIn(folder: string, end: string): Promise<(readonly [string, string])[]> {
  const names = await readdir(folder).catch(() => []);
  const paths = names.filter((name) => name.endsWith(end)).map((name) => join(folder, name));
  return await Promise.all(
    paths.sort().map(async (path) => [path, (await textOf(path)) ?? ""] as const),
  );
}

async function textOf(path: string): Promise<string | undefined> {
  return await readFileIfThere(path, 64 * 1024).catch(() => undefined);
}
