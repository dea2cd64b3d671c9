import { describe, expect, test } from "bun:test";
import { commands } from "../../src/cli/commands.ts";
import { type Operation, operationNames, operations } from "../../src/desk/operations.ts";
import { inputOf, wordsOf } from "../../src/desk/words.ts";
import { item, status } from "../cli/support.ts";

describe("the table of operations", () => {
  test.each(operationNames)("explains every argument of %s, and no other", (name) => {
    const { input, help, word }: Operation = operations[name];
    expect(Object.keys(help)).toEqual(Object.keys(input.shape));
    if (word !== undefined) expect(Object.keys(help)).toContain(word);
  });

  // `ngrokd http replay` asks for a replay.
  const withCommand = operationNames.filter((name) => name !== "replay");

  test.each(withCommand)("has a command of the CLI for %s, with its summary", async (name) => {
    const entry = commands[name === "exchanges" ? "http" : name];
    if (typeof entry?.of !== "function") throw new Error(`no command ${name}`);
    expect(entry.description).toBe(operations[name].summary);
    expect((await entry.of()).description).toBe(operations[name].summary);
  });

  test("knows the operations that only read", () => {
    const reads = operationNames.filter((name) => operations[name].kind === "read");
    expect(reads).toEqual([
      "status",
      "list",
      "health",
      "connections",
      "traffic",
      "events",
      "exchanges",
      "doctor",
    ]);
    const personal = operationNames.filter((name) => (operations[name] as Operation).isPersonal);
    expect(personal).toEqual(["connections", "events", "exchanges", "doctor"]);
  });
});

describe("a reply of an older daemon", () => {
  test("is understood without the fields that came later", () => {
    const { seconds_ago: _, ...poll } = status().last_poll ?? {};
    const {
      files: _files,
      network: _network,
      next_poll_seconds: _next,
      ...old
    } = status({ last_poll: poll as never });
    const {
      wildcard: _w,
      wildcard_suffix: _s,
      shared_listener_key: _k,
      ip6: _ip6,
      ...row
    } = item("hello.demo");
    const network = { kind: "loopback", interface: "", subnet: "", subnet6: "" };
    const read = [operations.status.reply.parse(old), operations.list.reply.parse([row])];
    expect(read).toMatchObject([
      { ...old, files: { limit: null }, network },
      [{ ...row, wildcard: false, wildcard_suffix: "", shared_listener_key: "", ip6: "" }],
    ]);
  });
});

describe("a setting that an older daemon never applies", () => {
  test("counts from the next start on", () => {
    const change = { key: "net.subnet", from: "127.0.0.0/8", to: "auto" };
    const report = { ok: true, config_path: "/c", problems: [], warnings: [] };
    const old = { ...report, changes: [{ ...change, counts: "never" }] };
    const { changes } = operations.reload.reply.parse(old);
    expect(changes).toEqual([{ ...change, counts: "restart" }]);
  });
});

describe("an input as words", () => {
  const setKey: Operation = operations["set-api-key"];
  const refreshCert: Operation = operations["refresh-cert"];

  test("is the word and the flags that are on, in the input's order", () => {
    expect(wordsOf(setKey, { key: "K", "switch-account": true })).toEqual([
      "K",
      "--switch-account",
    ]);
    expect(wordsOf(refreshCert, { json: true, force: undefined })).toEqual(["--json"]);
    expect(wordsOf(refreshCert, { json: false, force: true })).toEqual(["--force"]);
    expect(wordsOf(refreshCert, {})).toEqual([]);
  });

  test("has the value of a flag behind it", () => {
    const input = { key: "K", profile: "work" };
    expect(wordsOf(setKey, input)).toEqual(["K", "--profile=work"]);
    expect(inputOf(setKey, wordsOf(setKey, input))).toEqual(input);
  });

  test("is read back, wherever the flags are", () => {
    const moving = { key: "K", "switch-account": true };
    expect(inputOf(setKey, ["K", "--switch-account"])).toEqual(moving);
    expect(inputOf(setKey, ["--switch-account", "K"])).toEqual(moving);
    expect(inputOf(refreshCert, ["--json", "--force"])).toEqual({ json: true, force: true });
  });

  test("has an empty text for a missing word, and only the first of several", () => {
    expect(inputOf(setKey, [])).toEqual({ key: "" });
    expect(inputOf(setKey, ["one", "two"])).toEqual({ key: "one" });
    expect(inputOf(refreshCert, ["one"])).toEqual({});
  });

  test("loses flags that the operation does not have, whatever their names", () => {
    const odd = inputOf(refreshCert, ["--force", "--loud", "--__proto__", "--"]);
    expect(refreshCert.input.parse(odd)).toEqual({ force: true });
  });
});
