import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readJournal, recordChange } from "../../../src/journal/journal.ts";
import { folderKeeper } from "../../../src/machine/resolver/keepers.ts";
import { createResolver } from "../../../src/machine/resolver/resolver.ts";
import type { Run } from "../../../src/machine/resolver/run.ts";
import { memoryLog } from "../../support/memory-log.ts";
import { host, temporaryFolder } from "../support.ts";

const wanted = { server: { host: "127.0.0.1", port: 53 }, zones: [host("team.internal")] };
const before = "nameserver 192.0.2.1\nsearch corp.example\n";
const section =
  "# BEGIN ngrokd managed section\nnameserver 127.0.0.1\n# END ngrokd managed section\n";

/** Sets and takes the flag by which not even root removes a file. */
const freeze = (flag: "+i" | "-i", path: string): boolean =>
  Bun.spawnSync(["chattr", flag, path], { stderr: "ignore" }).success;
const canFreeze = Bun.which("chattr") !== null && canFreezeHere();

function canFreezeHere(): boolean {
  const path = join(tmpdir(), `ngrokd-freeze-${process.pid}`);
  writeFileSync(path, "");
  const can = freeze("+i", path) && freeze("-i", path);
  unlinkSync(path);
  return can;
}

interface Stage {
  readonly isMac?: boolean;
  readonly mayEdit?: boolean;
  readonly resolvConf?: string;
  readonly nsswitch?: string;
  readonly dnsmasq?: boolean;
  readonly resolvectl?: boolean;
  readonly run?: Run;
}

/** A machine in a folder. */
async function staged(stage: Stage = {}) {
  const folder = await temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  for (const name of ["state", "nm"]) mkdirSync(at(name), { mode: 0o755 });
  chmodSync(folder.path, 0o755);
  writeFileSync(at("resolv.conf"), stage.resolvConf ?? before);
  writeFileSync(at("nsswitch.conf"), stage.nsswitch ?? "hosts: files dns\n");
  if (stage.dnsmasq === true) {
    mkdirSync(at("nm/dnsmasq.d"));
    writeFileSync(at("nm/NetworkManager.conf"), "[main]\ndns=dnsmasq\n");
  }
  writeFileSync(at("resolvectl"), "");
  writeFileSync(at("links"), "    lo: 0 0\nngrokd0: 0 0\n");
  const log = memoryLog();
  let now = 0;
  const make = () =>
    createResolver({
      stateFolder: at("state"),
      settings: () => ({ link: "ngrokd0", mayEdit: stage.mayEdit ?? true }),
      log,
      places: {
        resolvConf: at("resolv.conf"),
        nsswitch: at("nsswitch.conf"),
        networkManager: at("nm"),
        links: at("links"),
        resolvectl: stage.resolvectl === true ? [at("resolvectl")] : [],
        zoneFolder: stage.isMac === true ? at("resolver") : undefined,
      },
      run: stage.run ?? (async () => ({ ok: true, out: "", error: "" })),
      now: () => now,
    });
  return {
    folder,
    at,
    log,
    make,
    pass: (ms: number) => {
      now += ms;
    },
    text: (name = "resolv.conf") => readFileSync(at(name), "utf8"),
    journal: async () => (await readJournal(at("state"))).map(({ kind }) => kind),
  };
}

/** A machine whose resolver is systemd-resolved. */
const stagedResolved = (run: Run) =>
  staged({ resolvectl: true, resolvConf: "nameserver 127.0.0.53\n", run });

/** A resolvectl that keeps the settings of a link, except the one it lacks. */
function settingsOfLink(lacks = "") {
  const calls: string[] = [];
  const told = new Map<string, string>();
  const run: Run = async (_, words) => {
    const [verb = "", , ...rest] = words;
    calls.push(words.join(" "));
    if (verb === lacks) return { ok: false, out: "", error: "Unknown operation" };
    if (verb === "revert") told.clear();
    else if (rest.length > 0) told.set(verb, rest.join(" "));
    return { ok: true, out: `Link 3 (ngrokd0): ${told.get(verb) ?? ""}\n`, error: "" };
  };
  return { calls, told, run };
}

describe("the resolver, by resolv.conf,", () => {
  test("is asked to ask us first, and gives the file back byte for byte", async () => {
    const { folder, make, text, journal } = await staged();
    await using _ = folder;
    const resolver = make();
    expect(await resolver.want(wanted)).toBe(true);
    expect(text()).toBe(`${section}${before}`);
    expect(await journal()).toEqual(["resolv-conf"]);
    expect(await resolver.want(wanted)).toBe(false);
    await resolver.want(undefined);
    expect(text()).toBe(before);
    expect(await journal()).toEqual([]);
  });

  test("puts the section back if another program writes the file, and keeps its text", async () => {
    const { folder, make, text, at } = await staged();
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    writeFileSync(at("resolv.conf"), "nameserver 198.51.100.1\n");
    expect(await resolver.guard()).toBe(true);
    expect(text()).toBe(`${section}nameserver 198.51.100.1\n`);
    await resolver.want(undefined);
    expect(text()).toBe("nameserver 198.51.100.1\n");
  });

  test("gives way to a program that keeps changing it, and says so", async () => {
    const { folder, make, at } = await staged();
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    for (let n = 0; n < 5; n += 1) {
      writeFileSync(at("resolv.conf"), `nameserver 198.51.100.${n}\n`);
      await resolver.guard();
    }
    expect(resolver.trouble).toContain("Another program keeps changing");
  });

  test("takes back what a killed run has left", async () => {
    const { folder, make, text, journal, log } = await staged();
    await using _ = folder;
    await make().want(wanted);
    await make().want(undefined);
    expect(text()).toBe(before);
    expect(await journal()).toEqual([]);
    expect(log.lines.join("\n")).toContain(
      "Took back what an earlier run had set: /etc/resolv.conf",
    );
  });

  test("keeps the text of a writer that pauses after it has emptied the file", async () => {
    const { folder, make, text, at } = await staged();
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    const writer = openSync(at("resolv.conf"), "w");
    const { ino } = statSync(at("resolv.conf"));
    const guarded = resolver.guard();
    while (statSync(at("resolv.conf")).ino === ino) await sleep(1);
    writeSync(writer, `${before}# newer\n`);
    closeSync(writer);
    expect(await guarded).toBe(true);
    expect(text()).toBe(`${section}${before}# newer\n`);
    await resolver.want(undefined);
    expect(text()).toBe(`${before}# newer\n`);
  });

  test("takes over what a killed run has left, and does not write the file", async () => {
    const { folder, at, make, text, journal, log } = await staged();
    await using _ = folder;
    await make().want(wanted);
    const file = statSync(at("resolv.conf")).ino;
    log.lines.length = 0;
    const resolver = make();
    expect(await resolver.want(wanted)).toBe(false);
    expect(statSync(at("resolv.conf")).ino).toBe(file);
    expect(log.lines.join("\n")).toContain("This machine asks 127.0.0.1:53");
    expect(log.lines.join("\n")).not.toContain("Took back");
    expect(await journal()).toEqual(["resolv-conf"]);
    await resolver.want(undefined);
    expect(text()).toBe(before);
    expect(await journal()).toEqual([]);
  });

  test("follows a link to the file, and no file that other users may change", async () => {
    const { folder, make, at, text } = await staged();
    await using _ = folder;
    mkdirSync(at("run"), { mode: 0o755 });
    writeFileSync(at("run/resolv.conf"), before);
    unlinkSync(at("resolv.conf"));
    symlinkSync(at("run/resolv.conf"), at("resolv.conf"));
    const resolver = make();
    await resolver.want(wanted);
    expect(text("run/resolv.conf")).toBe(`${section}${before}`);
    await resolver.want(undefined);
    chmodSync(at("run"), 0o777);
    await resolver.want(wanted);
    expect(resolver.trouble).toContain("other users may change");
    expect(text("run/resolv.conf")).toBe(before);
  });

  test.each([
    ["that leads to no file", "nowhere"],
    ["that leads to itself", "resolv.conf"],
  ])("leaves a link alone %s", async (_, target) => {
    const { folder, make, at } = await staged();
    await using __ = folder;
    unlinkSync(at("resolv.conf"));
    symlinkSync(at(target), at("resolv.conf"));
    const resolver = make();
    await resolver.want(wanted);
    expect(readlinkSync(at("resolv.conf"))).toBe(at(target));
    expect(resolver.trouble).toContain(`Cannot edit "${at("resolv.conf")}"`);
  });

  test.each([
    ["the same", false],
    ["a killed", true],
  ])("cannot have another port, says so, and loses the line of %s run", async (_, isKilled) => {
    const { folder, make, text, journal } = await staged();
    await using __ = folder;
    let resolver = make();
    await resolver.want(wanted);
    if (isKilled) resolver = make();
    await resolver.want({ ...wanted, server: { host: "127.0.0.1", port: 5353 } });
    expect(resolver.trouble).toContain("set dns.listen to port 53");
    expect({ text: text(), journal: await journal() }).toEqual({ text: before, journal: [] });
  });

  test.each([
    [
      "as the Go program has changed it",
      `# ngrokd managed - do not edit this line\nnameserver 127.0.0.1\n${before}`,
      before,
    ],
    [
      "as another program has written it since",
      "nameserver 198.51.100.1\n",
      "nameserver 198.51.100.1\n",
    ],
  ])("is given back once, %s", async (_, now, expected) => {
    const { folder, make, at, text } = await staged({ resolvConf: now });
    await using __ = folder;
    writeFileSync(at("state/resolv.conf.bak"), before);
    await make().want(undefined);
    expect(text()).toBe(expected);
    expect(existsSync(at("state/resolv.conf.bak"))).toBe(false);
  });

  test("is never without a server that the Go program has named there", async () => {
    const left = `# ngrokd managed - do not edit this line\nnameserver 127.0.0.1\n${before}`;
    const { folder, make, at, text, log } = await staged({ resolvConf: left });
    await using _ = folder;
    writeFileSync(at("state/resolv.conf.bak"), before);
    const firsts: (string | undefined)[] = [];
    const push = log.lines.push.bind(log.lines);
    log.lines.push = (...lines) => {
      firsts.push(/^nameserver (.*)$/m.exec(text())?.[1]);
      return push(...lines);
    };
    const resolver = make();
    await resolver.want(wanted);
    expect(log.lines.join("\n")).toContain("as it was before the Go program changed it");
    expect(firsts).toEqual(["127.0.0.1", "127.0.0.1"]);
    expect(text()).toBe(`${section}${before}`);
    await resolver.guard();
    await resolver.want(undefined);
    expect(text()).toBe(before);
  });
});

describe("the resolver, in other ways,", () => {
  test("is macOS's, with a file for each zone, and none for a zone that is gone", async () => {
    const { folder, at, text, journal } = await staged();
    await using _ = folder;
    mkdirSync(at("resolver"));
    writeFileSync(at("resolver/corp.example"), "nameserver 192.0.2.1\n");
    const keeper = folderKeeper(at("resolver"), at("state"));
    const both = { ...wanted, zones: [host("team.internal"), host("wild.demo")] };
    expect(await keeper.put(both)).toBe(true);
    expect(text("resolver/wild.demo")).toContain("nameserver 127.0.0.1\nport 53\n");
    expect(await keeper.put(wanted)).toBe(true);
    expect(readdirSync(at("resolver")).sort()).toEqual(["corp.example", "team.internal"]);
    expect(await keeper.take()).toBe(true);
    expect(readdirSync(at("resolver"))).toEqual(["corp.example"]);
    expect(await journal()).toEqual([]);
  });

  test("of macOS: a killed run's files go, and another program's are respected", async () => {
    const { folder, make, text, at, journal } = await staged({ isMac: true });
    await using _ = folder;
    const killed = make();
    expect(await killed.want(wanted)).toBe(true);
    expect(killed.way).toEqual({
      kind: "folder",
      text: at("resolver"),
      folder: at("resolver"),
    });
    const foreignFile = "# VPN\nnameserver 192.0.2.53\n";
    writeFileSync(at("resolver/wild.demo"), foreignFile);

    const next = make();
    expect(await next.want({ ...wanted, zones: [host("wild.demo")] })).toBe(false);
    expect(next.trouble).toContain("another program's file is there");
    expect(text("resolver/wild.demo")).toBe(foreignFile);
    expect(readdirSync(at("resolver"))).toEqual(["wild.demo"]);

    unlinkSync(at("resolver/wild.demo"));
    expect(await next.want(wanted)).toBe(true);
    unlinkSync(at("resolver/team.internal"));
    expect(await next.guard()).toBe(true);
    expect(text("resolver/team.internal")).toContain("nameserver 127.0.0.1\nport 53\n");
    await next.want(undefined);
    expect({ left: readdirSync(at("resolver")), journal: await journal() }).toEqual({
      left: [],
      journal: [],
    });
  });

  test("is left alone without leave, and its way says what to type", async () => {
    const { folder, make, text } = await staged({ mayEdit: false });
    await using _ = folder;
    const resolver = make();
    expect(await resolver.want(wanted)).toBe(false);
    expect({ text: text(), way: resolver.way.kind, trouble: resolver.trouble }).toEqual({
      text: before,
      way: "by-hand",
      trouble: "",
    });
  });

  test("is systemd-resolved, told by commands, and told again after a restart", async () => {
    const { calls, told, run } = settingsOfLink();
    const { folder, make, text, journal, pass } = await stagedResolved(run);
    await using _ = folder;
    const resolver = make();
    expect(await resolver.want(wanted)).toBe(true);
    expect(told.get("domain")).toBe("~team.internal");
    expect(await journal()).toEqual(["resolved"]);
    expect(await resolver.guard()).toBe(false);
    told.clear();
    pass(61_000);
    expect(await resolver.guard()).toBe(true);
    expect(told.get("dns")).toBe("127.0.0.1");
    await resolver.want(undefined);
    expect(text()).toBe("nameserver 127.0.0.53\n");
    expect(await journal()).toEqual([]);
    expect(calls.filter((call) => call.startsWith("dns ngrokd0 "))).toHaveLength(2);
  });

  test("is systemd-resolved, whose settings of a killed run are taken over", async () => {
    const { calls, told, run } = settingsOfLink();
    const { folder, make, journal } = await stagedResolved(run);
    await using _ = folder;
    await make().want(wanted);
    calls.length = 0;
    const resolver = make();
    expect(await resolver.want(wanted)).toBe(false);
    expect(calls).toEqual(["dns ngrokd0", "domain ngrokd0"]);
    await resolver.want(undefined);
    expect([...told]).toEqual([]);
    expect(await journal()).toEqual([]);
  });

  test("is told again if another program undoes it before the first look", async () => {
    const { told, run } = settingsOfLink();
    let undoes = true;
    const { folder, make, pass } = await stagedResolved(async (program, words) => {
      const said = await run(program, words);
      if (undoes && words.length > 2 && words[0] === "domain") told.clear();
      return said;
    });
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    undoes = false;
    expect(told.get("dns")).toBeUndefined();
    pass(3500);
    expect(await resolver.guard()).toBe(true);
    expect(told.get("dns")).toBe("127.0.0.1");
  });

  test("is told our server and zones even if it lacks a setting", async () => {
    const { told, run } = settingsOfLink("default-route");
    const { folder, make } = await stagedResolved(run);
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    expect(resolver.trouble).toContain(`by "default-route ngrokd0 no": Unknown operation`);
    expect(told.get("dns")).toBe("127.0.0.1");
    expect(told.get("domain")).toBe("~team.internal");
    await resolver.guard();
    expect(resolver.trouble).toBe("");
  });

  test("is told again if its link was gone and is there again", async () => {
    const calls: string[] = [];
    const run: Run = async (_, words) => {
      calls.push(words.join(" "));
      return { ok: true, out: "", error: "" };
    };
    const { folder, make, at } = await stagedResolved(run);
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    writeFileSync(at("links"), "    lo: 0 0\n");
    await resolver.guard();
    expect(resolver.way.kind).toBe("by-hand");
    const before = calls.length;
    expect(await resolver.guard()).toBe(false);
    expect(calls).toHaveLength(before);
    writeFileSync(at("links"), "    lo: 0 0\nngrokd0: 0 0\n");
    expect(await resolver.guard()).toBe(true);
    expect(calls.slice(before)).toContain("domain ngrokd0 ~team.internal");
  });

  test("tells why systemd-resolved cannot be told, and tries again", async () => {
    let ok = false;
    const run: Run = async () => ({ ok, out: "", error: ok ? "" : "Failed to connect to bus" });
    const { folder, make, log } = await stagedResolved(run);
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    expect(resolver.trouble).toContain("Failed to connect to bus");
    ok = true;
    await resolver.guard();
    expect(resolver.trouble).toBe("");
    expect(log.lines.join("\n")).not.toContain("Put back what another program had removed");
  });

  test("is NetworkManager's dnsmasq, with a file of ours", async () => {
    const calls: string[] = [];
    const run: Run = async (path, words) => {
      calls.push([path, ...words].join(" "));
      return { ok: true, out: "", error: "" };
    };
    const { folder, make, at, text } = await staged({ dnsmasq: true, run });
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    expect(text("nm/dnsmasq.d/ngrokd.conf")).toContain("server=/team.internal/127.0.0.1#53\n");
    expect(calls).toEqual(["/usr/bin/nmcli general reload dns-full"]);
    await resolver.want(undefined);
    expect(existsSync(at("nm/dnsmasq.d/ngrokd.conf"))).toBe(false);
    expect(calls).toHaveLength(2);
  });

  test("is NetworkManager's dnsmasq, told again if it could not be told", async () => {
    let ok = false;
    let calls = 0;
    const run: Run = async () => {
      calls += 1;
      return { ok, out: "", error: ok ? "" : "NetworkManager is not running" };
    };
    const { folder, make } = await staged({ dnsmasq: true, run });
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    await resolver.guard();
    expect(resolver.trouble).toContain("NetworkManager is not running");
    ok = true;
    const before = calls;
    expect(await resolver.guard()).toBe(true);
    expect({ trouble: resolver.trouble, more: calls - before }).toEqual({ trouble: "", more: 1 });
  });

  test("is NetworkManager's dnsmasq, told once of what a killed run has left", async () => {
    const calls: string[] = [];
    const run: Run = async (_, words) => {
      calls.push(words.join(" "));
      return { ok: true, out: "", error: "" };
    };
    const { folder, make, at } = await staged({ dnsmasq: true, run });
    await using _ = folder;
    await make().want(wanted);
    const file = statSync(at("nm/dnsmasq.d/ngrokd.conf")).ino;
    const resolver = make();
    // The killed run may have ended between the file and the command.
    await resolver.want(wanted);
    await resolver.guard();
    expect(calls).toEqual(["general reload dns-full", "general reload dns-full"]);
    expect(statSync(at("nm/dnsmasq.d/ngrokd.conf")).ino).toBe(file);
  });

  test("is NetworkManager's dnsmasq, and gives way to another daemon's file", async () => {
    let calls = 0;
    const run: Run = async () => {
      calls += 1;
      return { ok: true, out: "", error: "" };
    };
    const { folder, make, at, pass, text, log } = await staged({ dnsmasq: true, run });
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    const ours = text("nm/dnsmasq.d/ngrokd.conf");
    const write = (content: string): void => {
      unlinkSync(at("nm/dnsmasq.d/ngrokd.conf"));
      writeFileSync(at("nm/dnsmasq.d/ngrokd.conf"), content);
    };
    for (let n = 0; n < 20; n += 1) {
      write(ours.replace("127.0.0.1", `127.0.0.${50 + n}`));
      pass(3500);
      await resolver.guard();
    }
    expect({ calls }).toEqual({ calls: 4 });
    expect(resolver.trouble).toContain("Another program keeps changing");
    pass(61_000);
    await resolver.guard();
    expect({ text: text("nm/dnsmasq.d/ngrokd.conf"), trouble: resolver.trouble }).toEqual({
      text: ours,
      trouble: "",
    });
    expect(log.lines.filter((line) => line.includes("Put back"))).toHaveLength(4);
  });

  test.skipIf(!canFreeze)("keeps a file in the journal that cannot be removed", async () => {
    const { folder, make, at, journal, log } = await staged({ dnsmasq: true });
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    const frozen = at("nm/dnsmasq.d/ngrokd.conf");
    freeze("+i", frozen);
    await resolver.want(undefined);
    freeze("-i", frozen);
    expect(await journal()).toEqual(["file"]);
    expect(log.lines.join("\n")).toContain(`Cannot remove "${frozen}"`);
  });

  test("is systemd-resolved, whose settings of another interface a killed run left", async () => {
    const calls: string[] = [];
    const run: Run = async (_, words) => {
      calls.push(words.join(" "));
      return { ok: true, out: "", error: "" };
    };
    const { folder, make, at, journal } = await stagedResolved(run);
    await using _ = folder;
    writeFileSync(at("links"), "    lo: 0 0\nngrokd0: 0 0\nother0: 0 0\n");
    await recordChange(at("state"), { kind: "resolved", path: "/sys/class/net/other0" });
    await make().want(undefined);
    expect({ calls, journal: await journal() }).toEqual({ calls: ["revert other0"], journal: [] });
  });

  test("is systemd-resolved, and says why it cannot be told to forget", async () => {
    let ok = true;
    const run: Run = async () => ({ ok, out: "", error: ok ? "" : "Failed to connect to bus" });
    const { folder, make, journal, log } = await stagedResolved(run);
    await using _ = folder;
    const resolver = make();
    await resolver.want(wanted);
    ok = false;
    await resolver.want(undefined);
    expect(await journal()).toEqual(["resolved"]);
    expect(log.lines.join("\n")).toContain("Failed to connect to bus");
  });

  test("leaves a file of another program alone", async () => {
    const { folder, make, at, text } = await staged({ dnsmasq: true });
    await using _ = folder;
    writeFileSync(at("nm/dnsmasq.d/ngrokd.conf"), "server=/x/1.1.1.1\n");
    const resolver = make();
    await resolver.want(wanted);
    expect(resolver.trouble).toContain("another program's file is there");
    await resolver.want(undefined);
    expect(text("nm/dnsmasq.d/ngrokd.conf")).toBe("server=/x/1.1.1.1\n");
  });
});
