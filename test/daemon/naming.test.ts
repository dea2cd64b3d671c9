import { afterEach, describe, expect, test } from "bun:test";
import { type Config, configSchema } from "../../src/config/schema.ts";
import { createNaming, type Naming } from "../../src/daemon/naming.ts";
import type { Shown } from "../../src/daemon/reconcile.ts";
import type { Ground } from "../../src/exposure/ground.ts";
import type { Canary } from "../../src/machine/resolver/canary.ts";
import type { Wanted } from "../../src/machine/resolver/resolved.ts";
import type { Resolver } from "../../src/machine/resolver/resolver.ts";
import { dataOf, question, rcodeOf } from "../dns/support.ts";
import { host, ip, subnet } from "../machine/support.ts";
import { net } from "../support/conns.ts";
import { memoryLog } from "../support/memory-log.ts";

const running: Naming[] = [];
afterEach(async () => {
  for (const naming of running.splice(0)) await naming.stop();
});

const port = 18_453;
const listen = `127.0.0.1:${port}`;
const way = { kind: "by-hand", text: "by words" } as const;
const shown: Shown = {
  names: [{ host: host("exact.demo"), ip: ip("127.0.0.2") }],
  asked: [{ host: host("a.team.demo"), ip: ip("127.0.0.3") }],
  zones: [host("team.demo")],
  addresses: [],
};

interface Stage {
  readonly trouble?: string;
  readonly ground?: Ground;
  /** When the canary has its answer. */
  readonly answered?: Promise<void>;
}

/** Naming with a resolver and a canary that only write down what they do. */
function staged({ trouble = "", ground, answered = Promise.resolve() }: Stage = {}) {
  const events: string[] = [];
  let config: Config = configOf({ enabled: true, listen });
  const resolver: Resolver = {
    way,
    trouble: "",
    async want(wanted: Wanted | undefined) {
      events.push(`want ${wanted?.zones.join(" ") ?? "nothing"}`);
      return false;
    },
    guard: async () => false,
    facts: () => Promise.reject(new Error("not asked")),
    rivals: async () => [],
  };
  const canary: Canary = {
    answer: () => undefined,
    async check(zone) {
      events.push(`canary ${zone}`);
      await answered;
    },
    rest: () => undefined,
    trouble,
  };
  const naming = createNaming({
    net,
    config: () => config,
    ground: () => ground ?? { kind: "loopback", range: subnet("127.0.0.0/8") },
    resolver,
    canary,
    isOwn: () => true,
    fresh: async (name) => (name === "no.team.demo" ? "refused" : ["127.0.0.9"]),
    touch: (name) => void events.push(`touch ${name}`),
    log: memoryLog(),
  });
  running.push(naming);
  return {
    naming,
    events,
    set(dns: object) {
      config = configOf(dns);
    },
  };
}

const configOf = (dns: object): Config => configSchema.parse({ dns });

async function ask(name: string, type: "A" | "PTR" = "A"): Promise<Uint8Array> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array>();
  const socket = await net.udp({ host: "127.0.0.1", port: 0 }, resolve);
  socket.send(question(name, type), { host: "127.0.0.1", port });
  const timer = setTimeout(() => resolve(new Uint8Array(12)), 15_000);
  const reply = await promise;
  clearTimeout(timer);
  socket.close();
  return reply;
}

describe("naming", () => {
  test("answers what is shown, and sends the canary once for the same way", async () => {
    const { naming, events } = staged();
    naming.show(shown);
    await naming.settle();
    await naming.settle();
    expect(events).toEqual(["want team.demo", "canary team.demo", "want team.demo"]);
    expect(dataOf(await ask("exact.demo"))).toEqual(["127.0.0.2"]);
    expect(dataOf(await ask("a.team.demo"))).toEqual(["127.0.0.3"]);
    expect(naming.report).toEqual({
      listening: listen,
      way: "by words",
      zones: [host("team.demo")],
      questions: 2,
      refused: 0,
      warnings: [],
    });
  });

  test("keeps a fresh name until it is forgotten", async () => {
    const { naming } = staged();
    naming.show(shown);
    await naming.settle();
    expect(dataOf(await ask("new.team.demo"))).toEqual(["127.0.0.9"]);
    expect(rcodeOf(await ask("no.team.demo"))).toBe("NXDOMAIN");
    naming.forget(host("a.team.demo"));
    expect(dataOf(await ask("a.team.demo"))).toEqual(["127.0.0.9"]);
  });

  test("has the reverse zone of a virtual interface", async () => {
    const range = subnet("10.107.0.0/16");
    const { naming } = staged({
      ground: { kind: "virtual", range, range6: undefined, device: "ngrokd0" },
    });
    naming.show({ ...shown, names: [{ host: host("exact.demo"), ip: ip("10.107.0.2") }] });
    await naming.settle();
    expect(dataOf(await ask("exact.demo"))).toEqual(["10.107.0.2"]);
    expect(rcodeOf(await ask("9.0.107.10.in-addr.arpa"))).toBe("NXDOMAIN");
  });

  test("leads an address to its host, and not to an alias or a forgotten name", async () => {
    const { naming } = staged();
    const [exact] = shown.names;
    const alias = { ...exact, host: host("alias.demo"), ip: ip("127.0.0.2") };
    naming.show({ ...shown, names: [...shown.names, alias] });
    await naming.settle();
    expect(dataOf(await ask("2.0.0.127.in-addr.arpa", "PTR"))).toEqual(["exact.demo"]);
    expect(dataOf(await ask("3.0.0.127.in-addr.arpa", "PTR"))).toEqual(["a.team.demo"]);
    naming.forget(host("a.team.demo"));
    expect(dataOf(await ask("3.0.0.127.in-addr.arpa", "PTR"))).toEqual([]);
  });

  test("ends the server when it is turned off, and takes the zones back first", async () => {
    const { naming, events, set } = staged();
    naming.show(shown);
    await naming.settle();
    set({ enabled: false });
    await naming.settle();
    expect(events.at(-1)).toBe("want nothing");
    expect(naming.report).toBeUndefined();
    const again = await net.udp({ host: "127.0.0.1", port }, () => undefined);
    again.close();
  });

  test("names the program that has its port, and listens once it is free", async () => {
    const other = await net.udp({ host: "127.0.0.1", port }, () => undefined);
    const { naming } = staged();
    naming.show(shown);
    await naming.settle();
    expect(naming.report?.warnings.join()).toMatch(
      /^The DNS server cannot listen on 127\.0\.0\.1:18453: \S+ \(pid \d+\) has this port/,
    );
    other.close();
    await naming.settle();
    expect(naming.report).toMatchObject({ listening: listen, warnings: [] });
  });

  test("is in force before the canary has its answer, and sends no second one", async () => {
    const { promise: answered, resolve } = Promise.withResolvers<void>();
    const { naming, events } = staged({ trouble: "no answer yet", answered });
    naming.show(shown);
    await naming.settle();
    expect(dataOf(await ask("exact.demo"))).toEqual(["127.0.0.2"]);
    for (let i = 0; i < 3; i += 1) await naming.settle();
    await naming.stop();
    expect(events.at(-1)).toBe("want nothing");
    expect(events.filter((event) => event.startsWith("canary"))).toHaveLength(1);
    resolve();
  });

  test("asks the canary again as long as it has a trouble", async () => {
    const { naming, events } = staged({ trouble: "another resolver answers" });
    naming.show(shown);
    await naming.settle();
    await Bun.sleep(0);
    await naming.settle();
    await Bun.sleep(0);
    expect(events.filter((event) => event.startsWith("canary"))).toHaveLength(2);
    expect(naming.report?.warnings).toEqual(["another resolver answers"]);
  });
});
