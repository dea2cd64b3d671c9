import { readdir, readFile, stat } from "node:fs/promises";

/** Facts of another process from /proc; undefined if they cannot be read. */
export interface ProcessFacts {
  readonly uid: number | undefined;
  readonly openFiles: number | undefined;
  readonly env: Readonly<Record<string, string>> | undefined;
}

/** Never rejects; all facts are undefined outside Linux. */
export async function lookAtProcess(pid: number): Promise<ProcessFacts> {
  const folder = `/proc/${pid}`;
  const orNone = async <T>(work: Promise<T>): Promise<T | undefined> =>
    await work.catch(() => undefined);
  const [uid, openFiles, env] = await Promise.all([
    orNone(stat(folder).then((info) => info.uid)),
    orNone(readdir(`${folder}/fd`).then(({ length }) => length)),
    orNone(readFile(`${folder}/environ`, "utf8").then(environmentIn)),
  ]);
  return { uid, openFiles, env };
}

/** Pure: the variables in the text of `/proc/PID/environ`. */
export function environmentIn(text: string): Record<string, string> {
  const entries = text.split("\0").filter((entry) => entry.includes("="));
  return Object.fromEntries(entries.map((entry) => entry.split(/=(.*)/s, 2)));
}
