import { describe, expect, test } from "bun:test";
import { codeSeconds, createSessions } from "../../src/web/sessions.ts";

describe("the sessions of browsers", () => {
  test("begin with a code, which works once", () => {
    const { invite, open, of } = createSessions();
    const code = invite(true);
    const token = open(code, 1000) ?? "";
    expect(of(token)).toMatchObject({ mayWrite: true, uid: 1000 });
    expect({ again: open(code, 1000), code: of(code), none: of("") }).toEqual({
      again: undefined,
      code: undefined,
      none: undefined,
    });
  });

  test("end after twelve hours, and a code after two minutes", () => {
    let now = 0;
    const { invite, open, of } = createSessions(() => now);
    const late = invite(false);
    const token = open(invite(false), undefined) ?? "";
    now += codeSeconds * 1000 + 1;
    expect(open(late, undefined)).toBeUndefined();
    now = 12 * 3_600_000;
    expect(of(token)).toBeDefined();
    now += 1;
    expect(of(token)).toBeUndefined();
  });

  test("are few: the oldest makes room", () => {
    const { invite, open, of } = createSessions();
    const tokens = Array.from({ length: 40 }, () => open(invite(false), undefined) ?? "");
    const alive = tokens.map((token) => of(token) !== undefined);
    expect(alive).toEqual([...Array(8).fill(false), ...Array(32).fill(true)]);
  });
});
