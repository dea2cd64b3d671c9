import { describe, expect, test } from "bun:test";
import { createIngress } from "../../src/ingress/ingress.ts";
import { identityFor } from "../../src/ingress/machine-identity.ts";
import { net } from "../support/conns.ts";
import { accepted, fakeIngress } from "../support/fake-ingress.ts";

const facts = { id: "0123456789abcdef0123456789abcdef", name: "web-1" };
const annotations = { "ngrok.com/team": "web" };

describe("the identity of this machine", () => {
  test("is its name, annotations, and a hash that hides its machine id", () => {
    const identity = identityFor({ send: true, annotations }, facts);
    expect(identity).toEqual({
      uid: expect.stringMatching(/^[0-9a-f]{32}$/),
      name: "web-1",
      annotations,
    });
    expect(identity?.uid).not.toBe(facts.id);
    const other = identityFor({ send: true, annotations }, { ...facts, id: "f".repeat(32) });
    expect(other?.uid).not.toBe(identity?.uid);
    const again = identityFor({ send: true, annotations }, { ...facts, name: "renamed" });
    expect(again?.uid).toBe(identity?.uid ?? "");
  });

  test("is nothing by default", () => {
    expect(identityFor({ send: false, annotations }, facts)).toBeUndefined();
  });

  test.each([
    ["is in each request if it is on", true],
    ["is in no request if it is off", false],
  ])("%s", async (_, send) => {
    await using server = await fakeIngress(async (conn) => void (await conn.write(accepted())));
    const identity = identityFor({ send, annotations }, facts);
    const ingress = createIngress(net, () => ({ ...server.settings, identity }));
    const opened = await ingress.open({ host: "a.demo", port: 80 }, AbortSignal.timeout(5000));
    if (opened.kind === "accepted") opened.conn.abort();
    ingress.close();
    expect(server.requests).toEqual([
      {
        host: "a.demo",
        port: 80,
        ...(send && {
          podIdentity: { uid: identity?.uid ?? "", name: "web-1", namespace: "", annotations },
        }),
      },
    ]);
  });
});
