import { beforeAll, expect, test } from "bun:test";
import { createHash, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Release, startRelease } from "../install/support.ts";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { run, start, writeConfig } from "../support/ngrokd.ts";
import { layOverUsrBin, plainSystemctl } from "../support/stand-ins.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { openTmux } from "../support/tmux.ts";
import { page } from "../support/web.ts";

const root = join(import.meta.dirname, "..", "..");
const archive = `ngrokd-1.0.0-${process.platform}-${process.arch}.tar.gz`;

/** A release on loopback, with the binary of the stories. */
async function release(): Promise<Release> {
  const made = await run(["sh", "-c", `tar -cC /run/bin ngrokd | gzip -1 > /run/story/${archive}`]);
  expect(made).toMatchObject({ code: 0, err: "" });
  const bytes = readFileSync(`/run/story/${archive}`);
  const sum = createHash("sha256").update(bytes).digest("hex");
  const served = await startRelease();
  served.serve({
    "install.sh": readFileSync(join(root, "install.sh")),
    SHA256SUMS: `${sum}  ${archive}\n`,
    [archive]: bytes,
  });
  return served;
}

let cloud: Cloud;
let env: Record<string, string>;
let url: string;
const programs = "/run/story/bin";

async function strangersMachine(): Promise<void> {
  mkdirSync(programs, { recursive: true });
  const served = await release();
  atEnd(() => served.close());
  ({ url } = served);
  env = {
    NGROKD_RELEASE_URL: url,
    NGROKD_INSTALL_DIR: programs,
    PATH: `${programs}:${process.env.PATH}`,
  };
  cloud = await startCloud();
  await cloud.add("http://hello.demo", page("hello from behind ngrok\n").address);
  // The stand-in is at another place than ngrok, and has a CA of its own.
  const about = (await (await fetch(`${cloud.apiUrl}/_cloud`)).json()) as {
    intermediate_ca: string;
  };
  const { fingerprint256 } = new X509Certificate(about.intermediate_ca);
  const server = { ingress_ca: "", ingress_ca_sha256: [fingerprint256] };
  writeConfig(configFor(cloud, { api: { key: "" }, server }));
}

/** The first command, and those that the installer names. */
async function installed(): Promise<string[]> {
  expect(existsSync(`${programs}/ngrokd`)).toBe(false);
  const first = `curl -fsSL ${url}/install.sh | sh`;
  const { code, out, err } = await run(["sh", "-c", first], { env });
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const [named = ""] = out.trim().split("\n\n").slice(-1);
  return [first, ...named.split("\n").map((line) => line.trim())];
}

stories("a stranger's first minutes", () => {
  let commands: string[];

  beforeAll(async () => {
    layOverUsrBin({ systemctl: plainSystemctl });
    for (const folder of ["/etc/systemd/system", "/run/systemd/system"])
      mkdirSync(folder, { recursive: true });
    atEnd(() => rmSync("/run/systemd/system", { recursive: true, force: true }));
    await strangersMachine();
  });

  test("the installer of `curl` and `sh` names one command", async () => {
    commands = await installed();
    expect(commands.slice(1)).toEqual(["ngrokd setup"]);
  });

  test("after these two, the first `curl http://hello.demo/` works", async () => {
    const terminal = await openTmux(100, 45, { PATH: env.PATH ?? "" });
    await terminal.line(commands[1] ?? "");
    await terminal.shows("API key (not shown)");
    await terminal.line(cloud.apiKey);
    for (const question of ["❯ As usual", "as a service? (Y/n)", "Go on? (Y/n)"]) {
      await terminal.shows(question);
      await terminal.keys("Enter");
    }
    const screen = await terminal.shows("curl http");
    const [, trial = ""] = /^ {2}(curl http\S+)$/m.exec(screen) ?? [];
    expect(trial).toBe("curl http://hello.demo/");
    await terminal.close();
    const { out, code } = await run(["curl", "-sS", ...trial.split(" ").slice(1)]);
    expect({ out, code }).toEqual({ out: "hello from behind ngrok\n", code: 0 });
    expect(commands).toHaveLength(2);
    expect((await run([`${programs}/ngrokd`, "service", "uninstall"])).code).toBe(0);
  });

  test("the README names the same two commands, and no step of trust among them", () => {
    const [, use = ""] = readFileSync(join(root, "README.md"), "utf8").split("\n## Use it\n");
    const [steps = ""] = use.split("From then on the names work");
    const named = [...steps.matchAll(/^ {4}(\S.*?)(?: {2,}#.*)?$/gm)].map(([, text]) => text);
    expect(named).toEqual([
      expect.stringMatching(/^curl -fsSL https:\S+\/install\.sh \| sudo sh$/),
      "sudo ngrokd setup",
    ]);
    expect(use.match(/ngrokd trust\b.*/g)).toEqual([expect.stringMatching(/^ngrokd trust URL`/)]);
  });
});

stories("a stranger's first minutes without systemd", () => {
  let commands: string[];

  beforeAll(strangersMachine);

  test("the installer names a second command, which runs the daemon", async () => {
    commands = await installed();
    expect(commands.slice(1)).toEqual(["ngrokd setup", "ngrokd serve"]);
  });

  test("after these three, the first `curl http://hello.demo/` works", async () => {
    const [, setUp = "", serve = ""] = commands;
    // On a terminal it asks; flags and stdin answer instead.
    const flags = `${setUp} --yes --api-key-file -`;
    const given = await run(["sh", "-c", flags], { env, stdin: `${cloud.apiKey}\n` });
    expect({ code: given.code, out: given.out }).toEqual({
      code: 0,
      out: expect.stringContaining(`\n  ${programs}/${serve}\n`),
    });
    start("the daemon", ["sh", "-c", `exec ${serve}`], { env });
    await until("the name has an address", () =>
      readFileSync("/etc/hosts", "utf8").includes("hello.demo"),
    );
    const { out, code } = await run(["curl", "-sS", "http://hello.demo/"]);
    expect({ out, code }).toEqual({ out: "hello from behind ngrok\n", code: 0 });
    expect(commands).toHaveLength(3);
  });
});
