import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { byWord, type NameRules } from "../../src/exposure/verdict.ts";
import { createNames, type Word } from "../../src/names/names.ts";
import type { Answer } from "../../src/names/question.ts";
import { memoryLog } from "../support/memory-log.ts";
import { until } from "../support/story.ts";

const endings: (() => void)[] = [];
afterEach(() => {
  for (const end of endings.splice(0)) end();
});

const noWord = (): undefined => undefined;
const wordOf =
  (rules: Partial<NameRules>): Word =>
  (subject) =>
    byWord(subject, {
      ...{ allow: [], deny: [], only: [], named: new Set(), paused: new Set() },
      ...rules,
    });
const used: Answer = { kind: "addresses", addresses: ["192.0.2.1"] };
const nobody: Answer = { kind: "none" };
const silence: Answer = { kind: "silent" };
const minute = 60_000;
const uplink = "192.0.2.54";

/** A machine whose name servers have these answers. */
function machine() {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-names-"));
  endings.push(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "names.json");
  const assignment = new Map<string, string>();
  /** By name; others do not exist. `all`: for every name. */
  const answers = new Map<string, Answer>();
  const asked: string[] = [];
  const log = memoryLog();
  const clock = { now: 0 };
  const told: true[] = [];
  const start = async (
    more: { search?: string[]; keeps?: boolean; uplinks?: Record<string, Answer> } = {},
  ) => {
    const names = createNames({
      stateFolder: folder,
      assignment: () => assignment,
      async ask(name, [server]) {
        asked.push(name);
        if (server === uplink) return more.uplinks?.[name] ?? nobody;
        return answers.get("all") ?? answers.get(name) ?? nobody;
      },
      conf: () => ({ servers: ["192.0.2.53"], search: more.search ?? [], uplinks: [uplink] }),
      log,
      changed: () => void told.push(true),
      now: () => clock.now,
      ...(more.keeps !== undefined && { keeps: more.keeps }),
    });
    await names.load();
    return names;
  };
  return {
    file,
    assignment,
    answers,
    log,
    start,
    later(ms: number) {
      clock.now += ms;
    },
    changes: () => told.length,
    /** The names that were asked for since the last call, without canaries. */
    asked: () => asked.splice(0).filter((name) => !/^[0-9a-f]{16}\./.test(name)),
  };
}

describe("look", () => {
  test("finds names that lead elsewhere, and asks for each once", async () => {
    const { answers, start, asked } = machine();
    answers.set("github.com", used);
    const names = await start();
    expect(names.standing("a.demo").kind).toBe("free");
    expect(await names.look(new Set(["a.demo", "github.com"]), noWord, 5000)).toBe(true);
    expect(names.standing("a.demo")).toEqual({ kind: "free" });
    expect(names.standing("github.com")).toEqual({ kind: "elsewhere", addresses: ["192.0.2.1"] });
    expect(asked()).toEqual(["github.com", "a.demo"]);
    await names.look(new Set(["a.demo", "github.com"]), noWord, 5000);
    expect(asked()).toEqual([]);
  });

  test("looks refused names up again, and takes other addresses for no news", async () => {
    const { answers, start, later, asked, changes } = machine();
    answers.set("github.com", used);
    const names = await start();
    await names.look(new Set(["github.com"]), noWord, 5000);
    const before = names.changes;
    answers.set("github.com", { kind: "addresses", addresses: ["192.0.2.99"] });
    later(11 * minute);
    await names.look(new Set(["github.com"]), noWord, 5000);
    await until("it is asked again", () => asked().includes("github.com"));
    expect(names.standing("github.com")).toEqual({ kind: "elsewhere", addresses: ["192.0.2.1"] });
    expect([names.changes, changes()]).toEqual([before, 0]);
    answers.set("github.com", nobody);
    later(11 * minute);
    await names.look(new Set(["github.com"]), noWord, 5000);
    await until("the name is free", () => names.standing("github.com").kind === "free");
    await until("the change is told", () => changes() === 1);
  });

  test("asks about no name that the user has allowed, denied or paused", async () => {
    const { start, asked } = machine();
    const names = await start();
    const word = wordOf({ allow: ["a.*"], deny: ["b.*"], paused: new Set(["c.demo"]) });
    await names.look(new Set(["a.demo", "b.demo", "c.demo"]), word, 5000);
    expect(asked()).toEqual([]);
  });

  test("asks about a name when the user's permission has ended", async () => {
    const { start, answers, assignment } = machine();
    answers.set("github.com", used);
    const names = await start();
    await names.look(new Set(["github.com"]), wordOf({ allow: ["*"] }), 5000);
    assignment.set("github.com", "127.0.0.2");
    const later = await start();
    await later.look(new Set(["github.com"]), noWord, 5000);
    await until("the answer is here", () => later.standing("github.com").kind === "elsewhere");
  });

  test("keeps names that have an address, whatever the name servers say", async () => {
    const { assignment, start, asked } = machine();
    const names = await start();
    assignment.set("a.demo", "127.0.0.2");
    await names.look(new Set(["a.demo"]), noWord, 5000);
    expect(names.standing("a.demo")).toEqual({ kind: "kept" });
    expect(asked()).toEqual([]);
  });

  test("knows public suffixes, search domains and wpad without a question", async () => {
    const { start, asked } = machine();
    const names = await start({ search: ["corp.example"] });
    const subjects = ["com", "*.github.io", "corp.example", "wpad.demo", "internal"];
    await names.look(new Set(subjects), noWord, 5000);
    expect(subjects.map((subject) => names.standing(subject).kind)).toEqual([
      "suffix",
      "suffix",
      "searched",
      "discovery",
      "free",
    ]);
    expect(asked()).toEqual(["internal", "internal.corp.example"]);
  });

  test("asks about public names first, since there may be no time for all", async () => {
    const { start, asked } = machine();
    const names = await start();
    await names.look(new Set(["a.demo", "b.internal", "c.com", "d.co.uk"]), noWord, 5000);
    expect(asked()).toEqual(["c.com", "d.co.uk", "a.demo", "b.internal"]);
  });

  test("completes a short name with the search list, as resolvers do", async () => {
    const { answers, start } = machine();
    answers.set("intranet.corp.example", used);
    const names = await start({ search: ["corp.example"] });
    await names.look(new Set(["intranet", "db"]), noWord, 5000);
    expect(names.standing("intranet").kind).toBe("elsewhere");
    expect(names.standing("db").kind).toBe("free");
  });

  test("refuses the wildcard of a zone that has names", async () => {
    const { answers, start } = machine();
    answers.set("team.example", { kind: "empty" });
    answers.set("site.example", used);
    const names = await start();
    const subjects = ["*.team.example", "*.site.example", "*.team.demo"];
    await names.look(new Set(subjects), noWord, 5000);
    expect(subjects.map((subject) => names.standing(subject))).toEqual([
      { kind: "elsewhere", addresses: [] },
      { kind: "elsewhere", addresses: ["192.0.2.1"] },
      { kind: "free" },
    ]);
  });

  test("believes no network that has an address for every name", async () => {
    const { answers, start } = machine();
    answers.set("all", used);
    const names = await start({ search: ["corp.example"] });
    await names.look(new Set(["a.demo", "short", "*.b.demo"]), noWord, 5000);
    expect(["a.demo", "short", "*.b.demo"].map((one) => names.standing(one).kind)).toEqual([
      "free",
      "free",
      "free",
    ]);
  });

  test("does not take an address of ours for another meaning", async () => {
    const { answers, assignment, start } = machine();
    const names = await start();
    assignment.set("b.demo", "127.0.0.2");
    answers.set("a.demo", { kind: "addresses", addresses: ["127.0.0.2"] });
    await names.look(new Set(["a.demo"]), noWord, 5000);
    expect(names.standing("a.demo").kind).toBe("free");
  });
});

describe("look, if a local resolver reads our lines of the hosts file", () => {
  test("asks the servers behind it", async () => {
    const { answers, assignment, start } = machine();
    assignment.set("b.demo", "127.0.0.2");
    const ours: Answer = { kind: "addresses", addresses: ["127.0.0.2"] };
    answers.set("a.demo", ours);
    answers.set("github.com", ours);
    const names = await start({ uplinks: { "github.com": used } });
    await names.look(new Set(["a.demo", "github.com"]), noWord, 5000);
    expect(names.standing("a.demo").kind).toBe("free");
    expect(names.standing("github.com").kind).toBe("elsewhere");
  });
});

describe("look, if the name servers are silent", () => {
  test("serves the names after one question, and asks again a minute later", async () => {
    const { answers, start, asked, later, changes } = machine();
    answers.set("all", silence);
    const names = await start();
    await names.look(new Set(["a.demo", "github.com"]), noWord, 5000);
    expect(names.standing("github.com").kind).toBe("free");
    expect(asked()).toEqual([]);
    answers.delete("all");
    answers.set("github.com", used);
    later(2 * minute);
    expect(await names.look(new Set(["a.demo", "github.com"]), noWord, 5000)).toBe(true);
    await until("the answers have come", () => changes() === 1);
    expect(names.standing("github.com").kind).toBe("elsewhere");
    expect(names.standing("a.demo").kind).toBe("free");
  });

  test("lets the answer of before count, also after a restart", async () => {
    const { answers, start, later } = machine();
    answers.set("github.com", used);
    const names = await start();
    await names.look(new Set(["github.com"]), noWord, 5000);
    answers.set("all", silence);
    later(60 * minute);
    await names.look(new Set(["github.com"]), noWord, 5000);
    expect(names.standing("github.com").kind).toBe("elsewhere");
    const after = await start();
    await after.look(new Set(["github.com"]), noWord, 5000);
    expect(after.standing("github.com").kind).toBe("elsewhere");
  });

  test("does not take a name for known that was served without an answer", async () => {
    const { answers, assignment, start } = machine();
    answers.set("all", silence);
    const names = await start();
    await names.look(new Set(["github.com"]), noWord, 5000);
    assignment.set("github.com", "127.0.0.2");
    await names.look(new Set(["github.com"]), noWord, 5000);
    answers.delete("all");
    answers.set("github.com", used);
    const after = await start();
    await after.look(new Set(["github.com"]), noWord, 5000);
    await until("the answer has come", () => after.standing("github.com").kind === "elsewhere");
  });

  test("waits no longer than it may, and tells of the answer later", async () => {
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const folder = mkdtempSync(join(tmpdir(), "ngrokd-names-"));
    endings.push(() => rmSync(folder, { recursive: true }));
    const told: true[] = [];
    const names = createNames({
      stateFolder: folder,
      assignment: () => new Map(),
      ask: () => promise,
      conf: () => ({ servers: [], search: [] }),
      log: memoryLog(),
      changed: () => void told.push(true),
    });
    await names.load();
    expect(await names.look(new Set(["a.demo"]), noWord, 10)).toBe(false);
    expect(names.standing("a.demo").kind).toBe("pending");
    resolve(nobody);
    await until("it tells of the answer", () => told.length === 1);
    expect(names.standing("a.demo").kind).toBe("free");
  });
});

describe("look, after an earlier version", () => {
  test("reports the odd names once, and serves them", async () => {
    const { assignment, answers, start, log } = machine();
    assignment.set("github.com", "127.0.0.2").set("a.demo", "127.0.0.3");
    answers.set("github.com", used);
    const names = await start();
    await names.look(new Set(["a.demo", "github.com"]), noWord, 5000);
    await until("it is reported", () => log.lines.length > 0);
    expect(log.lines).toEqual([
      'warn These names stay served, though they would be refused if they were new: "github.com" leads to 192.0.2.1 without ngrokd (hint: names.allow: [github.com] confirms; names.deny refuses)',
    ]);
    expect(names.standing("github.com").kind).toBe("kept");
    const after = await start();
    await after.look(new Set(["a.demo", "github.com"]), noWord, 5000);
    await Bun.sleep(20);
    expect(log.lines).toHaveLength(1);
  });

  test("reports them at the first time that the name servers reply", async () => {
    const { assignment, answers, start, log } = machine();
    assignment.set("github.com", "127.0.0.2");
    answers.set("all", silence);
    const names = await start();
    await names.look(new Set(["github.com"]), noWord, 5000);
    await Bun.sleep(20);
    expect(log.lines).toEqual([]);
    answers.delete("all");
    answers.set("github.com", used);
    await names.look(new Set(["github.com"]), noWord, 5000);
    await until("it is reported", () => log.lines.length === 1);
  });
});

describe("look, after an earlier version with names that get no reply", () => {
  test("reports the others, and asks about those names alone at the next pass", async () => {
    const { assignment, answers, start, asked, log } = machine();
    assignment.set("github.com", "127.0.0.2").set("a.demo", "127.0.0.3").set("b.com", "127.0.0.4");
    answers.set("github.com", used).set("b.com", silence);
    const names = await start();
    const subjects = ["a.demo", "b.com", "github.com"];
    await names.look(new Set(subjects), noWord, 5000);
    await until("it is reported", () => log.lines.length === 1);
    expect(log.lines[0]).toContain('"github.com" leads to 192.0.2.1');
    expect(asked()).toEqual(["b.com", "github.com", "a.demo"]);
    answers.set("b.com", used);
    await names.look(new Set(subjects), noWord, 5000);
    await until("the rest is reported", () => log.lines.length === 2);
    expect(log.lines[1]).toContain('new: "b.com" leads to 192.0.2.1 without ngrokd (hint');
    expect(asked()).toEqual(["b.com"]);
    await names.look(new Set(subjects), noWord, 5000);
    await Bun.sleep(20);
    expect(asked()).toEqual([]);
  });
});

describe("pause", () => {
  test("is kept over restarts, and tells whether it is a change", async () => {
    const { start, file } = machine();
    const names = await start();
    const { changes } = names;
    expect(await names.pause("a.demo", true)).toBe(true);
    expect(await names.pause("a.demo", true)).toBe(false);
    expect(names.changes).toBe(changes + 1);
    expect([...(await start()).paused]).toEqual(["a.demo"]);
    expect(JSON.parse(readFileSync(file, "utf8")).paused).toEqual(["a.demo"]);
    expect(await names.pause("a.demo", false)).toBe(true);
    expect([...(await start()).paused]).toEqual([]);
  });

  test("rejects if the file cannot be written, and changes nothing", async () => {
    const { start, file } = machine();
    const names = await start();
    rmSync(join(file, ".."), { recursive: true });
    expect(names.pause("a.demo", true)).rejects.toMatchObject({ code: "state" });
    await Bun.sleep(10);
    expect([...names.paused]).toEqual([]);
    endings.pop();
  });
});

describe("the file", () => {
  test("is not written for a preview", async () => {
    const { start, file } = machine();
    const names = await start({ keeps: false });
    await names.look(new Set(["a.demo"]), noWord, 5000);
    expect(existsSync(file)).toBe(false);
  });

  test.each([
    ["no JSON", "{"],
    ["another form", '{"paused":[1]}'],
    [
      "a name that is none",
      '{"paused":["a\\nb"],"elsewhere":{},"open":[],"free":[],"reported":true}',
    ],
  ])("with %s counts as empty, with a warning, and is kept aside", async (_, text) => {
    const { start, file, log } = machine();
    writeFileSync(file, text);
    await start({ keeps: false });
    expect(readFileSync(file, "utf8")).toBe(text);
    const names = await start();
    expect([...names.paused]).toEqual([]);
    expect(log.lines).toHaveLength(2);
    expect(log.lines[1]).toContain(`"${file}" cannot be used`);
    const aside = /moved aside to "(\S+)"/.exec(log.lines[1] ?? "")?.[1] ?? "";
    await names.pause("a.demo", true);
    expect(readFileSync(aside, "utf8")).toBe(text);
  });
});
