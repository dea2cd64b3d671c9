import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { faultTable } from "../../src/local-cloud/faults.ts";
import { registered } from "../support/cloud.ts";
import { run } from "../support/ngrokd.ts";
import { stories } from "../support/story.ts";
import { echo } from "../support/tcp.ts";
import { page } from "../support/web.ts";

const docs = join(import.meta.dirname, "../../docs");
const textOf = (file: string): string => readFileSync(join(docs, file), "utf8");

/** The commands of a page: its blocks marked `sh`, in order. */
const blocksOf = (file: string): string[] => [...textOf(file).matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);

/** Runs commands as they stand there, ending at the first that fails. */
const shell = (script: string) => run(["sh", "-euc", script], { cwd: "/run/docs" });

stories("the commands in docs/", () => {
  beforeAll(async () => {
    mkdirSync("/run/docs", { recursive: true });
    mkdirSync("/root", { recursive: true });
  });

  test("usage.md: all of them work, in their order, beside a daemon that serves the endpoints which the page names", async () => {
    const { cloud, daemon } = await registered();
    await cloud.add("http://hello.demo", page("hello").address);
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await daemon.becomes("echo.demo", "listening");
    await daemon.becomes("hello.demo", "listening");
    writeFileSync("/run/docs/api-key", `${cloud.apiKey}\n`);
    const blocks = blocksOf("usage.md");
    expect(blocks.length).toBeGreaterThan(3);
    for (const block of blocks) {
      const { code, out, err } = await shell(block.replaceAll("/root/api-key", "/run/docs/api-key"));
      expect({ block, code, out, err }).toMatchObject({ code: 0 });
    }
  });

  test("local-cloud.md: all of them work, in their order", async () => {
    const blocks = blocksOf("local-cloud.md");
    const { code, out, err } = await shell(`trap 'kill $!' EXIT\n${blocks.join("\n")}`);
    expect({ code, out, err }).toMatchObject({ code: 0 });
    expect(out).toContain("db.demo");
  });

  test("local-cloud.md lists every fault", () => {
    const page = textOf("local-cloud.md");
    const missing = Object.keys(faultTable).filter((name) => name !== "status" && !page.includes(`| \`${name}`));
    expect(missing).toEqual([]);
  });
});
