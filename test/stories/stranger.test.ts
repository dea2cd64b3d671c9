import { expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { startRelease, sumLine } from "../install/support.ts";
import { configFor, startCloud } from "../support/cloud.ts";
import { binary, run, start, writeConfig } from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

const installer = join(import.meta.dirname, "../../install.sh");

stories("a stranger's way from `curl | sh` to the first request", () => {
  test("takes three commands, and no certificate or file by hand", async () => {
    const cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    // For a stranger the defaults name ngrok; here they name the local cloud.
    const { fingerprint256 } = new X509Certificate(readFileSync(cloud.caFile));
    const server = { ingress_ca: "", ingress_ca_sha256: [fingerprint256] };
    writeConfig(configFor(cloud, { api: { key: "" }, server }));
    const release = await startRelease();
    atEnd(release.close);
    const name = `ngrokd-1.0.0-linux-${process.arch}.tar.gz`;
    const tar = Bun.spawnSync(["tar", "-cf", "-", "-C", dirname(binary()), basename(binary())], {
      maxBuffer: 1 << 30,
    });
    const bytes = Bun.gzipSync(new Uint8Array(tar.stdout), { level: 1 });
    const script = readFileSync(installer, "utf8");
    release.serve({ "install.sh": script, SHA256SUMS: sumLine(name, bytes), [name]: bytes });
    const env = {
      NGROKD_RELEASE_URL: release.url,
      NGROKD_INSTALL_DIR: "/run/story/bin",
      PATH: `/run/story/bin:${process.env.PATH}`,
    };

    const installed = await run(["sh", "-c", `curl -fsSL ${release.url}/install.sh | sh`], { env });
    expect({ code: installed.code, err: installed.err }).toEqual({ code: 0, err: "" });
    const next = [...installed.out.matchAll(/^ {2}(ngrokd .*)$/gm)].map(([, line = ""]) => line);
    expect(next.map((line) => line.split(" ")[1])).toEqual(["set-api-key", expect.any(String)]);

    const given = await run(["ngrokd", "set-api-key", "-"], { env, stdin: cloud.apiKey });
    expect(given).toMatchObject({ code: 0 });
    start("the stranger's daemon", ["ngrokd", "serve"], { env });
    const answer = await until("the first request is answered", async () => {
      const { code, out } = await run(["curl", "-sS", "--max-time", "5", "http://hello.demo/"]);
      return code === 0 && out;
    });
    expect(answer).toBe("hello");
  });
});
