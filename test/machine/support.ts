import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Hostname, parseHostname } from "../../src/model/hostname.ts";
import {
  type Ip,
  type Ip6,
  parseIp,
  parseIp6,
  parseSubnet,
  type Subnet,
} from "../../src/model/ip.ts";
import type { Parsed } from "../../src/model/parsed.ts";

export const host = (text: string): Hostname => proven(parseHostname(text));
export const ip = (text: string): Ip => proven(parseIp(text));
export const ip6 = (text: string): Ip6 => proven(parseIp6(text));
export const subnet = (text: string): Subnet => proven(parseSubnet(text));
export const mapping = (entries: Record<string, string>): Map<Hostname, Ip> =>
  new Map(Object.entries(entries).map(([name, address]) => [host(name), ip(address)]));

/** A folder for one test, removed when the `using` scope ends. */
export async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "ngrokd-names-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

function proven<T>(value: Parsed<T>): T {
  if (!value.ok) throw new Error(value.reason);
  return value.value;
}
