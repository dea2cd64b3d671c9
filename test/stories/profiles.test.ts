import { beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { parse } from "yaml";
import { type Cloud, startCloud } from "../support/cloud.ts";
import {
  type Daemon,
  defaultConfig,
  examine,
  ngrokd,
  serve,
  writeConfig,
} from "../support/ngrokd.ts";
import { carries, echoes, talking } from "../support/round-trip.ts";
import { stories, until } from "../support/story.ts";
import { echo, resolve } from "../support/tcp.ts";

/** The folder of both clouds' certificate authorities. */
const authorities = "/run/authorities";

/** A configuration with one cloud at the top, and the other as `work`. */
function configOf(home: Cloud, profiles: object, more: object = {}): object {
  return {
    api: { url: home.apiUrl, key: home.apiKey },
    server: { ingress_ca: authorities, log_format: "json" },
    bound_endpoints: { poll_interval: 1 },
    profiles,
    ...more,
  };
}

const profile = (cloud: Cloud, more: object = {}): object => ({
  api: { url: cloud.apiUrl, key: cloud.apiKey },
  bound_endpoints: { poll_interval: 1 },
  ...more,
});

const unchanged = { registration: "none", certificate: "none", reason: "" };

const told = (daemon: Daemon, text: string): boolean =>
  daemon.lines().some(({ message }) => message === text);

stories("profiles: several accounts in one daemon", () => {
  let home: Cloud;
  let work: Cloud;
  let daemon: Daemon;
  let service: string;
  const owner = async (name: string) => (await daemon.endpoint(name))?.profile;

  beforeAll(async () => {
    [home, work] = await Promise.all([startCloud(), startCloud()]);
    mkdirSync(authorities, { recursive: true });
    copyFileSync(home.caFile, `${authorities}/home.crt`);
    copyFileSync(work.caFile, `${authorities}/work.crt`);
    service = (await echo()).address;
    await home.add("tcp://mine.demo:7000", service);
    await work.add("tcp://theirs.demo:7000", service);
    writeConfig(configOf(home, { work: profile(work) }));
    daemon = await serve();
    await daemon.becomes("mine.demo", "listening");
    await daemon.becomes("theirs.demo", "listening");
    await until("both have polled", async () => (await daemon.status()).phase === "serving");
  });

  test("both are served, each with its own operator, key and folder", async () => {
    expect({
      mine: await carries("mine.demo", 7000),
      theirs: await carries("theirs.demo", 7000),
    }).toEqual({ mine: true, theirs: true });
    const status = await daemon.status();
    expect(status.phase).toBe("serving");
    const [first, second] = status.profiles ?? [];
    expect([first?.name, second?.name]).toEqual(["default", "work"]);
    expect(await home.operators()).toMatchObject([{ id: first?.operator_id }]);
    expect(await work.operators()).toMatchObject([{ id: second?.operator_id }]);
    const folder = "/etc/ngrokd/profiles/work";
    expect(readFileSync(`${folder}/operator_id`, "utf8")).toBe(second?.operator_id ?? "");
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(`${folder}/tls.key`).mode & 0o777).toBe(0o600);
  });

  test("`list`, `status`, `refresh` and /metrics show the profiles", async () => {
    const { out } = await ngrokd("list");
    expect(out.split("\n")[0]?.split(/ +/).slice(0, 3)).toEqual(["URL", "PROFILE", "ADDRESS"]);
    expect(out).toMatch(/tcp:\/\/mine\.demo:7000 +default +127\./);
    expect(out).toMatch(/tcp:\/\/theirs\.demo:7000 +work +127\./);
    const one = await ngrokd("list --profile work --json");
    expect(one.json.map(({ hostname }: { hostname: string }) => hostname)).toEqual(["theirs.demo"]);
    expect((await ngrokd("status")).out).toMatch(/^Profile work$/m);
    expect((await ngrokd("status --profile work --json")).json.endpoint_count).toBe(1);
    expect((await ngrokd("refresh --profile work")).out).toMatch(/: 1 endpoint\.$/m);
    expect((await ngrokd("refresh")).out).toMatch(/: 2 endpoints\.$/m);
    const { address } = (await ngrokd("health --json")).json;
    const metrics = await (await fetch(`${address}metrics`)).text();
    expect(metrics).toMatch(/^ngrokd_last_poll_success\{profile="work"\} 1$/m);
    expect(metrics).toMatch(
      /^ngrokd_connections_total\{profile="default",endpoint="mine\.demo:7000"\} 1$/m,
    );
    expect(metrics).toMatch(/^ngrokd_up 1$/m);
  });

  test("a name of both is the first profile's, and the other says why", async () => {
    const first = await home.add("tcp://both.demo:7001", service);
    await daemon.becomes("both.demo", "listening");
    await work.add("tcp://both.demo:7001", service);
    const refused = await until("the second is refused", async () =>
      (await daemon.list()).find(
        ({ state, url }) => state === "unsupported" && url.includes("both"),
      ),
    );
    expect([refused.profile, refused.reason]).toEqual([
      "work",
      "the profile default comes first, and serves this name",
    ]);
    expect((await daemon.endpoint("both.demo"))?.profile).toBe("default");
    const open = await talking("both.demo", 7001);
    await home.remove(first);
    await until("the second has it", async () => (await owner("both.demo")) === "work");
    expect(await carries("both.demo", 7001)).toBe(true);
    await home.add("tcp://both.demo:7001", service);
    await until("the first has it again", async () => (await owner("both.demo")) === "default");
    expect(await carries("both.demo", 7001)).toBe(true);
    expect(await echoes(open, "still")).toBe(true);
    open.reset();
  });

  test("names.deny of a profile holds for its endpoints, and for no others", async () => {
    const names = { deny: ["theirs.demo", "mine.demo"] };
    writeConfig(configOf(home, { work: profile(work, { names }) }));
    await daemon.reload();
    const denied = await until("the name is refused", async () =>
      (await daemon.list()).find(({ state }) => state === "refused"),
    );
    expect([denied.profile, denied.reason]).toEqual(["work", 'names.deny has "theirs.demo"']);
    expect(await carries("mine.demo", 7000)).toBe(true);
    writeConfig(configOf(home, { work: profile(work) }));
    await daemon.reload();
    await daemon.becomes("theirs.demo", "listening");
  });

  test("if one API is down, the other profile goes on, and its state has the reason", async () => {
    const open = await talking("theirs.demo", 7000);
    await work.break("503");
    const status = await until("the daemon is degraded", async () => {
      const status = await daemon.status();
      return status.phase === "degraded" && status;
    });
    expect(status.reason).toStartWith("profile work: ");
    expect(status.profiles?.map(({ phase }) => phase)).toEqual(["serving", "degraded"]);
    await home.add("tcp://later.demo:7000", service);
    await daemon.becomes("later.demo", "listening");
    expect({
      openEchoes: await echoes(open, "still"),
      later: await carries("later.demo", 7000),
      theirs: await carries("theirs.demo", 7000),
    }).toEqual({ openEchoes: true, later: true, theirs: true });
    open.reset();
    expect((await ngrokd("health")).code).toBe(1);
    expect((await ngrokd("health --profile default")).code).toBe(0);
    await work.mend();
    // After many failures the next try is up to a minute away.
    await until("it serves again", async () => (await daemon.status()).phase === "serving", {
      within: 100_000,
    });
  });

  test("a profile that a reload removes leaves the other's connections alone", async () => {
    const mine = await talking("mine.demo", 7000);
    await until("the command is the first to read the removal", async () => {
      writeConfig(configOf(home, {}));
      const { changes } = await daemon.reload();
      if (changes.length === 0) {
        // The daemon has looked by itself; it looks again in 3.5 s.
        writeConfig(configOf(home, { work: profile(work) }));
        await daemon.reload();
        await daemon.becomes("theirs.demo", "listening");
        return false;
      }
      expect(changes).toEqual([
        { key: "profiles.work", counts: "now", from: "there", to: "removed" },
      ]);
      return true;
    });
    await daemon.becomes("theirs.demo", "gone");
    expect(await resolve("theirs.demo")).toBeUndefined();
    expect(await echoes(mine, "still")).toBe(true);
    expect(await daemon.status()).not.toHaveProperty("profiles");
    expect((await ngrokd("list")).out).not.toContain("PROFILE");
    expect(told(daemon, "The profile work is no longer served")).toBe(true);
    expect(existsSync("/etc/ngrokd/profiles/work/operator_id")).toBe(true);
    mine.reset();
  });

  test("a profile that a reload adds is served, and waits for its key", async () => {
    const before = await work.operators();
    writeConfig(configOf(home, { work: { ...profile(work), api: { url: work.apiUrl } } }));
    expect((await daemon.reload()).ok).toBe(true);
    const status = await until("it waits for a key", async () => {
      const [, second] = (await daemon.status()).profiles ?? [];
      return second?.registration === "waiting-for-key" || second?.phase === "degraded"
        ? second
        : undefined;
    });
    expect(status.hint).toBe("run `ngrokd set-api-key --profile work`");
    const set = await ngrokd("set-api-key - --profile work", { stdin: work.apiKey });
    expect([set.code, set.err]).toEqual([0, ""]);
    expect(set.out).toContain("is registered as");
    await daemon.becomes("theirs.demo", "listening");
    expect(await carries("theirs.demo", 7000)).toBe(true);
    // The same operator as before: its files were still there.
    expect(await work.operators()).toEqual(before);
    const saved = parse(readFileSync(defaultConfig, "utf8"));
    expect([saved.api.key, saved.profiles.work.api.key]).toEqual([home.apiKey, work.apiKey]);
    expect(daemon.log()).not.toContain(work.apiKey);
  });

  describe("commands without the daemon's help", () => {
    test("operators and plan are of one profile, or of all", async () => {
      const [operator] = await work.operators();
      const { json } = await ngrokd("operators --profile work --json");
      expect(json.map(({ id }: { id: string }) => id)).toEqual([operator?.id]);
      const plan = await ngrokd("plan");
      expect([plan.code, plan.out]).toEqual([0, expect.stringContaining("Nothing would change")]);
      expect(plan.out).toContain("the profile default comes first, and serves this name");
      await home.break("503");
      expect((await ngrokd("plan")).code).toBe(1);
      const one = (await ngrokd("plan --profile work --json")).json;
      expect(one.changes.names).toEqual([]);
      expect(one.profiles).toEqual([{ name: "work", identity: unchanged }]);
      await home.mend();
      // A poll of the daemon can have met the 503 as well.
      await until("it serves again", async () => (await daemon.status()).phase === "serving");
      const wrong = await ngrokd("operators --profile wrok");
      expect([wrong.code, wrong.err]).toEqual([
        2,
        expect.stringContaining('There is no profile "wrok"'),
      ]);
    });

    test("doctor checks each profile, and why takes the one that has the name", async () => {
      type Found = { check: string; profile?: string; level: string }[];
      await until("doctor has no deadline missed", async () => {
        const found: Found = (await ngrokd("doctor --json")).json.findings;
        for (const check of ["certificate", "key", "operator", "ingress", "endpoints"]) {
          const levels = found.filter((one) => one.check === check);
          expect(levels.map(({ profile, level }) => `${check} of ${profile}: ${level}`)).toEqual([
            `${check} of default: ok`,
            `${check} of work: ok`,
          ]);
        }
        return true;
      });
      const one: Found = (await examine("doctor --profile work --json")).json.findings;
      expect(one.filter(({ check }) => check === "operator")).toHaveLength(1);
      const theirs = await examine("why theirs.demo");
      expect([theirs.code, theirs.err]).toEqual([0, ""]);
      expect(theirs.out).toContain("theirs.demo:7000 works");
    });

    test("unregister deletes the operator and the files of one profile", async () => {
      expect(await daemon.stop()).toBe(0);
      const gone = await ngrokd("unregister --profile work --yes");
      expect([gone.code, gone.err]).toEqual([0, ""]);
      expect(await work.operators()).toEqual([]);
      expect(await home.operators()).toHaveLength(1);
      expect(existsSync("/etc/ngrokd/profiles/work/tls.key")).toBe(false);
      expect(existsSync("/etc/ngrokd/tls.key")).toBe(true);
    });
  });

  test("without a key at the top there are the named profiles only", async () => {
    writeConfig({ ...configOf(home, { work: profile(work), lab: profile(home) }), api: {} });
    daemon = await serve();
    await daemon.becomes("theirs.demo", "listening");
    const status = await daemon.status();
    expect(status.profiles?.map(({ name }) => name)).toEqual(["work", "lab"]);
    const ambiguous = await ngrokd("refresh-cert");
    expect([ambiguous.code, ambiguous.err]).toEqual([
      2,
      expect.stringContaining("name one with --profile: work, lab"),
    ]);
    expect((await ngrokd("refresh-cert --profile lab")).code).toBe(0);
    expect(await daemon.stop()).toBe(0);
  });
});
