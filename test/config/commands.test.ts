import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { runCommand } from "citty";
import type { Command, Io } from "../../src/cli/command.ts";
import check from "../../src/cli/config/check.ts";
import edit, {
  type Choice,
  editConfig,
  editorWords,
  runEditor,
} from "../../src/cli/config/edit.ts";
import init from "../../src/cli/config/init.ts";
import path from "../../src/cli/config/path.ts";
import show from "../../src/cli/config/show.ts";
import { configTemplate } from "../../src/config/template.ts";
import { isNgrokdError } from "../../src/model/error.ts";
import { createSay } from "../../src/terminal/say.ts";
import { fileOfTheGoProgram, ownFolder } from "./support.ts";

const folder = ownFolder();
/** Before the first editor, which adds a handler and removes it later. */
const handlersAtRest = process.listenerCount("SIGINT");

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/**
 * Runs a command as run.ts does. An error is printed, and its exit code is 99
 * here.
 */
async function run(
  command: Command,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Ran> {
  const text = { out: "", err: "" };
  const output = (where: "out" | "err") => ({
    write: (more: string) => {
      text[where] += more;
    },
    isTerminal: false,
    columns: 80,
  });
  const say = createSay({
    json: args.includes("--json"),
    debug: false,
    out: output("out"),
    err: output("err"),
    env: {},
  });
  const io: Pick<Io, "say" | "env"> = { say, env };
  try {
    const { result } = await runCommand(command, { rawArgs: [...args], data: io });
    return { ...text, code: result as number };
  } catch (error) {
    if (!isNgrokdError(error)) throw error;
    say.error(error);
    return { ...text, code: 99 };
  }
}

const modeOf = (file: string): number => statSync(file).mode & 0o777;

/** The names of the drafts beside a file. */
const drafts = (file: string): string[] =>
  readdirSync(join(file, "..")).filter((name) => name !== "config.yml");

let files = 0;
/** An editor that runs this shell script, with the draft as "$1". */
function editor(script: string): Record<string, string> {
  const file = join(folder, `editor ${++files}.sh`);
  writeFileSync(file, script);
  return { EDITOR: `sh '${file}'` };
}

function fileWith(text: string, mode = 0o600): string {
  const file = join(folder, `file-${++files}`, "config.yml");
  mkdirSync(join(file, ".."));
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

describe("config check", () => {
  test("accepts a right file, with settings of network mode", async () => {
    const file = fileWith(fileOfTheGoProgram);
    const { code, out } = await run(check, ["--config", file]);
    expect({ code, out }).toEqual({ code: 0, out: `"${file}" is valid\n` });
    const inert = fileWith("net: {start_port: 1}\n");
    const json = await run(check, [inert, "--json"]);
    expect(json.code).toBe(0);
    expect(JSON.parse(json.out)).toEqual({
      path: inert,
      exists: true,
      ok: true,
      problems: [],
      warnings: [],
    });
  });

  test("fails with code 2 for wrong values and for unknown keys, and prints all", async () => {
    const file = fileWith("server: {health_port: -1}\nsever: {}\n");
    const { code, out } = await run(check, [file]);
    expect(code).toBe(2);
    expect(
      out,
    ).toBe(`wrong: ${file}:1:23: server.health_port is -1; allowed: a whole number, 1 to 65535, or any
wrong: ${file}:2:1: there is no setting "sever"; did you mean "server"?
"${file}" is not valid
`);
    const unknown = await run(check, [fileWith("sever: {}\n"), "--json"]);
    expect(unknown.code).toBe(2);
    expect(JSON.parse(unknown.out)).toMatchObject({
      ok: false,
      problems: [],
      warnings: [{ key: "sever", line: 1, column: 1 }],
    });
  });

  test("includes the environment, unless a file is named as argument", async () => {
    const file = fileWith("");
    const env = { NGROK_API_KEY: "two words" };
    expect(await run(check, ["--config", file], env)).toMatchObject({
      code: 2,
      out: expect.stringContaining("environment NGROK_API_KEY: "),
    });
    expect(await run(check, [file], env)).toMatchObject({ code: 0 });
  });

  test("warns of an open file, and does not fail for it", async () => {
    const file = fileWith("api: {key: a-key-for-tests}\n", 0o644);
    expect(await run(check, [file])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^warning: .*chmod 600/),
    });
  });

  test("says that a named file is missing", async () => {
    expect(await run(check, [join(folder, "none.yml")])).toMatchObject({
      code: 99,
      err: expect.stringContaining("there is no such file"),
    });
  });
});

describe("config show", () => {
  test("shows values, origins and paths as text, never cut and without secrets", async () => {
    const long = `/run/${"long-".repeat(15)}.sock`;
    const file = fileWith(
      `api: {key: a-key-for-tests-0123456789}\nserver: {socket_path: ${long}}\n`,
    );
    const { code, out } = await run(show, ["--config", file], { NGROKD_HOSTS_PATH: "/tmp/hosts" });
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`server\\.socket_path +file +${long}\n`));
    expect(out).toMatch(/^api\.key +file +set \(ends in …6789\)$/m);
    expect(out).toMatch(/^server\.ingress_ca +default +""$/m);
    expect(out).toContain(`File: ${file}\nHosts file: /tmp/hosts\n`);
    expect(out).not.toContain("01234");
  });

  test("shows them as JSON, with the flag's value in effect", async () => {
    const file = fileWith("sever: {}\n");
    const { out, err } = await run(show, ["--json", "--config", file, "--socket", "/flag.sock"], {
      NGROK_API_KEY: "environment-key",
    });
    expect(JSON.parse(out)).toMatchObject({
      path: file,
      exists: true,
      hosts_path: "/etc/hosts",
      settings: {
        "api.key": { value: "set", origin: "environment NGROK_API_KEY" },
        "server.socket_path": { value: "/flag.sock", origin: "flag" },
        "net.overrides": { value: {}, origin: "default" },
      },
    });
    expect(err).toContain('there is no setting "sever"');
  });
});

describe("config path", () => {
  test("prints the path alone", async () => {
    expect(await run(path, [])).toEqual({ code: 0, out: "/etc/ngrokd/config.yml\n", err: "" });
    expect(JSON.parse((await run(path, ["--json"], { NGROKD_CONFIG: "/x.yml" })).out)).toEqual({
      path: "/x.yml",
      origin: "environment NGROKD_CONFIG",
    });
  });
});

describe("config init", () => {
  test("writes the template once", async () => {
    const file = join(folder, "fresh", "config.yml");
    expect(await run(init, ["--config", file])).toEqual({
      code: 0,
      out: `Wrote "${file}".\n`,
      err: "",
    });
    expect(readFileSync(file, "utf8")).toBe(configTemplate());
    expect(modeOf(file)).toBe(0o600);
    writeFileSync(file, "mine");
    expect(await run(init, ["--config", file])).toMatchObject({
      code: 99,
      err: expect.stringContaining("it exists\nhint:  `ngrokd config edit`"),
    });
    expect(readFileSync(file, "utf8")).toBe("mine");
  });
});

describe("config edit", () => {
  test("puts a right draft in place, closed to others, and says when it counts", async () => {
    const file = fileWith("# mine\n", 0o644);
    const ran = await run(
      edit,
      ["--config", file],
      editor(`printf 'net: {start_port: 7}\\n' >> "$1"`),
    );
    expect(ran).toEqual({
      code: 0,
      out: `saved "${file}"; a running daemon applies it now (\`ngrokd reload\` shows the result)\n`,
      err: "",
    });
    expect(readFileSync(file, "utf8")).toBe("# mine\nnet: {start_port: 7}\n");
    expect(modeOf(file)).toBe(0o640);
    expect(drafts(file)).toEqual([]);
  });

  test("keeps the file and a wrong draft without a terminal", async () => {
    const file = fileWith("# mine\n");
    const ran = await run(
      edit,
      ["--config", file],
      editor(`printf 'net: {start_port: 0}\\n' > "$1"`),
    );
    const [draft = ""] = drafts(file);
    expect(ran).toMatchObject({ code: 99, out: "" });
    expect(ran.err).toContain(
      `${draft}:1:19: net.start_port is 0; allowed: a whole number, 1 to 65535\n`,
    );
    expect(ran.err).toContain(
      `hint:  "${file}" is unchanged; your draft is in "${join(file, "..", draft)}"\n`,
    );
    expect(readFileSync(file, "utf8")).toBe("# mine\n");
    expect(readFileSync(join(file, "..", draft), "utf8")).toBe("net: {start_port: 0}\n");
    expect(modeOf(join(file, "..", draft))).toBe(0o600);
  });

  test("saves unknown keys with a warning", async () => {
    const file = fileWith("");
    const ran = await run(
      edit,
      ["--config", file, "--json"],
      editor(`printf 'sever: {}\\n' > "$1"`),
    );
    expect(ran.code).toBe(0);
    expect(JSON.parse(ran.out)).toEqual({ path: file, changed: true });
    expect(readFileSync(file, "utf8")).toBe("sever: {}\n");
    expect(ran.err).toContain('there is no setting "sever"');
  });
});

describe("config edit, beside the usual case,", () => {
  test("changes nothing if the editor changes nothing, fails or removes the draft", async () => {
    const file = fileWith("# mine\n");
    expect(await run(edit, ["--config", file], editor("true"))).toEqual({
      code: 0,
      out: `"${file}" is unchanged\n`,
      err: "",
    });
    expect(await run(edit, ["--config", file], editor('rm "$1"'))).toMatchObject({
      code: 0,
      out: `"${file}" is unchanged\n`,
    });
    expect(await run(edit, ["--config", file], editor("exit 3"))).toMatchObject({
      code: 99,
      err:
        'error: The editor "sh" ended with exit code 3\n' +
        "hint:  nothing was saved; set another editor in EDITOR, or try again\n",
    });
    expect(await run(edit, ["--config", file], { EDITOR: "/no/such/editor -x" })).toMatchObject({
      code: 99,
      err:
        'error: Cannot start the editor "/no/such/editor": there is no such program\nhint:  ' +
        "set another editor in EDITOR\n",
    });
    expect(readFileSync(file, "utf8")).toBe("# mine\n");
    expect(drafts(file)).toEqual([]);
  });

  test("keeps a changed draft if the editor fails", async () => {
    const file = fileWith("# mine\n");
    const ran = await run(edit, ["--config", file], editor(`echo '# more' >> "$1"; kill -9 $$`));
    expect(ran.err).toContain('The editor "sh" ended with SIGKILL');
    expect(readFileSync(file, "utf8")).toBe("# mine\n");
    expect(drafts(file)).toEqual([expect.stringMatching(/^config\.yml\..*\.draft\.yml$/)]);
  });

  test("starts from the template, and creates a file only after a change", async () => {
    const file = join(folder, "unborn", "config.yml");
    expect(await run(edit, ["--config", file], editor("true"))).toMatchObject({ code: 0 });
    expect(existsSync(file)).toBe(false);
    expect(
      await run(
        edit,
        ["--config", file],
        editor(`sed 's/key: ""/key: key-for-tests/' "$1" > "$1.x" && mv "$1.x" "$1"`),
      ),
    ).toMatchObject({ code: 0 });
    const expected = configTemplate().replace('key: ""', "key: key-for-tests");
    expect(readFileSync(file, "utf8")).toBe(expected);
    expect(modeOf(file)).toBe(0o600);
  });

  test("leaves Ctrl-C to the editor", async () => {
    const file = fileWith("# mine\n");
    expect(
      await run(edit, ["--config", file], editor(`kill -INT $PPID; echo '# more' >> "$1"`)),
    ).toMatchObject({ code: 0 });
    expect(readFileSync(file, "utf8")).toBe("# mine\n# more\n");
    const deadline = Date.now() + 5000;
    while (process.listenerCount("SIGINT") > handlersAtRest && Date.now() < deadline)
      await Bun.sleep(10);
    expect(process.listenerCount("SIGINT")).toBe(handlersAtRest);
  });

  test("edits the file that a link names", async () => {
    const file = fileWith("# mine\n");
    const link = join(folder, "link.yml");
    symlinkSync(file, link);
    await run(edit, ["--config", link], editor(`echo '# more' >> "$1"`));
    expect(readFileSync(file, "utf8")).toBe("# mine\n# more\n");
    expect(readFileSync(link, "utf8")).toBe("# mine\n# more\n");
    expect(drafts(file)).toEqual([]);
  });

  test("does not overwrite a change by another program", async () => {
    const file = fileWith("# mine\n");
    const ran = await run(
      edit,
      ["--config", file],
      editor(`echo '# draft' >> "$1"; echo '# theirs' > '${file}'`),
    );
    expect(ran.err).toContain(`Cannot save "${file}": it was changed meanwhile`);
    expect(readFileSync(file, "utf8")).toBe("# theirs\n");
    expect(drafts(file)).toHaveLength(1);
  });
});

describe("config edit, on a terminal,", () => {
  /** Edits with one text after the other, and answers questions in order. */
  async function converse(texts: string[], answers: (Choice | undefined)[]) {
    const file = fileWith("# mine\n");
    const asked: (readonly Choice[])[] = [];
    const told: string[] = [];
    const saved = await editConfig(file, {
      edit: async (draft) => writeFileSync(draft, texts.shift() ?? "no more texts"),
      tell: ({ message }) => told.push(message),
      ask: async (_, choices) => {
        asked.push(choices);
        return answers.shift();
      },
    }).catch((error: unknown) => error);
    return {
      saved,
      asked,
      told,
      text: readFileSync(file, "utf8"),
      drafts: drafts(file).length,
      left: texts.length + answers.length,
    };
  }

  test("lets the user correct a wrong draft until it is right", async () => {
    expect(
      await converse(["net: 1\n", "sever: {}\n", "net: {}\n"], ["edit again", "edit again"]),
    ).toEqual({
      saved: true,
      asked: [
        ["edit again", "keep the draft"],
        ["edit again", "save as it is"],
      ],
      told: [expect.stringContaining("net is a single value"), expect.stringContaining("sever")],
      text: "net: {}\n",
      drafts: 0,
      left: 0,
    });
  });

  test.each([["keep the draft"], [undefined]] as const)(
    "keeps a wrong draft for the answer %p",
    async (answer) => {
      expect(await converse(["net: 1\n"], [answer])).toMatchObject({
        saved: {
          code: "config",
          message: "Cannot save an invalid configuration",
          details: { problems: [{ key: "net" }] },
        },
        text: "# mine\n",
        drafts: 1,
        left: 0,
      });
    },
  );

  test("saves unknown keys for that answer, and not without an answer", async () => {
    expect(await converse(["sever: {}\n"], [undefined])).toMatchObject({
      saved: { code: "config" },
      text: "# mine\n",
      drafts: 1,
      left: 0,
    });
    expect(await converse(["sever: {}\n"], ["save as it is"])).toMatchObject({
      saved: true,
      text: "sever: {}\n",
      drafts: 0,
      left: 0,
    });
  });
});

describe("editorWords", () => {
  test.each([
    [{}, ["vi"]],
    [{ EDITOR: "", VISUAL: " " }, ["vi"]],
    [{ EDITOR: "nano", VISUAL: "emacs -nw" }, ["emacs", "-nw"]],
    [{ EDITOR: "code --wait" }, ["code", "--wait"]],
    [
      { EDITOR: `"/Applications/My Editor.app/bin/e" --title='a b' ""` },
      ["/Applications/My Editor.app/bin/e", "--title=a b", ""],
    ],
    [{ EDITOR: "sh -c evil;$HOME" }, ["sh", "-c", "evil;$HOME"]],
  ])("parts %j into words", (env, words) => {
    expect(editorWords(env)).toEqual(words);
  });

  test("runs them as they are, the file last", async () => {
    const file = join(folder, "words.txt");
    await runEditor(["sh", "-c", 'printf "%s|" "$@" > "$3"', "sh", "a b", "$HOME"], file);
    expect(readFileSync(file, "utf8")).toBe(`a b|$HOME|${file}|`);
  });
});
