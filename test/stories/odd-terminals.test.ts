import { beforeAll, expect, test } from "bun:test";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { binary, type Daemon, ngrokd, run, serve, start, writeConfig } from "../support/ngrokd.ts";
import { faultsOf } from "../support/odd.ts";
import { stories, until } from "../support/story.ts";
import { onTerminal } from "../support/terminal.ts";
import { page } from "../support/web.ts";

let cloud: Cloud;
let daemon: Daemon;

/**
 * Of one row: a shell's line; `N` is the program, and its output goes to the
 * test unless the line sends it elsewhere.
 */
interface Oddity {
  readonly name: string;
  readonly line: string;
  readonly code?: number;
  /** Texts of stdout and of stderr. */
  readonly out?: string;
  readonly err?: string;
}

const serving = "\nState:          serving";
const endpoint = "http://hello.demo";

const environments: readonly Oddity[] = [
  { name: "an empty environment", line: "exec env -i $N status", out: serving },
  { name: "no HOME", line: "unset HOME; exec $N status", out: serving },
  { name: "a HOME that is not there", line: "HOME=/nowhere exec $N status", out: serving },
  { name: "no PATH", line: "PATH= exec $N status", out: serving },
  { name: "a TMPDIR that is not there", line: "TMPDIR=/nowhere exec $N status", out: serving },
  { name: "no TERM", line: "unset TERM; exec $N list", out: endpoint },
  { name: "LANG=C", line: "LANG=C LC_ALL=C exec $N list", out: endpoint },
  { name: "a locale that is not there", line: "LC_ALL=xx_YY.UTF-99 exec $N list", out: endpoint },
  { name: "a time zone that is none", line: "TZ=Nowhere/Land exec $N status", out: serving },
  { name: "COLUMNS=20", line: "COLUMNS=20 exec $N list", out: endpoint },
  { name: "COLUMNS=1000", line: "COLUMNS=1000 exec $N list", out: endpoint },
  { name: "COLUMNS=0", line: "COLUMNS=0 exec $N status", out: serving },
  { name: "COLUMNS=-1", line: "COLUMNS=-1 exec $N status", out: serving },
  { name: "COLUMNS=many", line: "COLUMNS=many exec $N status", out: serving },
  { name: "COLUMNS of 20 digits", line: `COLUMNS=${"9".repeat(20)} exec $N status`, out: serving },
  { name: "a umask of 777", line: "umask 777; exec $N status", out: serving },
  { name: "ten descriptors", line: "ulimit -n 10; exec $N status", out: serving },
  { name: "an empty socket", line: "NGROKD_SOCKET= exec $N status", out: serving },
  { name: "an empty configuration", line: "NGROKD_CONFIG= exec $N status", out: serving },
];

const channels: readonly Oddity[] = [
  { name: "stdin closed", line: "exec $N status <&-", out: serving },
  { name: "stdin a folder", line: "exec $N status </etc", out: serving },
  {
    name: "stdin closed where a key is read",
    line: "exec $N set-api-key - <&-",
    code: 2,
    err: "error: This is not an API key: the API key is empty",
  },
  {
    name: "stdin endless where a key is read",
    line: "exec $N set-api-key - </dev/zero",
    code: 2,
    err: "error: Standard input is too long to be an API key",
  },
  { name: "stderr closed", line: "exec $N status 2>&-", out: serving },
  { name: "stderr closed, and an error", line: "exec $N frobnicate 2>&-", code: 2 },
  { name: "stderr full, and an error", line: "exec $N frobnicate 2>/dev/full", code: 2 },
  // The runtime opens /dev/null in its place, so that this cannot be told.
  { name: "stdout closed", line: "exec $N status >&-" },
  { name: "stdout full", line: "exec $N status >/dev/full", code: 7, err: "error: Cannot write" },
  {
    name: "stdout full, as JSON",
    line: "exec $N list --json >/dev/full",
    code: 7,
    err: "error: Cannot write",
  },
  {
    name: "stdout full, the help",
    line: "exec $N --help >/dev/full",
    code: 7,
    err: "error: Cannot write",
  },
  {
    name: "stdout full, the version",
    line: "exec $N --version >/dev/full",
    code: 7,
    err: "error: Cannot write",
  },
  {
    name: "stdout not to be written",
    line: "exec $N status 1</dev/null",
    code: 7,
    err: "error: Cannot write",
  },
  { name: "stdout and stderr full", line: "exec $N status >/dev/full 2>&1", code: 7 },
  { name: "all three closed", line: "exec $N status <&- >&- 2>&-" },
  {
    name: "a reader that is gone",
    line: "{ sleep 0.2; $N status; echo $? >&2; } | true",
    err: "0\n",
  },
  {
    name: "a limit for files of nothing",
    line: "ulimit -f 0; exec $N list --json >/run/tmp/limited",
    code: 7,
    err: "error: Cannot write",
  },
];

const words: readonly Oddity[] = [
  { name: "an empty word", line: "exec $N ''", code: 2, err: 'error: Unknown command ""' },
  { name: "an empty option", line: "exec $N list --socket ''", code: 2, err: "error: " },
  {
    name: "a word of 100 KB",
    line: "exec $N $(head -c 100000 /dev/zero | tr '\\0' x)",
    code: 2,
    err: "error: Unknown command",
  },
  {
    name: "escape sequences",
    line: "exec $N \"$(printf '\\033[31mred')\"",
    code: 2,
    err: 'error: Unknown command "',
  },
  {
    name: "line ends",
    line: "exec $N \"$(printf 'a\\nerror: b')\"",
    code: 2,
    err: 'error: Unknown command "',
  },
  {
    name: "characters that turn the line",
    line: "exec $N \"$(printf '\\342\\200\\256x')\"",
    code: 2,
    err: 'error: Unknown command "',
  },
  {
    name: "bytes that are no UTF-8",
    line: "exec $N \"$(printf '\\377\\376')\"",
    code: 2,
    err: 'error: Unknown command "',
  },
  { name: "an option twice", line: "exec $N list --json --json", out: '"hostname"' },
  { name: "a hyphen", line: "exec $N -", code: 2, err: "error: " },
  { name: "two hyphens", line: "exec $N --", out: "First steps" },
  {
    name: "a name with escape sequences for `why`",
    line: "exec $N why \"$(printf '\\033[31mred')\"",
    code: 2,
    err: "error: ",
  },
  { name: "the prototype of all", line: "exec $N __proto__ constructor", code: 2, err: "error: " },
];

stories("a shell gives", () => {
  beforeAll(async () => {
    ({ cloud, daemon } = await registered());
    await cloud.add(endpoint, page("hello").address);
    await daemon.becomes("hello.demo", "listening");
  });

  const row = async ({ line, code = 0, out = "", err = "" }: Oddity): Promise<void> => {
    const ran = await run(["sh", "-c", line], { env: { N: binary() } });
    // Where stdout or stderr is lost, an error cannot be told.
    const isTold = !/2>|>&-/.test(line);
    expect({ code: ran.code, faults: isTold ? faultsOf(ran) : [] }).toEqual({ code, faults: [] });
    expect(`\n${ran.out}`).toContain(out);
    expect(ran.err).toContain(err);
    if (code === 0 && err === "") expect(ran.err).toBe("");
  };

  test.each(environments)("in the environment: $name", row);
  test.each(channels)("as channels: $name", row);
  test.each(words)("as words: $name", row);

  const colour = "\u001b[";
  test.each<{ name: string; env: Readonly<Record<string, string>>; coloured: boolean }>([
    { name: "TERM=dumb", env: { TERM: "dumb" }, coloured: false },
    { name: "NO_COLOR=1", env: { NO_COLOR: "1" }, coloured: false },
    { name: "NO_COLOR without a value", env: { NO_COLOR: "" }, coloured: true },
    { name: "a TERM that nobody knows", env: { TERM: "frob-9000" }, coloured: true },
    { name: "COLUMNS=20", env: { COLUMNS: "20" }, coloured: true },
  ])("a terminal with $name", async ({ env, coloured }) => {
    const { text, code } = await onTerminal([binary(), "status"], { env });
    expect({ code, coloured: text.includes(colour) }).toEqual({ code: 0, coloured });
    expect(text).toContain("serving");
  });

  test.each([
    "<&- >&- 2>&-",
    ">/dev/full 2>/dev/full",
    "2>&-",
    "</dev/null >/dev/null 2>/dev/null",
  ])("the daemon lives with the channels %s, and stops as ever", async (channels) => {
    await daemon.stop();
    writeConfig(configFor(cloud));
    const next = start("a daemon", ["sh", "-c", `exec ${binary()} serve ${channels}`]);
    await until("it serves", async () => (await ngrokd("health")).code === 0);
    expect((await run(["curl", "-sS", "http://hello.demo/"])).out).toBe("hello");
    expect(await next.stop()).toBe(0);
    daemon = await serve();
  });
});
