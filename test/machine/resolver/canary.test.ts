import { describe, expect, test } from "bun:test";
import {
  type CanaryFacts,
  canaryTrouble,
  createCanary,
} from "../../../src/machine/resolver/canary.ts";
import type { ResolverFacts } from "../../../src/machine/resolver/way.ts";
import { host } from "../support.ts";
import { bareFacts } from "./support.ts";

const facts: ResolverFacts = { ...bareFacts, mayEdit: true };
const server = { host: "127.0.0.1", port: 53 };
const resolvConf = { kind: "resolv-conf", text: "/etc/resolv.conf" } as const;
const resolved = { kind: "resolved", text: "systemd-resolved, on ngrokd0" } as const;
const given: CanaryFacts = {
  zone: "team.internal",
  way: resolvConf,
  server,
  heard: false,
  found: "none",
  rivals: [],
  facts,
};
const stub = { ...facts, resolvConf: "nameserver 127.0.0.53\n" };

describe("canaryTrouble", () => {
  test.each<[string, Partial<CanaryFacts>, string]>([
    [
      "an order without dns",
      { facts: { ...facts, order: "files" } },
      '"hosts: files" in /etc/nsswitch.conf asks no name server',
    ],
    [
      "a file that was written again",
      {},
      "The first name server in /etc/resolv.conf is 192.0.2.1: another program",
    ],
    ["an empty file", { facts: { ...facts, resolvConf: "" } }, "in /etc/resolv.conf is missing"],
    [
      "a VPN",
      { way: resolved, rivals: ["tun0"], facts: stub },
      "also asks the servers of tun0 for these names",
    ],
    [
      "a stub that is not asked",
      { way: resolved },
      "/etc/resolv.conf names 192.0.2.1 now, and not systemd-resolved",
    ],
    ["what a person has to do", { way: { kind: "by-hand", text: "put it there" } }, "Put it there"],
    [
      "a silent server",
      { found: "silent", facts: { ...facts, resolvConf: "nameserver 127.0.0.1\n" } },
      "The name server 127.0.0.1 does not answer",
    ],
    [
      "another answer",
      { found: ["198.51.100.1"] },
      "did not ask 127.0.0.1:53, and got 198.51.100.1",
    ],
    ["an answer that is lost", { heard: true, found: "silent" }, "its answer did not arrive"],
    ["a filter", { heard: true }, "does it insist on DNSSEC, or refuse addresses of 127.0.0.0/8"],
    [
      "a cache",
      { facts: { ...facts, resolvConf: "nameserver 127.0.0.1\n" } },
      "a cache such as nscd",
    ],
  ])("names %s", (_, changes, text) => {
    const told = canaryTrouble({ ...given, ...changes });
    expect(told).toStartWith('Programs do not find the names below "*.team.internal"');
    expect(told).toContain(text);
  });
});

describe("a canary", () => {
  const place = { way: resolvConf, server };
  const deps = { facts: async () => facts, rivals: async () => [] };

  test("is content if the machine's resolver finds it by our server", async () => {
    const names: string[] = [];
    const canary = createCanary({
      ...deps,
      async look(name) {
        names.push(name);
        return canary.answer(name) ?? [];
      },
    });
    await canary.check(host("team.internal"), place);
    await canary.check(host("team.internal"), place);
    expect(canary.trouble).toBe("");
    expect(new Set(names).size).toBe(2);
    for (const name of names) expect(name).toMatch(/^ngrokd-canary-\w+\.team\.internal$/);
  });

  test("tells a stranger's answer, silence and a failure, and then that all is well", async () => {
    let mode = "stranger";
    const canary = createCanary({
      ...deps,
      limitMs: 20,
      async look(name) {
        if (mode === "stranger") return ["198.51.100.1"];
        if (mode === "silent") return await new Promise(() => undefined);
        if (mode === "failure") throw new Error("ENOTFOUND");
        return canary.answer(name) ?? [];
      },
    });
    const troubles: string[] = [];
    for (mode of ["stranger", "silent", "failure", "well"]) {
      await canary.check(host("team.internal"), place);
      troubles.push(canary.trouble);
    }
    expect(troubles[0]).toContain("198.51.100.1");
    expect(troubles[1]).toContain("did not ask");
    expect(troubles[2]).toContain("did not ask");
    expect(troubles[3]).toBe("");
  });

  test("has no address for other names, and none after the question", async () => {
    let asked = "";
    const canary = createCanary({
      ...deps,
      look: async (name) => {
        asked = name;
        return [];
      },
    });
    await canary.check(host("team.internal"), place);
    expect([canary.answer("x.team.internal"), canary.answer(asked)]).toEqual([
      undefined,
      undefined,
    ]);
  });
});
