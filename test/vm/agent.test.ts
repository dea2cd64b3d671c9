import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { agentLine, lineFor } from "./agent.ts";

describe("what the agent says", () => {
  test("is that it is up, or what a command said", () => {
    expect(agentLine("@ready")).toEqual({ kind: "ready" });
    const out = Buffer.from("two\nlines").toString("base64");
    expect(agentLine(`@7 1 ${out}`)).toEqual({
      kind: "said",
      number: 7,
      said: { code: 1, out: "two\nlines" },
    });
    expect(agentLine("@7 0 ")).toMatchObject({ said: { code: 0, out: "" } });
  });

  test.each(["", "Core dump limits :", "[  OK  ] Started @7 0", "@ready now", "@7 0 not base64"])(
    "is nothing in %j",
    (text) => expect(agentLine(text)).toBeUndefined(),
  );
});

test("a question is one line, whatever the command contains", () => {
  const line = lineFor(3, "echo 'a\nb'", 60);
  expect(line).toMatch(/^3 60 [\w+/=]+\n$/);
  expect(Buffer.from(line.split(" ")[2] ?? "", "base64").toString()).toBe("echo 'a\nb'");
});

test("the agent's own script is right for bash", () => {
  for (const name of ["agent.sh", "list-files.sh"]) {
    const script = readFileSync(join(import.meta.dirname, "guest", name));
    const { exitCode, stderr } = Bun.spawnSync(["bash", "-n"], { stdin: script });
    expect(`${name}: ${exitCode} ${stderr}`).toBe(`${name}: 0 `);
  }
});
