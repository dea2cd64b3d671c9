import { describe, expect, test } from "bun:test";
import { machineIdentity, machineUid } from "../../src/ingress/machine-identity.ts";

const facts = { machineId: "0123456789abcdef0123456789abcdef", hostname: "box" };
const annotations = { "ngrok.com/team": "payments" };

describe("the identity of this machine", () => {
  test("is not sent unless asked", () => {
    const settings = { send: false, annotations, user: true };
    expect(machineIdentity(settings, facts, "alice")).toBeUndefined();
  });

  test("is a hash of the machine's id, the host name and the annotations", () => {
    const settings = { send: true, annotations, user: false };
    expect(machineIdentity(settings, facts, "alice")).toEqual({
      uid: machineUid(facts.machineId),
      name: "box",
      annotations,
    });
  });

  test("has the user if asked, and if it is known", () => {
    const settings = { send: true, annotations, user: true };
    expect(machineIdentity(settings, facts, "alice")?.annotations).toEqual({
      ...annotations,
      "ngrok.com/user": "alice",
    });
    expect(machineIdentity(settings, facts, undefined)?.annotations).toEqual(annotations);
  });

  test("has no uid on a machine without an id", () => {
    const settings = { send: true, annotations: {}, user: false };
    expect(machineIdentity(settings, { ...facts, machineId: "" }, undefined)).toEqual({
      name: "box",
      annotations: {},
    });
  });

  test("has a uid in the form of a UUID, stable, and another for another machine", () => {
    const uid = machineUid(facts.machineId);
    expect(uid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(machineUid(facts.machineId)).toBe(uid);
    expect(machineUid("f".repeat(32))).not.toBe(uid);
    expect(uid.replaceAll("-", "")).not.toContain(facts.machineId.slice(0, 8));
  });
});
