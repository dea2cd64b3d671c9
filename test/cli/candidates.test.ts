import { describe, expect, test } from "bun:test";
import { candidatesFor } from "../../src/cli/candidates.ts";
import { commands } from "../../src/cli/commands.ts";

const endpoints = async () => [
  { word: "hello.demo", about: "http://hello.demo" },
  { word: "echo.demo", about: "tcp://echo.demo:7000" },
];
const found = async (...words: string[]) => {
  const { words: fitting, files } = await candidatesFor(words, commands, endpoints);
  return files ? ":files" : fitting.map(({ word }) => word);
};

describe("the candidates of a word", () => {
  test.each<[readonly string[], readonly string[] | ":files"]>([
    [["lis"], ["list"]],
    [
      ["config", ""],
      ["check", "show", "edit", "path", "init"],
    ],
    [["config", "in"], ["init"]],
    [["--socket", "/run/x.sock", "sta"], ["status"]],
    [["--so"], ["--socket"]],
    [["list", "--js"], ["--json"]],
    [["list", "--socket", "/ru"], ":files"],
    [["list", "--socket="], ":files"],
    [["config", "check", "./con"], ":files"],
    [["trust", ""], ":files"],
    [
      ["why", ""],
      ["hello.demo", "echo.demo"],
    ],
    [["why", "he"], ["hello.demo"]],
    [["why", "hello.demo", ""], []],
    [["connect", "hello.demo", "e"], ["echo.demo"]],
    [["pause", "--json", "h"], ["hello.demo"]],
    [["doctor", "--early-data", "h"], ["hello.demo"]],
    [["doctor", "--early-data=h"], ["--early-data=hello.demo"]],
    [
      ["exec", "--net", ""],
      ["none", "proxy"],
    ],
    [["exec", "--", "cu"], ":files"],
    [
      ["completion", ""],
      ["bash", "zsh", "fish", "powershell"],
    ],
    [["nonsense", ""], []],
    [["config", "nonsense", ""], []],
    [["__proto__", ""], []],
  ])("of %j", async (words, expected) => {
    expect(await found(...words)).toEqual(expected as string[]);
  });

  test("are all commands for an empty word", async () => {
    expect(await found("")).toEqual(Object.keys(commands));
    expect(await found()).toEqual(Object.keys(commands));
  });

  test("have their meaning", async () => {
    const { words } = await candidatesFor(["status"], commands, endpoints);
    expect(words).toEqual([{ word: "status", about: commands.status?.description ?? "" }]);
  });
});
