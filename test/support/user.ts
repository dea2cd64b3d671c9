import { chownSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Cloud, configFor } from "./cloud.ts";
import { binary, type Ran, type Running, run, start } from "./ngrokd.ts";

/** A user without rights, with a home of its own. */
export interface User {
  readonly home: string;
  readonly env: Readonly<Record<string, string>>;
  /** Runs `ngrokd WORDS…` to its end. */
  ngrokd(words: readonly string[] | string, stdin?: string): Promise<Ran>;
  /** Runs a program to its end. */
  run(command: readonly string[], stdin?: string): Promise<Ran>;
  /** Starts `ngrokd WORDS…`, which keeps running. */
  start(words: readonly string[] | string): Running;
}

export const nobody = 65_534;
const asNobody = ["setpriv", `--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"];

/** A user whose own configuration has the key and the CA of a cloud. */
export function userOf(cloud: Cloud): User {
  const home = mkdtempSync("/run/tmp/home-");
  const folder = join(home, ".config/ngrokd");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.yml"), JSON.stringify(configFor(cloud)), { mode: 0o600 });
  for (const path of [home, join(home, ".config"), folder, join(folder, "config.yml")])
    chownSync(path, nobody, nobody);
  const env = { HOME: home };
  const words = (text: readonly string[] | string): readonly string[] =>
    typeof text === "string" ? text.split(" ").filter((word) => word !== "") : text;
  return {
    home,
    env,
    ngrokd: (text, stdin = "") =>
      run([binary(), ...words(text)], { as: "nobody", env, stdin, cwd: home }),
    run: (command, stdin = "") => run(command, { as: "nobody", env, stdin, cwd: home }),
    start: (text) =>
      start("ngrokd of a user", [...asNobody, binary(), ...words(text)], { env, cwd: home }),
  };
}
