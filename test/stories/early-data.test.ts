import { beforeAll, expect, test } from "bun:test";
import type { Finding } from "../../src/doctor/finding.ts";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { type Daemon, examine, ngrokd, run, writeConfig } from "../support/ngrokd.ts";
import { echoes, talking } from "../support/round-trip.ts";
import { stories, until } from "../support/story.ts";
import { dial, echo, upstream } from "../support/tcp.ts";
import { page, sha256, web } from "../support/web.ts";

stories("forward.early_data", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  const on = { forward: { early_data: "on" } };

  beforeAll(async () => {
    ({ cloud, daemon } = await registered());
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await cloud.add("tcp://greeter.demo:25", (await upstream((s) => s.end("220 ready"))).address);
    await cloud.add("http://page.demo", page("a page").address);
    const hashing = web({ fetch: async ({ body }) => new Response(await sha256(body)) });
    await cloud.add("http://hash.demo", hashing.address);
    await daemon.becomes("hash.demo", "listening");
  });

  test("doctor --early-data tries it with HEAD requests, and says what it saw", async () => {
    const { code, json } = await examine("doctor --early-data page.demo --json");
    const [finding, ...more] = json.findings as Finding[];
    expect({ code, finding, more }).toMatchObject({
      code: 0,
      finding: { check: "early-data", level: "ok", about: "page.demo:80" },
      more: [],
    });
    expect(finding?.text).toMatch(/^page\.demo:80: 5 of 5 early requests were answered/);
    const silent = await ngrokd("doctor --early-data greeter.demo:25");
    expect(silent).toMatchObject({
      code: 1,
      out: expect.stringContaining("not tried, since greeter.demo:25 does not answer"),
    });
    const wrong = await ngrokd("doctor --early-data not..a..host");
    expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("Cannot try early data") });
  });

  test("comes with a reload, while connections go on", async () => {
    const before = await talking("echo.demo", 7000);
    // The daemon looks at the file too, and may be the first to read it.
    await until("the command is the first to read the change", async () => {
      writeConfig(configFor(cloud));
      await daemon.reload();
      writeConfig(configFor(cloud, on));
      const { code, out } = await ngrokd("reload");
      expect(code).toBe(0);
      return out.includes("forward.early_data");
    });
    const after = await talking("echo.demo", 7000);
    expect({ before: await echoes(before, "old"), after: await echoes(after, "new") }).toEqual({
      before: true,
      after: true,
    });
    before.reset();
    after.reset();
  });

  test("serves clients that speak first, last, or a lot", async () => {
    const greeted = await dial("greeter.demo", 25);
    expect(await greeted.read(9)).toBe("220 ready");
    greeted.reset();
    const two = "curl -sS http://page.demo/ --next http://page.demo/";
    expect((await run(two.split(" "))).out).toBe("a pagea page");
    const upload = "head -c 3000000 /dev/zero | curl -sS --data-binary @- http://hash.demo/";
    const { out } = await run(["sh", "-c", upload]);
    expect(out).toBe(
      new Bun.CryptoHasher("sha256").update(new Uint8Array(3_000_000)).digest("hex"),
    );
  });

  test("carries forty connections at once, and counts no failure", async () => {
    const working = await Promise.all(Array.from({ length: 40 }, () => talking("echo.demo", 7000)));
    for (const one of working) one.reset();
    expect(working).toHaveLength(40);
    expect((await daemon.endpoint("echo.demo"))?.connections.last_error).toBe("");
  });
});
