import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { type Cloud, registered } from "../support/cloud.ts";
import { binary, type Daemon, ngrokd, run } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

const bin = "/run/story/bin";
const at = "/run/story/files";

/** What a shell offers for a line with the cursor at its end. */
type Complete = (words: readonly string[]) => Promise<string[]>;

/** As bash calls the function: words split at ":" and "=". */
const inBash: Complete = async (words) => {
  const split = words.flatMap((word) => word.split(/([:=])/).filter((part) => part !== ""));
  if (words.at(-1) === "") split.push("");
  const script = `
    PATH=${bin}:$PATH; cd ${at}
    source <(ngrokd completion bash)
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    $(complete -p ngrokd | sed 's/.*-F \\([^ ]*\\).*/\\1/') ngrokd
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { out, err } = await run(["bash", "-uc", script, "bash", "ngrokd", ...split]);
  expect(err).toBe("");
  return out.split("\n").filter((line) => line !== "");
};

/** fish can say itself what it offers. */
const inFish: Complete = async (words) => {
  const script = `set -x PATH ${bin} $PATH; cd ${at}; ngrokd completion fish | source
    complete -C (string join -- " " ngrokd $argv | string collect)`;
  const { out } = await run(["fish", "--no-config", "-c", script, ...words]);
  return out.split("\n").flatMap((line) => line.split("\t")[0] || []);
};

/** The completion functions of zsh run in its line editor alone. */
const inZsh: Complete = async (words) => {
  const script = `
    path=(${bin} $path); cd ${at}
    compdef() { :; }
    _describe() { print -rl -- "\${(@P)2}"; }
    _files() { print -rl -- *; }
    source <(ngrokd completion zsh)
    words=("$@"); CURRENT=$#
    _ngrokd`;
  const { out } = await run(["zsh", "-fc", script, "zsh", "ngrokd", ...words]);
  return out.split("\n").flatMap((line) => line.split(/(?<!\\):/)[0] || []);
};

const shells: readonly [string, string, Complete][] = [
  ["bash", "/bin/bash", inBash],
  ["fish", "/usr/bin/fish", inFish],
  ["zsh", "/bin/zsh", inZsh],
];

/** A shell waits half a second for the daemon: too little on a busy machine. */
async function offersNames(complete: () => Promise<string[]>): Promise<void> {
  await until("the names of the endpoints are offered", async () => {
    expect((await complete()).sort()).toEqual(["hello.demo", "help.demo"]);
    return true;
  });
}

stories("completion of words", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    ({ cloud, daemon } = await registered());
    await cloud.add("http://hello.demo", page("hello").address);
    await cloud.add("http://help.demo", page("help").address);
    for (const host of ["hello.demo", "help.demo"]) await daemon.becomes(host, "listening");
    mkdirSync(bin, { recursive: true });
    mkdirSync(at, { recursive: true });
    symlinkSync(binary(), `${bin}/ngrokd`);
    writeFileSync(`${at}/my-config.yml`, "");
  });

  for (const [shell, path, complete] of shells)
    describe.skipIf(!existsSync(path))(`in ${shell}`, () => {
      test("knows commands, flags and the names of endpoints", async () => {
        expect(await complete(["conf"])).toEqual(["config"]);
        expect(await complete(["config", "sh"])).toEqual(["show"]);
        expect(await complete(["list", "--js"])).toEqual(["--json"]);
        await offersNames(() => complete(["why", "hel"]));
      });

      test("offers files where a file fits", async () => {
        expect(await complete(["config", "check", "my"])).toEqual(["my-config.yml"]);
      });

      test("runs nothing of what was typed", async () => {
        const trap = `/run/story/trap-${shell}`;
        await complete(["why", `'$(touch ${trap})'`]).catch(() => []);
        await complete([`'\`touch ${trap}\`'`, ""]).catch(() => []);
        expect(existsSync(trap)).toBe(false);
        rmSync(trap, { force: true });
      });
    });

  test("in bash completes behind an equals sign", async () => {
    expect(await inBash(["list", "--socket=my"])).toEqual(["my-config.yml"]);
    expect(await inBash(["config", "check", "--config", "my"])).toEqual(["my-config.yml"]);
    await offersNames(() => inBash(["doctor", "--early-data=hel"]));
  });

  test("without a daemon, with an unknown shell, and of a script's words", async () => {
    await daemon.stop();
    expect((await ngrokd("completion words -- why h")).out).toBe("");
    expect(await ngrokd("completion tcsh")).toMatchObject({ code: 2, out: "" });
    expect((await ngrokd("completion words -- trust ")).code).toBe(0);
    for (const shell of ["bash", "zsh", "fish", "powershell"])
      expect((await ngrokd(`completion ${shell}`)).out).toContain("completion words");
  });
});
