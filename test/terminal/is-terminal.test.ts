import { expect, test } from "bun:test";
import { closeSync, constants, openSync } from "node:fs";
import { isTerminal } from "../../src/terminal/is-terminal.ts";

test.each([
  { name: "/dev/ptmx", is: true },
  { name: "/dev/null", is: false },
  { name: "/dev/zero", is: false },
  { name: import.meta.path, is: false },
])("of $name it is $is", ({ name, is }) => {
  const flags = is ? constants.O_RDWR | constants.O_NOCTTY : constants.O_RDONLY;
  const fd = openSync(name, flags);
  try {
    expect(isTerminal(fd)).toBe(is);
  } finally {
    closeSync(fd);
  }
});

test("a descriptor that is not open is no terminal", () => {
  expect(isTerminal(9999)).toBe(false);
});
