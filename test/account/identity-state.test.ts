import { describe, expect, test } from "bun:test";
import {
  adopted,
  filesRead,
  filesUnusable,
  type HeldIdentity,
  ingressNamed,
  msUntilDue,
  nothingYet,
  partSaved,
  partUnsaved,
  renewalEnded,
  renewalFailed,
  renewalTroubleAt,
  renewed,
  twinsSearched,
  warningsOf,
} from "../../src/account/identity-state.ts";
import type { Identity } from "../../src/cloud/registration.ts";
import { hours, issue, rootCa } from "../support/pki.ts";

const ca = await rootCa("Some CA");
const now = new Date();
const first = await issue(ca, "first", { notBefore: hours(-90), notAfter: hours(60) });
const next = await issue(ca, "next", { notBefore: hours(-1), notAfter: hours(300) });

/** Less than a third of the first one's life is left. */
const whenDue = hours(20);

const identity: Identity = {
  operatorId: "k8sop_1",
  certPem: first.cert,
  keyPem: first.key,
  ingressEndpoint: undefined,
};
const fresh: Identity = { ...identity, certPem: next.cert };
const held = (): HeldIdentity => ({
  ...adopted(nothingYet, identity, now),
  stamp: "1",
  twinsDue: undefined,
});
const found = (value: Identity) => ({ kind: "identity", identity: value }) as const;
const warnings = (state: HeldIdentity): string[] => warningsOf(state, 0, now);

describe("the files of an identity", () => {
  test("are adopted when there is none in use", () => {
    const { state, lines } = filesRead(nothingYet, found(identity), "1", now);
    expect(state).toMatchObject({ kind: "held", identity, stamp: "1", unsaved: {} });
    expect(lines).toBeUndefined();
  });

  test("that make none are logged once", () => {
    const broken = { kind: "unusable", reason: "there is no key" } as const;
    const told = filesRead(nothingYet, broken, "1", now);
    expect(told.lines).toHaveLength(1);
    expect(filesRead(told.state, broken, "2", now).lines).toBeUndefined();
    expect(filesRead(nothingYet, { kind: "none" }, "1", now)).toEqual({ state: nothingYet });
  });

  test("that say the same change nothing but the stamp", () => {
    const { state, lines } = filesRead(held(), found({ ...identity }), "2", now);
    expect(state).toEqual({ ...held(), stamp: "2" });
    expect(lines).toBeUndefined();
  });

  test("of another operator are taken over, and twins are due again", () => {
    const other = { ...identity, operatorId: "k8sop_2" };
    const before = { ...held(), hasNoIngress: true, unsaved: { ingress: "full" } };
    const { state, lines } = filesRead(before, found(other), "2", now);
    expect(state).toMatchObject({ identity: other, unsaved: {}, hasNoIngress: false });
    expect(state).toHaveProperty("twinsDue", new Date(now.getTime() + 30_000));
    expect(lines?.map(({ text }) => text)).toEqual([
      "The files of the identity have changed: now using the operator k8sop_2",
    ]);
  });

  test("that cannot be used leave the identity, and are logged once", () => {
    const { state, lines } = filesUnusable(held(), "they are gone", now);
    expect(state.identity).toBe(identity);
    expect(lines).toHaveLength(1);
    expect(warnings(state)).toEqual([expect.stringContaining("they are gone")]);
    expect(filesUnusable(state, "they are gone", now).lines).toEqual([]);
  });

  test("of our own expired certificate are no trouble", () => {
    const before = held();
    expect(filesUnusable(before, "expired", hours(61))).toEqual({ state: before });
  });
});

describe("an unsaved part", () => {
  test("stays when ngrok names the ingress after a renewal", () => {
    const { state } = partUnsaved(renewed(held(), fresh), "certificate", "no space left");
    const named = ingressNamed(state, "late.example.com:443");
    expect(Object.keys(named.unsaved)).toEqual(["certificate", "ingress"]);
    expect(named.identity).toEqual({ ...fresh, ingressEndpoint: "late.example.com:443" });
    expect(warnings(named)).toEqual([expect.stringContaining("no space left")]);
  });

  test("is logged when its trouble changes, and goes when it is saved", () => {
    const tries = partUnsaved(renewed(held(), fresh), "certificate", "no space left");
    expect(tries.lines).toHaveLength(1);
    expect(partUnsaved(tries.state, "certificate", "no space left").lines).toEqual([]);
    expect(partUnsaved(tries.state, "certificate", "read-only").lines).toHaveLength(1);
    const saved = partSaved(tries.state, "certificate");
    expect(saved.unsaved).toEqual({ ingress: "" });
    expect(warnings(saved)).toEqual([]);
  });

  test("counts more than the file of before", () => {
    const before = ingressNamed(held(), "new.example.com:443");
    const { state } = filesRead(before, found({ ...identity }), "2", now);
    expect(state).toMatchObject({ identity: { ingressEndpoint: "new.example.com:443" } });
    const { state: changed } = filesRead(before, found(fresh), "2", now);
    expect(changed).toMatchObject({
      identity: { certPem: next.cert, ingressEndpoint: "new.example.com:443" },
      unsaved: { ingress: "" },
    });
  });

  test("is none when ngrok names no ingress", () => {
    const state = ingressNamed(held(), undefined);
    expect(state.hasNoIngress).toBe(true);
    expect(state.unsaved).toEqual({});
    expect(state.identity).toBe(identity);
  });
});

describe("a renewal", () => {
  test("that fails waits for longer each time, and is logged once", () => {
    const error = new Error("no route");
    const once = renewalFailed(held(), error, whenDue, 1);
    expect(once.lines).toHaveLength(1);
    expect(once.state.renewalTrouble).toMatchObject({ failures: 1, reason: "no route" });
    const twice = renewalFailed(once.state, error, whenDue, 1);
    expect(twice.lines).toEqual([]);
    expect(twice.state.renewalTrouble?.failures).toBe(2);
    const waits = [once, twice].map(({ state }) => state.renewalTrouble?.next.getTime() ?? 0);
    expect(waits[1]).toBeGreaterThan(waits[0] ?? 0);
  });

  test("that fails before it is due is logged, and leaves no trouble", () => {
    const { state, lines } = renewalFailed(held(), new Error("no route"), now, 1);
    expect(lines).toHaveLength(1);
    expect(state.renewalTrouble).toBeUndefined();
    expect(warnings(state)).toEqual([]);
  });

  test("that failed by a clock that has come back since is no trouble", () => {
    const { state } = renewalFailed(held(), new Error("no route"), whenDue, 1);
    expect(warningsOf(state, 14, whenDue)).toHaveLength(1);
    expect(warnings(state)).toEqual([]);
    expect(renewalTroubleAt(state, whenDue)).toEqual(state.renewalTrouble);
    expect(renewalTroubleAt(state, now)).toBeUndefined();
  });

  test("ends its trouble, unless the new certificate is due again", () => {
    const { state } = renewalFailed(held(), new Error("no route"), whenDue, 1);
    expect(renewalEnded(renewed(state, fresh), now, 1).state.renewalTrouble).toBeUndefined();
    const due = renewalEnded(renewed(state, fresh), hours(290), 1);
    expect(due.state.renewalTrouble).toMatchObject({ failures: 2 });
    expect(due.lines?.[0]?.text).toContain("due for renewal already");
  });

  test("decides msUntilDue, or the search for twins does", () => {
    const adoptedNow = adopted(nothingYet, fresh, now);
    expect(msUntilDue(nothingYet, now)).toBe(Number.POSITIVE_INFINITY);
    expect(msUntilDue(adoptedNow, now)).toBe(30_000);
    expect(msUntilDue(twinsSearched(adoptedNow, false, now), now)).toBe(30_000);
    expect(msUntilDue(twinsSearched(adoptedNow, true, now), now)).toBeGreaterThan(30_000);
    // The clock was set back by a day.
    expect(msUntilDue(adoptedNow, new Date(now.getTime() - 86_400_000))).toBe(0);
  });
});
