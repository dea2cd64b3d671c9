import { expect, test } from "bun:test";
import { fstatSync } from "node:fs";
import { isJournal } from "../../src/service/journal-stream.ts";

test("stderr is the journal only if JOURNAL_STREAM names it", () => {
  const { dev, ino } = fstatSync(2);
  expect({
    named: isJournal(`${dev}:${ino}`, 2),
    another: isJournal(`${dev}:${ino + 1}`, 2),
    none: isJournal(undefined, 2),
    closed: isJournal("0:0", 99_999),
  }).toEqual({ named: true, another: false, none: false, closed: false });
});
