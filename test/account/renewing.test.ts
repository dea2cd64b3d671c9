import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  certificateWarning,
  msUntilRenewal,
  type RenewalTrouble,
  renewalNeed,
} from "../../src/account/renewing.ts";
import { lifeText } from "../../src/model/life.ts";

const day = 86_400_000;
const at = (days: number): Date => new Date(days * day);
const certificate = { notBefore: at(0), notAfter: at(90) };
const trouble = (next: Date): RenewalTrouble => ({
  failures: 2,
  next,
  reason: "no route",
  hint: "wait",
});

describe("the need for a renewal", () => {
  test("is due with the last third of its life, and after a failure in time", () => {
    expect(renewalNeed(certificate, undefined, at(59.9))).toBe("fine");
    expect(renewalNeed(certificate, undefined, at(60))).toBe("due");
    expect(renewalNeed(certificate, trouble(at(61)), at(60.99))).toBe("waiting");
    expect(renewalNeed(certificate, trouble(at(61)), at(61))).toBe("due");
    expect(renewalNeed(certificate, undefined, at(1000))).toBe("due");
  });

  test("does not wait for a time that a wrong clock has set, years ahead", () => {
    const failed = trouble(at(3650));
    expect(renewalNeed(certificate, failed, at(61))).toBe("due");
    expect(msUntilRenewal(certificate, failed, at(61))).toBe(0);
    expect(renewalNeed(certificate, failed, at(10))).toBe("fine");
    expect(msUntilRenewal(certificate, failed, at(10)) / day).toBe(50);
  });

  test("comes when it is due, and never at once after a failure", () => {
    fc.assert(
      fc.property(fc.nat(120), fc.option(fc.nat(120), { nil: undefined }), (now, next) => {
        const failed = next === undefined ? undefined : trouble(at(next));
        const wait = msUntilRenewal(certificate, failed, at(now));
        const then = new Date(at(now).getTime() + wait);
        expect(renewalNeed(certificate, failed, then)).toBe("due");
        if (wait > 0)
          expect(renewalNeed(certificate, failed, new Date(then.getTime() - 1))).not.toBe("due");
      }),
    );
  });
});

describe("the warning", () => {
  const warning = (now: Date, failed?: RenewalTrouble, days = 14) =>
    certificateWarning(certificate, failed, days, now);

  test.each([
    ["nothing while all is well", at(10), undefined, undefined],
    ["nothing for a renewal that is due and has time", at(70), undefined, undefined],
    [
      "that the end is near",
      at(80),
      undefined,
      "The client certificate expires in 10 days; it is being renewed",
    ],
    [
      "of a renewal that fails, however long it has",
      at(61),
      trouble(at(62)),
      "The client certificate expires in 29 days; renewing it has failed (no route), and is tried again at 1970-03-04T00:00:00.000Z; wait",
    ],
    [
      "that it has expired",
      at(91),
      undefined,
      "The client certificate expired on 1970-04-01T00:00:00.000Z, and new connections fail; it is being renewed",
    ],
  ] as const)("tells %s", (_what, now, failed, said) => {
    expect(warning(now, failed)).toBe(said as string);
  });

  test("keeps to the margin, which a short life does not make a warning", () => {
    expect(warning(at(80), undefined, 9)).toBeUndefined();
    expect(warning(at(80), undefined, 0)).toBeUndefined();
    expect(
      certificateWarning({ notBefore: at(0), notAfter: at(1) }, undefined, 14, at(0.5)),
    ).toBeUndefined();
  });
});

test.each([
  [89.9 * day, "89 days"],
  [1.5 * day, "1 day 12 h"],
  [day, "1 day"],
  [3_600_000 * 5.5, "5 h"],
  [90_000, "1 min"],
  [59_000, "59 s"],
  [200, "less than a second"],
  [-5, "0 s"],
])("%p ms are %p", (ms, text) => {
  expect(lifeText(ms)).toBe(text);
});
