import { expect, test } from "bun:test";
import { createLogQueue } from "../../src/observe/log-queue.ts";

test("lines that a stuck reader does not take are lost, and it learns how many", () => {
  const { write, taken, told, read } = queue(100);
  for (let i = 0; i < 50; i += 1) write(`line ${i % 10}...\n`);
  expect({ taken: taken.length, told }).toEqual({ taken: 10, told: [] });
  read(5);
  write("new line..\n");
  expect({ last: taken.at(-1), told }).toEqual({ last: "new line..\n", told: [] });
  read(6);
  expect(told).toEqual([40]);
  write("after\n");
  read(1);
  expect({ last: taken.at(-1), told }).toEqual({ last: "after\n", told: [40] });
});

test("a reader that keeps up loses nothing", () => {
  const { write, taken, told, read } = queue(100);
  for (let i = 0; i < 1000; i += 1) {
    write("a line of some length\n");
    read(1);
  }
  expect({ taken: taken.length, told }).toEqual({ taken: 1000, told: [] });
});

test("a line that is longer than the limit is written if nothing waits", () => {
  const { write, taken } = queue(10);
  write("longer than ten\n");
  expect(taken).toEqual(["longer than ten\n"]);
});

/** A queue over a stream that keeps its texts until they are read. */
function queue(limit: number) {
  const taken: string[] = [];
  const waiting: (() => void)[] = [];
  const told: number[] = [];
  const stream = {
    write(text: string, done: () => void) {
      taken.push(text);
      waiting.push(done);
    },
  };
  const write = createLogQueue(stream, (lines) => void told.push(lines), limit);
  const read = (lines: number): void => {
    for (const done of waiting.splice(0, lines)) done();
  };
  return { write, taken, told, read };
}
