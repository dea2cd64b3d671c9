import { expect, test } from "bun:test";
import { readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { parseTarGzip } from "nanotar";
import { registered } from "../support/cloud.ts";
import { ngrokd } from "../support/ngrokd.ts";
import { stories } from "../support/story.ts";
import { page } from "../support/web.ts";

const output = "/run/tmp/report.tar.gz";
const password = "hunter2 & more";

stories("`ngrokd support`", () => {
  test("has the facts, and none of the secrets", async () => {
    const { cloud, daemon } = await registered();
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
    // As a file that is gone before the look at it.
    symlinkSync("/nowhere", "/etc/ngrokd/gone");
    const { code, out } = await ngrokd(`support --output ${output}`, {
      env: { HTTPS_PROXY: `http://me:${encodeURIComponent(password)}@127.0.0.1:9`, NO_PROXY: "*" },
    });
    expect(code).toBe(0);
    expect(out).toContain(`Written to ${output}`);
    expect(statSync(output).mode & 0o777).toBe(0o600);
    const files = await parseTarGzip(readFileSync(output));
    const texts = new Map(files.map(({ name, text }) => [name.replace(/^.*\//, ""), text]));
    expect([...texts.keys()].sort()).toEqual([
      "CONTENTS.txt",
      "changes.json",
      "config.json",
      "doctor.txt",
      "events.json",
      "list.json",
      "log.txt",
      "nsswitch.conf",
      "resolv.conf",
      "state-files.txt",
      "status.json",
      "system.json",
    ]);
    for (const name of texts.keys()) if (name !== "CONTENTS.txt") expect(out).toContain(name);
    expect(texts.get("list.json")).toContain("hello.demo");
    expect(texts.get("status.json")).toContain('"phase": "serving"');
    expect(texts.get("doctor.txt")).toContain("ok ");
    expect(texts.get("state-files.txt")).toMatch(/^600 0:0 \d+ \S+ tls\.key$/m);
    const all = [...texts.values()].join("\n");
    const key = readFileSync("/etc/ngrokd/tls.key", "utf8").split("\n")[1] ?? "";
    for (const secret of [cloud.apiKey, password, encodeURIComponent(password), key]) {
      expect(secret.length).toBeGreaterThan(5);
      expect(all.includes(secret)).toBe(false);
    }
  });

  test("overwrites nothing, and follows no link", async () => {
    writeFileSync("/run/tmp/theirs", "theirs");
    symlinkSync("/run/tmp/theirs", "/run/tmp/link.tar.gz");
    for (const path of [output, "/run/tmp/link.tar.gz"])
      expect(await ngrokd(`support --output ${path}`)).toMatchObject({ code: 2, out: "" });
    expect(readFileSync("/run/tmp/theirs", "utf8")).toBe("theirs");
  });

  test("says in a file why a fact is missing, if no daemon runs", async () => {
    const { code } = await ngrokd("support --output /run/tmp/alone.tar.gz --socket /run/none.sock");
    expect(code).toBe(0);
    const files = await parseTarGzip(readFileSync("/run/tmp/alone.tar.gz"));
    const status = files.find(({ name }) => name.endsWith("/status.json"));
    expect(status?.text).toStartWith("not available: No daemon answers");
  });
});
