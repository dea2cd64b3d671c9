// cli/config/ has the commands of `ngrokd config`, one a file.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import { readConfigFile } from "../../config/load.ts";
import { parseConfig } from "../../config/parse.ts";
import { configPath, type Env } from "../../config/paths.ts";
import { needsRoot, type Problem, problemText, withHint } from "../../config/problem.ts";
import { configTemplate } from "../../config/template.ts";
import { targetOf } from "../../config/write.ts";
import { ensureWritableFolder, readFileIfThere, writeFileAtomic } from "../../files/atomic.ts";
import { errnoOf } from "../../model/errno.ts";
import { NgrokdError, reasonOf } from "../../model/error.ts";
import { randomHex } from "../../model/random.ts";
import { command } from "../command.ts";

export default command({
  name: "config edit",
  description: "Edit the configuration with $VISUAL, $EDITOR or vi; only a valid file is saved",
  examples: [
    "sudo ngrokd config edit",
    "EDITOR='code --wait' ngrokd config edit --config ./config.yml",
  ],
  async run({ config: file }, { env, say }) {
    const { path } = configPath(file, env);
    const atTerminal = !say.json && process.stdin.isTTY === true && process.stdout.isTTY === true;
    const changed = await editConfig(path, {
      edit: (draft) => runEditor(editorWords(env), draft),
      tell: (problem) => say.warn(problemText(problem)),
      ask: atTerminal ? askAtTerminal : undefined,
    });
    say.result(
      { path, changed },
      changed
        ? `saved "${path}"; a running daemon applies it now (\`ngrokd reload\` shows the result)`
        : `"${path}" is unchanged`,
    );
    return 0;
  },
});

export type Choice = "edit again" | "keep the draft" | "save as it is";

export interface EditOptions {
  /**
   * Opens the draft in an editor, and resolves when the editor has ended.
   * Rejects if the editor fails.
   */
  readonly edit: (draft: string) => Promise<void>;
  readonly tell: (problem: Problem) => void;
  /**
   * Undefined without a terminal; then the last choice is used. Without an
   * answer, the draft is kept.
   */
  readonly ask:
    | ((question: string, choices: readonly Choice[]) => Promise<Choice | undefined>)
    | undefined;
}

/**
 * Edits a copy beside the file, and replaces the file when the copy is valid.
 * Returns true if the file has changed. Unknown keys are shown, but prevent
 * nothing. After any failure the file is unchanged, and the error has the path
 * of the draft.
 */
export async function editConfig(path: string, options: EditOptions): Promise<boolean> {
  const target = await targetOf(path);
  const old = await readConfigFile(target);
  const start = old?.text ?? configTemplate();
  const draft = `${target}.${randomHex(3)}.draft.yml`;
  await ensureWritableFolder(dirname(target), 0o700).catch(needsRoot);
  await writeFileAtomic(draft, start, { mode: 0o600 });
  try {
    const text = await editUntilRight(draft, start, options);
    if (text !== start) {
      const now = await readConfigFile(target);
      if (now?.text !== old?.text)
        throw new NgrokdError("config", `Cannot save "${path}": it was changed meanwhile`);
      await writeFileAtomic(target, text, { mode: old === undefined ? 0o600 : old.mode & 0o770 });
    }
    await rm(draft, { force: true });
    return text !== start;
  } catch (error) {
    const text = await readFileIfThere(draft);
    if (text !== undefined && text !== start)
      throw withHint(error, `"${path}" is unchanged; your draft is in "${draft}"`);
    await rm(draft, { force: true });
    throw error;
  }
}

async function editUntilRight(
  draft: string,
  start: string,
  { edit, tell, ask }: EditOptions,
): Promise<string> {
  for (;;) {
    await edit(draft);
    const text = (await readConfigFile(draft))?.text ?? start;
    if (text === start) return text;
    const { problems, warnings } = parseConfig(text, draft, { strict: true });
    const all = [...problems, ...warnings];
    if (all.length === 0) return text;
    for (const problem of all) tell(problem);
    const otherwise = problems.length > 0 ? "keep the draft" : "save as it is";
    const question = all.length === 1 ? "Edit again?" : `Edit again (${all.length} problems)?`;
    const choice =
      ask === undefined
        ? otherwise
        : ((await ask(question, ["edit again", otherwise])) ?? "keep the draft");
    if (choice === "save as it is") return text;
    if (choice === "edit again") continue;
    throw new NgrokdError("config", "Cannot save an invalid configuration", {
      details: { problems: all },
    });
  }
}

/**
 * Runs the editor on this terminal. Rejects with NgrokdError `usage` if it
 * cannot be started, and `cancelled` if it fails.
 */
export async function runEditor(
  [name = "vi", ...args]: readonly string[],
  file: string,
): Promise<void> {
  // Ctrl-C reaches every program on the terminal, but is meant for the editor.
  // It is ignored even before the editor starts, since it may come at once.
  process.on("SIGINT", ignore);
  const editor = spawn(name, [...args, file], { stdio: "inherit" });
  const [code, signal] = await once(editor, "exit")
    .catch((error: unknown) => {
      const what = errnoOf(error) === "ENOENT" ? "there is no such program" : reasonOf(error);
      throw new NgrokdError("usage", `Cannot start the editor "${name}": ${what}`, {
        cause: error,
        hint: "set another editor in EDITOR",
      });
    })
    // A Ctrl-C that has ended the editor may still arrive here later.
    .finally(() => setTimeout(() => process.off("SIGINT", ignore), 100));
  if (code !== 0)
    throw new NgrokdError(
      "cancelled",
      `The editor "${name}" ended with ${signal ?? `exit code ${code}`}`,
      { hint: "nothing was saved; set another editor in EDITOR, or try again" },
    );
}

const ignore = (): void => {};

/**
 * The words of VISUAL, EDITOR or `vi`, split as a shell does, with quotes.
 * Other shell syntax is not interpreted.
 */
export function editorWords(env: Env): string[] {
  const words = (env.VISUAL || env.EDITOR || "").match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? ["vi"];
  return words.map((word) => word.replaceAll(/"([^"]*)"|'([^']*)'/g, "$1$2"));
}

async function askAtTerminal(
  question: string,
  choices: readonly Choice[],
): Promise<Choice | undefined> {
  const { consola } = await import("consola");
  return (await consola.prompt(question, {
    type: "select",
    options: [...choices],
    cancel: "undefined",
  })) as Choice | undefined;
}
