import { beforeAll, beforeEach, expect, test } from "bun:test";
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Cloud, startCloud } from "../support/cloud.ts";
import {
  binary,
  defaultConfig,
  examine,
  missedDeadline,
  ngrokd,
  type Ran,
  run,
} from "../support/ngrokd.ts";
import { layOverUsrBin, plainSystemctl, standInFolder } from "../support/stand-ins.ts";
import { atEnd, stories } from "../support/story.ts";
import { onTerminal } from "../support/terminal.ts";
import { openTmux } from "../support/tmux.ts";
import { nobody } from "../support/user.ts";
import { page } from "../support/web.ts";

const unit = "/etc/systemd/system/ngrokd.service";
let cloud: Cloud;

/** A configuration for the local cloud, with comments and without a key. */
const configText = (): string => `# mine, do not touch
api:
  url: ${cloud.apiUrl} # the stand-in
server:
  ingress_ca: ${cloud.caFile}
bound_endpoints:
  poll_interval: 1 # often
`;
const textOf = (path = defaultConfig): string => readFileSync(path, "utf8");
const withKey = (text: string): string =>
  text.replace("api:\n", `api:\n  key: "${cloud.apiKey}"\n`);

function writeText(text: string, path = defaultConfig): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text, { mode: 0o600 });
}

async function freshCloud(): Promise<void> {
  cloud = await startCloud();
  await cloud.add("http://hello.demo", page("hello").address);
}

/** A systemd for ngrokd alone, and groups that change the machine's copy. */
function withSystemd(): void {
  layOverUsrBin({ systemctl: plainSystemctl, journalctl: "echo a line of the log\n" });
  for (const folder of ["/etc/systemd/system", "/run/systemd/system"])
    mkdirSync(folder, { recursive: true });
  const groups = readFileSync("/etc/group");
  atEnd(() => {
    writeFileSync("/etc/group", groups);
    rmSync(unit, { force: true });
    rmSync("/run/systemd/system", { recursive: true, force: true });
  });
}

/**
 * Runs setup beside a daemon. If a step of the examination at its end has
 * missed its deadline, the code is that of another examination.
 */
async function setUp(words: string): Promise<Ran> {
  const ran = await ngrokd(words);
  if (!missedDeadline(ran.out)) return ran;
  return { ...ran, code: (await examine("setup --yes")).code };
}

async function uninstall(): Promise<void> {
  if (existsSync(unit)) await ngrokd("service uninstall");
}

stories("ngrokd setup on a terminal", () => {
  beforeAll(async () => {
    withSystemd();
    await freshCloud();
    writeText(configText());
  });

  test("asks for key, modes, service and user, shows the plan, does it, and names a URL", async () => {
    const terminal = await openTmux(100, 45, { SUDO_USER: "nobody" });
    await terminal.line(`${binary()} setup`);
    await terminal.shows(/ngrok API key \(not shown\)/);
    await terminal.line("a-key-that-nobody-has");
    // Only the second question hides what is typed.
    await terminal.shows(
      /warning: ngrok refused this API key, and nothing was changed[\s\S]*ngrok API key \(not shown\)/,
    );
    await terminal.line(cloud.apiKey);
    await terminal.shows("❯ As usual");
    await terminal.keys("Enter");
    await terminal.shows("Start ngrokd now and at every boot, as a service? (Y/n)");
    await terminal.keys("Enter");
    await terminal.shows('May nobody use ngrokd without sudo, as a member of the group "ngrokd"?');
    await terminal.keys("Enter");
    const asked = await terminal.shows("Go on? (Y/n)");
    expect(asked).not.toContain(cloud.apiKey);
    expect(asked).toContain(`  1. save the API key in ${defaultConfig}; ngrok accepts it\n`);
    expect(asked.replaceAll(/\s+/g, " ")).toContain(
      `2. make nobody a member of the group "ngrokd", install the service ${unit}, start it now`,
    );
    expect(textOf()).toBe(configText());
    expect(existsSync(unit)).toBe(false);

    await terminal.keys("Enter");
    const done = await terminal.shows("  curl http://hello.demo/\n");
    expect(done).toContain("done: save the API key");
    expect(textOf()).toBe(withKey(configText()));
    expect(textOf("/etc/group")).toMatch(/^ngrokd:x:\d+:nobody$/m);
    await terminal.close();
    expect((await run(["curl", "-sS", "http://hello.demo/"])).out).toBe("hello");
  });

  test("a second time it asks nothing, changes nothing, and says so", async () => {
    const before = [textOf(), textOf(unit), statSync(unit).mtimeMs, textOf("/etc/group")];
    const pid = textOf(`${standInFolder}/pid`);
    const { text } = await onTerminal([binary(), "setup"], { env: { SUDO_USER: "nobody" } });
    expect(text).toContain(`Nothing to change: ${defaultConfig} has a key, with loopback`);
    expect(text).not.toContain("?");
    expect(text).toContain("curl http://hello.demo/");
    expect([textOf(), textOf(unit), statSync(unit).mtimeMs, textOf("/etc/group")]).toEqual(before);
    expect(textOf(`${standInFolder}/pid`)).toBe(pid);
  });

  test("a flag changes one mode beside a daemon that runs, and keeps all comments", async () => {
    const { code, err } = await setUp("setup --yes --share 192.0.2.0/24");
    expect({ code, err }).toEqual({
      code: 0,
      err: expect.stringContaining("net.listen_interface  virtual -> 0.0.0.0"),
    });
    expect(textOf()).toStartWith(withKey(configText()));
    const { json } = await ngrokd("config show --json");
    expect(json.settings["access.rules"].value).toEqual([
      { endpoint: "*", from: ["192.0.2.0/24"] },
    ]);
    const [item] = (await ngrokd("list --json")).json;
    expect(item.listen_interface).toBe("0.0.0.0");
    const again = await setUp("setup --yes --share 192.0.2.0/24");
    expect({ code: again.code, err: again.err }).toEqual({
      code: 0,
      err: expect.stringContaining("Nothing to change"),
    });
  });

  test("warns loudly if every machine may connect", async () => {
    expect((await setUp("setup --yes --share nobody")).code).toBe(0);
    writeText(withKey(configText()));
    const { code, out } = await ngrokd("setup --dry-run --share everybody");
    expect(code).toBe(0);
    expect(out.replaceAll(/\s+/g, " ")).toContain(
      "warning: every machine that reaches this one may use your endpoints",
    );
    await uninstall();
  });
});

stories("ngrokd setup with modes of one's own", () => {
  beforeAll(async () => {
    withSystemd();
    await freshCloud();
    await cloud.add("http://*.team.internal", page("wild").address);
    writeText(configText());
    const before = textOf("/etc/resolv.conf");
    writeFileSync("/etc/resolv.conf", "nameserver 127.0.0.99\noptions timeout:20 attempts:1\n");
    atEnd(() => writeFileSync("/etc/resolv.conf", before));
    // Programs ask for IPv4 addresses only if the machine has one besides 127.
    await run(["ip", "address", "replace", "192.0.2.50/32", "dev", "lo"]);
  });

  test("lets one choose addresses, wildcards and machines, and they work", async () => {
    const terminal = await openTmux(100, 45);
    await terminal.line(`${binary()} setup`);
    await terminal.shows("API key (not shown)");
    await terminal.line(cloud.apiKey);
    await terminal.shows("❯ As usual");
    await terminal.keys("Down", "Enter");
    await terminal.shows("❯ Loopback, 127.0.0.0/8");
    await terminal.keys("Down", "Enter");
    await terminal.shows("*.team.internal? (changes /etc/resolv.conf) (y/N)");
    await terminal.line("y");
    await terminal.shows("❯ Only its own programs");
    await terminal.keys("Down", "Enter");
    await terminal.shows("Their addresses, such as");
    await terminal.line("10.0.0.0/33");
    await terminal.shows('"10.0.0.0/33" is no address and no range of addresses');
    await terminal.keys("C-u");
    await terminal.line("198.51.100.0/24, 10.9.8.7");
    await terminal.shows("as a service? (Y/n)");
    await terminal.keys("Enter");
    const plan = await terminal.shows("Go on? (Y/n)");
    expect(plan).toMatch(/net\.subnet +127\.0\.0\.0\/8 -> auto\n/);
    expect(plan).toMatch(/dns\.enabled +false -> true\n/);
    await terminal.keys("Enter");
    await terminal.shows("  curl http://hello.demo/\n");
    await terminal.close();

    expect((await run(["curl", "-sS", "http://any.team.internal/"])).out).toBe("wild");
    const { json } = await ngrokd("list --json");
    const hello = json.find(({ hostname }: { hostname: string }) => hostname === "hello.demo");
    expect(hello).toMatchObject({ ip: expect.stringMatching(/^10\.107\./) });
    const { settings } = (await ngrokd("config show --json")).json;
    expect(settings["access.rules"].value).toEqual([
      { endpoint: "*", from: ["198.51.100.0/24", "10.9.8.7/32"] },
    ]);
    expect(textOf()).toStartWith("# mine, do not touch\n");
    expect(textOf(unit)).toContain("CAP_NET_ADMIN");
  });

  test("takes all of it back by flags, and the unit with it", async () => {
    const { code, err } = await setUp(
      "setup --yes --addresses loopback --no-wildcards --share nobody",
    );
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining("update the service") });
    expect(textOf(unit)).not.toContain("CAP_NET_ADMIN");
    expect(textOf("/etc/resolv.conf")).not.toContain("127.0.0.55");
    expect((await run(["curl", "-sS", "http://hello.demo/"])).out).toBe("hello");
    await uninstall();
  });
});

stories("ngrokd setup that is ended early", () => {
  beforeAll(async () => {
    withSystemd();
    await freshCloud();
  });
  beforeEach(() => writeText(configText()));

  test.each([
    ["the key", /API key \(not shown\)/],
    ["the modes", /❯ As usual/],
    ["the service", /as a service\?/],
    ["the plan", /Go on\?/],
  ])("by Ctrl-C at the question for %s leaves everything as it was", async (what, question) => {
    const questions = [/API key \(not shown\)/, /❯ As usual/, /as a service\?/, /Go on\?/];
    const terminal = await openTmux(100, 45);
    await terminal.line(`${binary()} setup; echo "code $?"`);
    for (const next of questions) {
      await terminal.shows(next);
      if (next.source === question.source) break;
      if (next === questions[0]) await terminal.line(cloud.apiKey);
      else await terminal.keys("Enter");
    }
    await terminal.keys("C-c");
    const end = await terminal.shows("code 1");
    expect(end, what).toContain("error: Setup has ended, and nothing was changed");
    await terminal.close();
    expect({ text: textOf(), unit: existsSync(unit), files: readdirSync("/etc/ngrokd") }).toEqual({
      text: configText(),
      unit: false,
      files: ["config.yml"],
    });
  });

  test("by Ctrl-C in the middle says what is done, and goes on from there", async () => {
    const [head, tail] = plainSystemctl.split("  start)\n");
    const slow = `${head}  start)\nif [ -e ${standInFolder}/slow ]; then sleep 60; fi\n${tail}`;
    layOverUsrBin({ systemctl: slow });
    writeFileSync(`${standInFolder}/slow`, "");
    writeFileSync("/run/tmp/key", cloud.apiKey);
    const terminal = await openTmux(100, 45);
    await terminal.line(`${binary()} setup --yes --api-key-file /run/tmp/key; echo "code $?"`);
    await terminal.shows("done: save the API key");
    await terminal.shows("Waiting for the service manager");
    await terminal.keys("C-c");
    const end = await terminal.shows("code 1");
    expect(end.replaceAll(/\s+/g, " ")).toContain(
      "error: Setup has ended early; this is done: save the API key",
    );
    await terminal.close();
    expect(textOf()).toBe(withKey(configText()));

    rmSync(`${standInFolder}/slow`);
    const { code, json } = await setUp("setup --yes --json");
    expect({ code, changes: json.changes.map((change: { kind: string }) => change.kind) }).toEqual({
      code: 0,
      changes: ["service"],
    });
    await uninstall();
  });

  test("by Ctrl-C while it waits for ngrok has done all, and says so", async () => {
    await cloud.break("latency=600000");
    const terminal = await openTmux(100, 45);
    const words = "setup --yes --offline --api-key-file /run/tmp/key";
    await terminal.line(`${binary()} ${words}; echo "code $?"`);
    await terminal.shows("Waiting for the first answer of ngrok");
    await terminal.keys("C-c");
    const end = await terminal.shows("code 1");
    expect(end).toContain("error: All is set up, but nobody waited for the result");
    await terminal.close();
    await cloud.mend();
    expect(textOf()).toBe(withKey(configText()));
    await uninstall();
  });
});

stories("ngrokd setup beside the Go program", () => {
  const goUnit = "[Service]\nExecStart=/usr/local/bin/ngrokd --config=/etc/ngrokd/config.yml -v\n";

  beforeAll(async () => {
    withSystemd();
    await freshCloud();
    writeText(withKey(configText()));
    writeFileSync(unit, goUnit);
  });

  test("replaces its service only if asked to, and keeps its unit", async () => {
    const { code, err } = await ngrokd("setup --yes");
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("hint:  --take-over") });
    expect(textOf(unit)).toBe(goUnit);
    const taken = await setUp("setup --yes --take-over --json");
    expect({ code: taken.code, json: taken.json }).toMatchObject({
      code: 0,
      json: { changes: [{ kind: "service", does: "take-over" }], try: "curl http://hello.demo/" },
    });
    expect(textOf(`${unit}.go-program`)).toBe(goUnit);
    await uninstall();
  });
});

stories("ngrokd setup by flags alone", () => {
  beforeAll(freshCloud);
  beforeEach(() => writeText(configText()));

  test("takes a key from stdin, and prints what it did as JSON", async () => {
    const { code, json } = await ngrokd("setup --yes --json --api-key-file -", {
      stdin: `${cloud.apiKey}\n`,
    });
    expect({ code, json }).toMatchObject({
      code: 0,
      json: { ok: true, changes: [{ kind: "key", key: "accepted" }], daemon: "none", try: null },
    });
    expect(JSON.stringify(json)).not.toContain(cloud.apiKey);
    expect(textOf()).toBe(withKey(configText()));
  });

  test("takes a key from NGROK_API_KEY, and says how to start without a service", async () => {
    const { code, out, err } = await ngrokd("setup --yes", {
      env: { NGROK_API_KEY: cloud.apiKey },
    });
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringContaining(`  ${binary()} serve\n`),
    });
    expect(err).toContain("note: no service is installed (systemd does not run here)");
    expect(textOf()).toBe(withKey(configText()));
  });

  test("--dry-run shows the plan, and changes nothing", async () => {
    const { code, out } = await ngrokd("setup --dry-run --wildcards");
    expect(code).toBe(0);
    expect(out).toContain("ask for the API key, let ngrok check it, and save it");
    expect(out).toMatch(/dns\.enabled +false -> true/);
    expect(out).toEndWith("Nothing was changed.\n");
    expect(textOf()).toBe(configText());
  });

  test.each([
    ["a key", "setup --yes", "hint:  --api-key-file FILE"],
    ["a confirmation", "setup --api-key-file /run/tmp/key", "hint:  --yes carries out"],
    [
      "a service manager",
      "setup --yes --service --api-key-file /run/tmp/key",
      "Cannot install the service: systemd does not run here",
    ],
    ["a sense", "setup --share 300.1.2.3", 'The flag --share is wrong: "300.1.2.3" is not'],
  ])("names what is missing and changes nothing without %s", async (what, words, said) => {
    writeFileSync("/run/tmp/key", cloud.apiKey);
    const { code, err } = await ngrokd(words);
    expect({ what, failed: code > 0, err }).toEqual({
      what,
      failed: true,
      err: expect.stringContaining(said),
    });
    expect(textOf()).toBe(configText());
  });

  test("a key that ngrok refuses changes nothing", async () => {
    const { code, err } = await ngrokd("setup --yes --api-key-file -", {
      stdin: "a-wrong-key-here",
    });
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringContaining("ngrok refused this API key, and nothing was changed"),
    });
    expect(textOf()).toBe(configText());
  });

  test("a key that ngrok cannot be asked about is saved, with a warning", async () => {
    writeText(configText().replace(/url: \S+/, "url: http://127.0.0.1:1"));
    const { code, err } = await ngrokd("setup --yes --api-key-file -", { stdin: cloud.apiKey });
    expect(code).toBe(0);
    expect(err).toContain("warning: ngrok was not asked about the key");
    expect(textOf()).toContain(`key: "${cloud.apiKey}"`);
  });

  test("a broken configuration is not touched, and --set-aside keeps it", async () => {
    const broken = "api: [\n  # precious\n";
    writeText(broken);
    const refused = await ngrokd("setup --yes --api-key-file -", { stdin: cloud.apiKey });
    expect({ code: refused.code, err: refused.err }).toEqual({
      code: 2,
      err: expect.stringContaining("`ngrokd setup --set-aside` keeps it beside"),
    });
    expect(textOf()).toBe(broken);

    const words = "setup --yes --offline --set-aside --api-key-file -";
    const { code, err } = await ngrokd(words, { stdin: cloud.apiKey });
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining("done: keep the old") });
    const [aside = ""] = readdirSync("/etc/ngrokd").filter((name) => name.includes(".damaged-"));
    expect(textOf(`/etc/ngrokd/${aside}`)).toBe(broken);
    expect((await ngrokd("config check")).code).toBe(0);
    expect(textOf()).toContain(`key: "${cloud.apiKey}"`);
    rmSync(`/etc/ngrokd/${aside}`);
  });

  test.each([
    [defaultConfig, ""],
    ["/run/story/own.yml", " --config /run/story/own.yml"],
  ])("without a file it writes %s, with every setting explained", async (path, named) => {
    rmSync(path, { force: true });
    const { code, out, err } = await ngrokd(`setup --yes --offline --api-key-file -${named}`, {
      stdin: cloud.apiKey,
    });
    expect({ code, out, err }).toMatchObject({
      code: 0,
      out: expect.stringContaining(`ngrokd serve${named}\n`),
    });
    expect(textOf(path)).toStartWith("# The configuration of ngrokd.");
    expect(textOf(path)).toContain(`key: "${cloud.apiKey}"`);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("a wrong variable is named, and is no fault of the file", async () => {
    const { code, err } = await ngrokd("setup --yes --set-aside", {
      env: { NGROKD_SOCKET: "/run/\n.sock" },
    });
    expect({ code, err }).toEqual({
      code: 2,
      err: expect.stringContaining("environment NGROKD_SOCKET"),
    });
    expect(textOf()).toBe(configText());
  });
});

stories("ngrokd setup on a terminal without a cursor", () => {
  beforeAll(freshCloud);

  test("asks in lines, and a number chooses", async () => {
    writeText(configText());
    const terminal = await openTmux(100, 45);
    await terminal.line(`TERM=dumb NGROK_API_KEY=${cloud.apiKey} ${binary()} setup`);
    await terminal.shows("  2) Let me choose");
    await terminal.line("9");
    await terminal.shows("Type a number from 1 to 2 that can be chosen here.");
    await terminal.line("");
    await terminal.shows("Go on? (Y/n)");
    await terminal.line("n");
    await terminal.shows("error: Setup has ended, and nothing was changed");
    await terminal.close();
    expect(textOf()).toBe(configText());
  });

  test("ends at the end of its input, and asks for a key without showing it", async () => {
    const terminal = await openTmux(100, 45);
    await terminal.line(`TERM=dumb ${binary()} setup; echo "code $?"`);
    await terminal.shows("API key (not shown)");
    await terminal.line(cloud.apiKey);
    const screen = await terminal.shows("Number (Enter: 1)");
    expect(screen).not.toContain(cloud.apiKey);
    await terminal.keys("C-d");
    expect(await terminal.shows("code 1")).toContain("error: Setup has ended, and nothing was");
    await terminal.close();
    expect(textOf()).toBe(configText());
  });
});

stories("ngrokd setup without root", () => {
  let home: string;
  let own: string;

  beforeAll(async () => {
    await freshCloud();
    home = mkdtempSync("/run/tmp/home-");
    own = join(home, ".config/ngrokd/config.yml");
    writeText(configText(), own);
    for (const path of ["", ".config", ".config/ngrokd", ".config/ngrokd/config.yml"])
      chownSync(join(home, path), nobody, nobody);
  });
  const asUser = (words: string, stdin = "") =>
    ngrokd(words, { as: "nobody", env: { HOME: home }, stdin, cwd: home });

  test("names sudo, and the flag for this user alone", async () => {
    const { code, err } = await asUser("setup --yes --api-key-file -", cloud.apiKey);
    expect({ code, err }).toEqual({
      code: 5,
      err: expect.stringMatching(/hint: {2}`sudo \S+ setup` does it; `ngrokd setup --user`/),
    });
  });

  test("--user saves the key for this user, and a command then has the names", async () => {
    const { code, out } = await asUser("setup --user --yes --api-key-file -", cloud.apiKey);
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringContaining("ngrokd exec -- curl http://NAME/"),
    });
    expect(textOf(own)).toBe(withKey(configText()));
    expect(existsSync(defaultConfig)).toBe(false);
    const reached = await asUser("exec -- curl -sS http://hello.demo/");
    expect({ code: reached.code, out: reached.out }).toEqual({ code: 0, out: "hello" });
    expect((await asUser("exec -- cat /etc/hosts")).out).toContain("hello.demo");
  });

  test("on a terminal it asks for whom", async () => {
    const terminal = await openTmux(100, 45, { HOME: home });
    const drop = `setpriv --reuid=${nobody} --regid=${nobody} --clear-groups`;
    await terminal.line(`${drop} ${binary()} setup`);
    await terminal.shows("❯ For me alone, without root");
    await terminal.keys("Enter");
    await terminal.shows(`Nothing to change: ${own} has a key.`);
    await terminal.close();
  });
});
