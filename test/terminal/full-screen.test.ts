import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { changesOf } from "../../src/terminal/full-screen.ts";
import { keysIn } from "../../src/terminal/keys.ts";
import { onTerminal } from "../support/terminal.ts";

describe("the keys of a terminal", () => {
  test.each([
    ["\u001b[A\u001bOB", ["up", "down"]],
    ["\u001b[5~\u001b[6~\u0002\u0006", ["pageup", "pagedown", "pageup", "pagedown"]],
    ["\u001b[H\u001b[1~\u001bOF\u001b[4~", ["home", "home", "end", "end"]],
    ["\u001b", ["escape"]],
    ["q?/é日", ["q", "?", "/", "é", "日"]],
    ["\r\n\u007f\b", ["enter", "enter", "backspace", "backspace"]],
    ["\u0003\u000c\u001a", ["ctrl-c", "ctrl-l", "ctrl-z"]],
    ["\u001bOP\u001b[11~", ["f1", "f1"]],
  ] as const)("are read from %j", (text, keys) => {
    expect(keysIn(text)).toEqual([...keys]);
  });

  test("leave out what they do not know, such as the mouse and Alt-arrows", () => {
    expect(keysIn("\u001b[1;3Aa\u001b[<0;5;5M\u001b[200~b\u0001\u200e")).toEqual(["a", "b"]);
  });
});

describe("the changes of a screen", () => {
  test("are the lines that differ, each at its place", () => {
    expect(changesOf(["a", "b", "c"], ["a", "x", "c"])).toBe("\u001b[2;1H\u001b[Kx");
    expect(changesOf([], ["a", "", "c"])).toBe("\u001b[1;1H\u001b[Ka\u001b[3;1H\u001b[Kc");
  });

  test("erase lines that are no longer there, and are empty if there are none", () => {
    expect(changesOf(["a", "b"], ["a"])).toBe("\u001b[2;1H\u001b[K");
    expect(changesOf(["a", "b"], ["a", "b"])).toBe("");
  });
});

test("the terminal is given back when the program fails", async () => {
  const child = join(import.meta.dirname, "full-screen.child.ts");
  const { text, code } = await onTerminal([process.execPath, child]);
  expect(code).not.toBe(0);
  expect(text).toMatch(/\x1b\[\?1049h[\s\S]*drawn[\s\S]*\x1b\[\?1049l/);
});
