import { beforeAll, expect, test } from "bun:test";
import { createHash, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Release, startRelease } from "../install/support.ts";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { run, start, writeConfig } from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";
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

stories("a stranger's first minutes", () => {
  const programs = "/run/story/bin";
  let cloud: Cloud;
  let env: Record<string, string>;
  let url: string;
  const commands: string[] = [];

  beforeAll(async () => {
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
  });

  test("the installer of `curl` and `sh` names two commands", async () => {
    expect(existsSync(`${programs}/ngrokd`)).toBe(false);
    const first = `curl -fsSL ${url}/install.sh | sh`;
    const { code, out, err } = await run(["sh", "-c", first], { env });
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const [named = ""] = out.trim().split("\n\n").slice(-1);
    commands.push(first, ...named.split("\n").map((line) => line.trim()));
    expect(commands.slice(1)).toEqual(["ngrokd set-api-key", "ngrokd serve"]);
  });

  test("after these three, the first `curl http://hello.demo/` works", async () => {
    const [, giveKey = "", serve = ""] = commands;
    // On a terminal it asks; a dash reads the key from stdin instead.
    const given = await run(["sh", "-c", `${giveKey} -`], { env, stdin: `${cloud.apiKey}\n` });
    expect({ code: given.code, err: given.err }).toEqual({ code: 0, err: "" });
    start("the daemon", ["sh", "-c", `exec ${serve}`], { env });
    await until("the name has an address", () =>
      readFileSync("/etc/hosts", "utf8").includes("hello.demo"),
    );
    const { out, code } = await run(["curl", "-sS", "http://hello.demo/"]);
    expect({ out, code }).toEqual({ out: "hello from behind ngrok\n", code: 0 });
    expect(commands).toHaveLength(3);
  });

  test("the README names the same three commands, and no step of trust among them", () => {
    const [, use = ""] = readFileSync(join(root, "README.md"), "utf8").split("\n## Use it\n");
    const [steps = ""] = use.split("From then on the names work");
    const named = [...steps.matchAll(/^ {4}(\S.*?)(?: {2,}#.*)?$/gm)].map(([, text]) => text);
    expect(named).toEqual([
      expect.stringMatching(/^curl -fsSL https:\S+\/install\.sh \| sudo sh$/),
      "sudo ngrokd set-api-key",
      "sudo ngrokd service install",
    ]);
    expect(use.match(/ngrokd trust\b.*/g)).toEqual([expect.stringMatching(/^ngrokd trust URL`/)]);
  });
});
