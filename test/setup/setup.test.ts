import { describe, expect, test } from "bun:test";
import { inspectConfig } from "../../src/config/load.ts";
import type { Loaded } from "../../src/config/loaded.ts";
import { withWishes } from "../../src/config/write.ts";
import type { ListItem } from "../../src/desk/reply-schemas.ts";
import type { Ask } from "../../src/setup/ask.ts";
import { firstTry } from "../../src/setup/ending.ts";
import type { Answers, Facts, Wishes } from "../../src/setup/facts.ts";
import { answersFor, interview, rangesIn } from "../../src/setup/interview.ts";
import { modesOf, wishesFor } from "../../src/setup/modes.ts";
import {
  checkService,
  type PlanInput,
  planOf,
  type ServiceDraft,
  startsNow,
} from "../../src/setup/plan.ts";
import { changeText, planText } from "../../src/setup/plan-text.ts";
import { plain } from "../../src/terminal/say.ts";

const key = "a-key-for-these-tests";

async function loadedFrom(text: string): Promise<Loaded> {
  const { loaded, problems } = await inspectConfig({ file: "/x.yml", env: {}, draft: text });
  if (loaded === undefined) throw new Error(JSON.stringify(problems));
  return loaded;
}

const yes = { can: true } as const;
const no = (why: string) => ({ can: false, why, hint: undefined }) as const;

async function factsWith(changes: Partial<Facts> = {}, text = ""): Promise<Facts> {
  return {
    scope: "machine",
    loaded: await loadedFrom(text),
    text,
    isBroken: false,
    isRunning: false,
    unit: "none",
    service: { isUp: false, isAtBoot: false },
    sudoUser: undefined,
    members: undefined,
    way: "resolv-conf",
    abilities: { interface: yes, service: yes, group: yes },
    ...changes,
  };
}

const thrown = (work: () => unknown): unknown => {
  try {
    return work();
  } catch (error) {
    return error;
  }
};

describe("modesOf", () => {
  test.each([
    ["", { addresses: "loopback", wildcards: false, share: "nobody" }],
    ["net: {subnet: auto}\ndns: {enabled: true}", { addresses: "interface", wildcards: true }],
    ["net: {subnet: 10.107.0.0/16}", { addresses: "interface" }],
    ["net: {listen_interface: eth0}", { share: "everybody" }],
    [
      "net: {listen_interface: 0.0.0.0}\naccess: {rules: [{endpoint: '*', from: [10.0.0.0/8]}]}",
      { share: ["10.0.0.0/8"] },
    ],
    [
      "net: {listen_interface: 0.0.0.0}\naccess: {rules: [{endpoint: '*', users: [root]}]}",
      { share: "everybody" },
    ],
  ])("reads them from %j", async (text, modes) => {
    expect(modesOf((await loadedFrom(text)).config)).toMatchObject(modes);
  });
});

describe("wishesFor", () => {
  test("changes nothing for the modes that there are", async () => {
    const texts = ["", "net: {subnet: 10.107.0.0/16}", "net: {listen_interface: eth0}"];
    for (const text of texts) {
      const facts = await factsWith({}, text);
      const { addresses, share } = modesOf(facts.loaded.config);
      expect({ text, wishes: wishesFor(facts, { addresses, share, wildcards: false }) }).toEqual({
        text,
        wishes: [],
      });
      expect({ text, wishes: wishesFor(facts, {}) }).toEqual({ text, wishes: [] });
    }
  });

  test("are settings after which the file has the modes", async () => {
    const facts = await factsWith();
    const modes = { addresses: "interface", wildcards: true, share: ["10.0.0.0/8"] } as const;
    const wishes = wishesFor(facts, modes);
    const after = await loadedFrom(withWishes("# mine\n", wishes, "/x.yml"));
    expect(modesOf(after.config)).toEqual(modes);
    expect(after.config.dns).toMatchObject({ manage_resolv_conf: true, listen: "127.0.0.55:53" });
    expect(wishesFor({ ...facts, loaded: after }, modes)).toEqual([]);
  });

  test.each([
    ["nobody", "virtual", []],
    ["everybody", "0.0.0.0", []],
    [["192.0.2.0/24"], "0.0.0.0", [{ endpoint: "*", from: ["192.0.2.0/24"] }]],
  ] as const)("leaves no rule of an earlier share behind: %j", async (share, place, rules) => {
    const open = "net: {listen_interface: 0.0.0.0}\n";
    const text = `${open}access: {rules: [{endpoint: '*', from: [10.0.0.0/8]}]}\n`;
    const facts = await factsWith({}, text);
    const after = await loadedFrom(withWishes(text, wishesFor(facts, { share }), "/x.yml"));
    expect(after.config.net.listen_interface).toBe(place);
    expect(after.config.access.rules).toEqual(rules as never);
    expect(wishesFor({ ...facts, loaded: after }, { share })).toEqual([]);
  });

  test("knows a virtual interface that a rule opens to containers", async () => {
    const text = "net: {subnet: auto}\naccess: {rules: [{endpoint: '*', from: [172.17.0.0/16]}]}";
    const facts = await factsWith({}, text);
    expect(wishesFor(facts, { share: ["172.17.0.0/16"] })).toEqual([]);
    expect(wishesFor(facts, { share: "nobody" })).toEqual([{ key: "access.rules", value: [] }]);
  });

  test("keeps a chosen address of the DNS server", async () => {
    const facts = await factsWith({ way: "dnsmasq" }, "dns: {listen: 127.0.0.9:53}");
    expect(wishesFor(facts, { wildcards: true })).toEqual([{ key: "dns.enabled", value: true }]);
  });

  test("makes the interface that systemd-resolved needs for wildcards", async () => {
    const facts = await factsWith({ way: "resolved" });
    expect(wishesFor(facts, { wildcards: true })).toEqual([
      { key: "net.subnet", value: "auto" },
      { key: "dns.enabled", value: true },
      { key: "dns.listen", value: "127.0.0.55:53" },
    ]);
    expect(
      thrown(() => wishesFor(facts, { wildcards: true, addresses: "loopback" })),
    ).toMatchObject({ code: "usage", hint: expect.stringContaining("--addresses interface") });
  });

  test("refuses an interface where none can be made, with the reason", async () => {
    const facts = await factsWith({
      abilities: { interface: no("there is no /dev/net/tun"), service: yes, group: yes },
    });
    expect(thrown(() => wishesFor(facts, { addresses: "interface" }))).toMatchObject({
      code: "refused",
      message: "Cannot make a virtual interface: there is no /dev/net/tun",
    });
  });

  test("touches no rule of the user's own", async () => {
    const facts = await factsWith({}, "access: {rules: [{endpoint: db.demo, users: [alice]}]}");
    expect(thrown(() => wishesFor(facts, { share: ["10.0.0.0/8"] }))).toMatchObject({
      code: "usage",
      message: expect.stringContaining("access.rules"),
    });
  });
});

const draft = (before: ServiceDraft["before"]): ServiceDraft => ({
  before,
  path: "/etc/systemd/system/ngrokd.service",
  steps: [],
  stateFolder: "/etc/ngrokd",
  remarks: [],
});

async function inputWith(changes: {
  facts?: Partial<Facts>;
  answers?: Partial<Answers>;
  key?: PlanInput["key"];
  service?: ServiceDraft;
  text?: string;
}): Promise<PlanInput> {
  const facts = await factsWith(changes.facts, changes.text);
  const answers: Answers = { service: true, takeOver: false, ...changes.answers };
  return {
    facts,
    answers,
    key: changes.key ?? { kind: "keep" },
    wishes: [],
    after: facts.loaded,
    service: changes.service,
  };
}

describe("planOf", () => {
  test("makes the file first, then the key, and the service at last", async () => {
    const input = await inputWith({
      facts: { text: undefined },
      key: { kind: "save", key: key as never, isChecked: true },
      service: draft("none"),
    });
    const { changes, warnings } = planOf(input);
    expect(changes.map(({ kind }) => kind)).toEqual(["create", "key", "service"]);
    expect(warnings).toEqual([]);
    expect(JSON.stringify(changes)).not.toContain(key);
  });

  test("is empty if all is as wanted", async () => {
    const served = {
      unit: "ours",
      isRunning: true,
      service: { isUp: true, isAtBoot: true },
      members: ["alice"],
    } as const;
    const answers = { member: "alice" };
    const input = await inputWith({ facts: served, answers, service: draft("same") });
    expect(planOf(input)).toEqual({ changes: [], warnings: [], notes: [] });
  });

  test.each([
    ["not at boot", { isUp: true, isAtBoot: false }, "same", undefined, "start", false],
    ["of another text", { isUp: true, isAtBoot: true }, "different", undefined, "update", true],
    ["without the user", { isUp: true, isAtBoot: true }, "same", "alice", "join", true],
  ] as const)("changes a service that is %s", async (_, service, before, member, does, restart) => {
    const facts = { unit: "ours", isRunning: true, service } as const;
    const { changes } = planOf(
      await inputWith({ facts, answers: { member }, service: draft(before) }),
    );
    expect(changes).toMatchObject([{ kind: "service", does, restart, member }]);
  });

  test("does not start the service beside another daemon, and says so", async () => {
    const input = await inputWith({ facts: { isRunning: true }, service: draft("none") });
    expect(startsNow(input.facts)).toBe(false);
    const { changes, notes } = planOf(input);
    expect(changes).toMatchObject([{ does: "install", start: false }]);
    expect(notes).toEqual([expect.stringContaining("a daemon runs already")]);
  });

  test("warns of endpoints for everybody, also of those that were so before", async () => {
    const { warnings } = planOf(
      await inputWith({ text: "net: {listen_interface: 0.0.0.0}", service: draft("none") }),
    );
    expect(warnings).toEqual([expect.stringContaining("every machine that reaches this one")]);
  });
});

test("planOf says so if a rule of one's own lets other machines in", async () => {
  const text = "access: {rules: [{endpoint: db.demo, from: [10.0.0.0/8]}, {endpoint: '*'}]}";
  const { warnings } = planOf(
    await inputWith({ text, answers: { share: "nobody" }, service: draft("none") }),
  );
  expect(warnings).toEqual([expect.stringContaining("access.rules still has rules")]);
});

test("checkService names the flag that replaces or leaves out a service", async () => {
  const answers = { service: true, takeOver: false };
  const predecessor = await factsWith({ unit: "predecessor" });
  expect(thrown(() => checkService(predecessor, answers))).toMatchObject({
    code: "usage",
    hint: expect.stringContaining("--take-over"),
  });
  expect(thrown(() => checkService(predecessor, { ...answers, takeOver: true }))).toBeUndefined();
  const abilities = { interface: yes, service: no("systemd does not run here"), group: yes };
  expect(
    thrown(() => checkService({ ...predecessor, abilities }, { ...answers, takeOver: true })),
  ).toMatchObject({
    message: "Cannot install the service: systemd does not run here",
    hint: "--no-service leaves it out",
  });
});

test("checkService says why a user cannot join the group", async () => {
  const answers = { service: false, takeOver: false, member: "alice" };
  const hintWith = async (changes: Partial<Facts["abilities"]>): Promise<unknown> => {
    const abilities = { interface: yes, service: yes, group: yes, ...changes };
    const facts = await factsWith({ abilities });
    return (thrown(() => checkService(facts, answers)) as { hint: string }).hint;
  };
  expect(await hintWith({})).toBe("the group is made with the service: leave out --no-service");
  expect(await hintWith({ service: no("systemd does not run here") })).toBe(
    "the group is made with the service: systemd does not run here",
  );
  expect(await hintWith({ group: no("there is no groupadd") })).toBe("there is no groupadd");
});

test("planText numbers the changes, and keeps within the width", async () => {
  const facts = await factsWith();
  const wishes = wishesFor(facts, { addresses: "interface", share: "everybody" });
  const after = await loadedFrom(withWishes("", wishes, "/x.yml"));
  const service = draft("none");
  const answers = { service: true, takeOver: false, member: "alice" };
  const plan = planOf({ facts, answers, key: { kind: "ask" }, wishes, after, service });
  const lines = planText(plan, plain, 70).split("\n");
  expect(lines.filter((line) => line.length > 70)).toEqual([]);
  expect(lines).toContain("       net.subnet            127.0.0.0/8 -> auto");
  expect(lines.filter((line) => /^ {2}\d\. /.test(line))).toHaveLength(plan.changes.length);
  expect(plan.changes.map(changeText)[0]).toBe(
    "ask for the API key, let ngrok check it, and save it in /x.yml",
  );
});

/** Answers with the first choices, or as told, and keeps the questions. */
function person(told: Readonly<Record<string, unknown>> = {}): { ask: Ask; asked: string[] } {
  const asked: string[] = [];
  const answer = <T>(question: string, usual: T): T => {
    asked.push(question);
    const [, found = usual] = Object.entries(told).find(([part]) => question.includes(part)) ?? [];
    return found as T;
  };
  const ask: Ask = {
    choose: async (question, _, initial) => answer(question, initial),
    confirm: async (question, initial) => answer(question, initial),
    text: async (question) => answer(question, ""),
  };
  return { ask, asked };
}

describe("interview", () => {
  const withKey = `api: {key: ${key}}`;
  const once = { all: false };

  test("asks a newcomer for modes, service and user, and takes Enter for all", async () => {
    const { ask, asked } = person();
    const facts = await factsWith({ sudoUser: "alice" });
    expect(await interview(ask, facts, {}, once)).toMatchObject({
      service: true,
      takeOver: false,
      member: "alice",
    });
    expect(asked).toEqual([
      "How should the names of your endpoints work here?",
      "Start ngrokd now and at every boot, as a service?",
      expect.stringContaining("May alice use ngrokd without sudo"),
    ]);
  });

  test("asks nothing if nothing is missing", async () => {
    const { ask, asked } = person();
    const service = { isUp: true, isAtBoot: true };
    const facts = await factsWith({ unit: "ours", service, sudoUser: "alice" }, withKey);
    const answers = await interview(ask, facts, {}, once);
    expect({ asked, answers }).toMatchObject({ asked: [], answers: { service: true } });
    expect(wishesFor(facts, answers)).toEqual([]);
  });

  test("asks for nothing that a flag has answered", async () => {
    const { ask, asked } = person();
    const wishes: Wishes = { addresses: "interface", service: false };
    const answers = await interview(ask, await factsWith({ sudoUser: "alice" }), wishes, once);
    expect({ asked, answers }).toMatchObject({ asked: [], answers: wishes });
  });

  test("goes through addresses, wildcards and other machines if one wants to choose", async () => {
    const { ask, asked } = person({
      "How should": "choose",
      wildcards: true,
      "Who may use your endpoints": "some",
      "Their addresses": "10.0.0.0/8 192.0.2.7",
    });
    const answers = await interview(ask, await factsWith({ way: "resolved" }), {}, once);
    expect(answers).toMatchObject({
      addresses: "interface",
      wildcards: true,
      share: ["10.0.0.0/8", "192.0.2.7/32"],
    });
    expect(asked).toHaveLength(6);
    expect(asked[2]).toContain("makes a virtual interface for systemd-resolved");
  });

  test("asks nothing about DNS where it cannot work", async () => {
    const { ask, asked } = person({ "How should": "choose" });
    const abilities = { interface: no("no /dev/net/tun"), service: no("none"), group: yes };
    const facts = await factsWith({ way: "resolved", abilities });
    expect(await interview(ask, facts, {}, once)).toMatchObject({
      addresses: "loopback",
      wildcards: undefined,
      service: false,
    });
    expect(asked.filter((question) => /wildcard|service/.test(question))).toEqual([]);
  });

  test("offers to replace the Go program's service", async () => {
    const { ask, asked } = person();
    const answers = await interview(
      ask,
      await factsWith({ unit: "predecessor" }, withKey),
      {},
      once,
    );
    expect(answers).toMatchObject({ service: true, takeOver: true });
    expect(asked.at(-1)).toContain("The service of the Go program");
  });

  test("without questions the service is installed where it can be", async () => {
    const abilities = { interface: yes, service: no("none"), group: yes };
    expect(answersFor(await factsWith(), {})).toMatchObject({ service: true, takeOver: false });
    expect(answersFor(await factsWith({ abilities }), {})).toMatchObject({ service: false });
  });
});

test("rangesIn reads ranges between commas and spaces, as the configuration has them", () => {
  expect(rangesIn(" 10.0.0.0/8,192.0.2.7  fd00::/8 nonsense")).toEqual([
    "10.0.0.0/8",
    "192.0.2.7/32",
    "fd00::/8",
    "nonsense",
  ]);
});

test("firstTry prefers a web page that listens", () => {
  const item = (proto: string, hostname: string, port: number, state = "listening") =>
    ({ proto, hostname, port, state }) as ListItem;
  const all = [
    item("tcp", "db.demo", 5432),
    item("https", "shop.demo", 8443),
    item("http", "down.demo", 80, "failed"),
  ];
  expect(firstTry(all)).toBe("curl https://shop.demo:8443/");
  expect(firstTry([...all, item("http", "hello.demo", 80)])).toBe("curl http://hello.demo/");
  expect(firstTry(all.slice(0, 1))).toBe("ngrokd why db.demo:5432");
  expect(firstTry([])).toBeUndefined();
});
