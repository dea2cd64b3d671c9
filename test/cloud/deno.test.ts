import { expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fakeNgrok, fakeServer } from "../support/fake-api.ts";
import { rootCa } from "../support/pki.ts";

const deno = join(import.meta.dir, "../../node_modules/.bin/deno");
const script = join(import.meta.dir, "../support/cloud-on-deno.ts");

test("the cloud room and trust do the same under Deno", async () => {
  await using ngrok = await fakeNgrok();
  await using hang = await fakeServer(() => "hang");
  await using hangInBody = await fakeServer(() => "hang-in-body");
  await using reset = await fakeServer(() => "reset");
  await using endless = await fakeServer(() => "endless-body");
  await using redirect = await fakeServer(() => ({
    status: 302,
    headers: { location: ngrok.url },
  }));
  await using html = await fakeServer(() => ({ status: 502, text: "<html></html>" }));
  const servers = {
    hang: hang.url,
    hangInBody: hangInBody.url,
    reset: reset.url,
    endless: endless.url,
    redirect: redirect.url,
    html: html.url,
    refused: "http://127.90.0.2:18403",
    tls: ngrok.url.replace("http:", "https:"),
  };
  const folder = await mkdtemp(join(tmpdir(), "ngrokd-test-"));
  try {
    const caFile = join(folder, "ca.crt");
    await writeFile(caFile, (await rootCa("Made CA")).cert);
    const args = [
      folder,
      ngrok.url,
      caFile,
      ...Object.entries(servers).map(([name, url]) => `${name}=${url}`),
    ];
    const run = Bun.spawn([deno, "run", "-A", script, ...args], { stdout: "pipe", stderr: "pipe" });
    const [out, problems] = await Promise.all([run.stdout.text(), run.stderr.text()]);
    expect(problems).toBe("");
    expect(JSON.parse(out)).toEqual({
      identity: true,
      fits: true,
      issuer: "CN=Fake ngrok CA, O=Test",
      failures: {
        hang: "timeout",
        hangInBody: "timeout",
        reset: "network cut",
        endless: "protocol",
        redirect: "protocol 302",
        html: "api 502",
        refused: "network refused",
        tls: "network tls",
      },
      installed: ["CN=Made CA, O=Test"],
      trust: [true, true],
      warnings: [],
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);
