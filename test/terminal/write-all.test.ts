import { expect, test } from "bun:test";
import { isNgrokdError } from "../../src/model/error.ts";
import { writeAll } from "../../src/terminal/write-all.ts";

/** A descriptor that answers each write by the next of these. */
function descriptor(...answers: (number | string)[]) {
  const got: string[] = [];
  const write = (_fd: number, bytes: Uint8Array): number => {
    const answer = answers.shift() ?? bytes.length;
    if (typeof answer === "string")
      throw Object.assign(new Error(`${answer}: it, write`), { code: answer });
    got.push(new TextDecoder().decode(bytes.subarray(0, answer)));
    return answer;
  };
  return { got, write };
}

test("a text is written whole, in as many pieces as the system takes", () => {
  const { got, write } = descriptor(2, "EAGAIN", 1, "EINTR");
  writeAll(1, "abcdef", write);
  expect(got).toEqual(["ab", "c", "def"]);
});

test("a reader that has gone is no failure, and gets no more", () => {
  const { got, write } = descriptor(2, "EPIPE");
  writeAll(1, "abcdef", write);
  expect(got).toEqual(["ab"]);
});

test.each(["ENOSPC", "EDQUOT", "EIO", "EBADF", "EFBIG"])(
  "a text that cannot be written is an error: %s",
  (errno) => {
    const { write } = descriptor(2, errno);
    let thrown: unknown;
    try {
      writeAll(1, "abcdef", write);
    } catch (error) {
      thrown = error;
    }
    if (!isNgrokdError(thrown, "output")) throw new Error(`it gave ${thrown}`);
    expect(thrown.message).toBe("Cannot write the result to the standard output: it");
  },
);
