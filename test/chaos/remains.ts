import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { beginLine, endLine } from "../../src/machine/hosts/text.ts";
import type { Report } from "./daemons.ts";
import { placeIn } from "./dashboard.ts";

export const hostsPath = "/etc/hosts";
export const stateFolder = "/etc/ngrokd";

/** The expected state. Nothing else may remain. */
export interface Wanted {
  readonly pid: number;
  /** `host:port` of every endpoint. */
  readonly places: ReadonlySet<string>;
  /** The account's operators. */
  readonly operators: readonly string[];
  /** The earliest time of the expected poll, by the wall clock; ms. */
  readonly since: number;
}

/**
 * Compares the daemon and its files with the expected state. Returns the
 * differences; empty if there are none.
 */
export function whatIsNotRight(
  { status, list, polledAt }: Report,
  { pid, places, operators, since }: Wanted,
): string {
  const saved = readFileSync(`${stateFolder}/operator_id`, "utf8").trim();
  const present = list.filter((item) => item.state !== "draining");
  const [found, wanted] = [present.map(placeIn), [...places]].map((all) => all.sort().join(" "));
  const silent = present.find((item) => item.state !== "listening");
  const trouble = status.certificate?.renewal_trouble?.reason;
  if (status.pid !== pid) return `${status.pid} answers in the place of ${pid}`;
  if (polledAt < since) return `there was no poll yet (${status.reason})`;
  if (status.phase !== "serving") return `the daemon is ${status.phase}: ${status.reason}`;
  if (operators.length !== 1) return `there are ${operators.length} operators`;
  if (status.operator_id !== operators[0])
    return `the operator ${status.operator_id} is in use, and ngrok knows ${operators[0]}`;
  if (saved !== operators[0])
    return `the operator ${saved} is saved, and ngrok knows ${operators[0]}`;
  if (Date.parse(status.certificate?.not_after ?? "") <= Date.now())
    return "the certificate has expired";
  if (trouble !== undefined) return `the certificate cannot be renewed: ${trouble}`;
  if (found !== wanted) return `listed are ${found}, and there are ${wanted}`;
  if (silent !== undefined) return `${silent.url} is ${silent.state}: ${silent.reason}`;
  const old = leftovers().filter(({ ageMs }) => ageMs > 60_000);
  if (old.length > 0) return `there are old leftovers: ${old.map(({ path }) => path).join(", ")}`;
  return sectionTrouble(new Map(present.map(({ hostname, ip }) => [hostname, ip])));
}

function sectionTrouble(addresses: ReadonlyMap<string, string>): string {
  const entries = [...addresses]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, ip]) => `${ip}\t${name}`);
  const section = [beginLine, ...entries, endLine, ""].join("\n");
  const hosts = readFileSync(hostsPath, "latin1");
  return hosts.split(beginLine).length === 2 && hosts.includes(section)
    ? ""
    : `the section of the hosts file is not right:\n${hosts}`;
}

/** Files that only a crash leaves, and only for a while. */
export function leftovers(): { path: string; ageMs: number }[] {
  return ["/etc", stateFolder, "/run", "/etc/ssl/certs"].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => /\.ngrokd\.tmp$|^\.ngrokd-|\.turn$|^hosts\.(?:before|after)/.test(name))
      .flatMap((name) => {
        const path = `${folder}/${name}`;
        const info = lstatSync(path, { throwIfNoEntry: false });
        return info === undefined ? [] : [{ path, ageMs: Date.now() - info.mtimeMs }];
      }),
  );
}

/**
 * All of /etc and /run except for the run's own files, with modes. The hosts
 * file and the state folder have checks of their own.
 */
export function surroundings(): string[] {
  const apart = /^\/etc\/(?:hosts$|ngrokd(?:\/|$))|^\/run\/(?:etc|tmp|bin|story)$/;
  const etc = readdirSync("/etc", { recursive: true, encoding: "utf8" }).map(
    (name) => `/etc/${name}`,
  );
  return [...etc, ...readdirSync("/run").map((name) => `/run/${name}`)]
    .filter((path) => !apart.test(path))
    .flatMap((path) => {
      const info = lstatSync(path, { throwIfNoEntry: false });
      return info === undefined
        ? []
        : [`${path} (mode ${info.mode.toString(8)}, ${info.size} bytes)`];
    });
}
