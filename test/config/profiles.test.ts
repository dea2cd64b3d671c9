import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { changesBetween } from "../../src/config/changes.ts";
import { inspectConfig, type Loaded, loadConfig } from "../../src/config/load.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { chosenProfile, ofProfile, profilesOf } from "../../src/config/profiles.ts";
import { redactedSettings } from "../../src/config/redact.ts";
import { setConfigValue } from "../../src/config/write.ts";

const folder = mkdtempSync(join(tmpdir(), "ngrokd-profiles-"));
afterAll(() => rmSync(folder, { recursive: true }));

function fileWith(text: string): string {
  const path = join(mkdtempSync(join(folder, "c-")), "config.yml");
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

const loadedWith = (text: string): Promise<Loaded> => loadConfig({ file: fileWith(text), env: {} });

const two = `
api: { key: key-of-home }
server: { client_cert: /var/lib/n/tls.crt, log_level: debug }
profiles:
  work:
    api: { key: key-of-work, url: https://api.work.example }
    bound_endpoints: { poll_interval: 7, selectors: [true] }
  lab: { server: { client_cert: /srv/lab/own.crt } }
`;

describe("profilesOf", () => {
  test.each([
    ["", ["default"]],
    ["api: { key: 12345678 }", ["default"]],
    ["profiles: { work: {}, lab: }", ["work", "lab"]],
    ["api: { key: 12345678 }\nprofiles: { work: {} }", ["default", "work"]],
  ])("of %j are %j", async (text, names) => {
    expect(profilesOf(await loadedWith(text))).toEqual(names);
  });
});

describe("ofProfile", () => {
  test("has the profile's own settings, and the daemon's others", async () => {
    const loaded = await loadedWith(two);
    const work = ofProfile(loaded, "work");
    expect(work.config.api).toEqual({ url: "https://api.work.example", key: "key-of-work" });
    expect(work.config.bound_endpoints).toEqual({ poll_interval: 7, selectors: ["true"] });
    expect(work.config.server.log_level).toBe("debug");
    expect(work.config.server.client_cert).toBe("/var/lib/n/profiles/work/tls.crt");
    expect(work.config.server.client_key).toBe("/var/lib/n/profiles/work/tls.key");
    expect(work.origins["api.key"]).toBe("file");
    expect(work.origins.ingressEndpoint).toBe("default");
    expect(work.profile).toBe("work");
  });

  test("never takes over the key of the default profile", async () => {
    const lab = ofProfile(await loadedWith(two), "lab");
    expect(lab.config.api.key).toBe("");
    expect(lab.config.server.client_cert).toBe("/srv/lab/own.crt");
    expect(lab.config.server.client_key).toBe("/srv/lab/tls.key");
  });

  test("has its own lists of names, and the top level's where it has none", async () => {
    const loaded = await loadedWith(`
names: { deny: ["*.bank"], only: ["*.internal"], pin: { db.internal: 127.0.0.9 } }
profiles:
  work: { names: { deny: ["x.internal"], allow: ["*.corp"] } }
`);
    expect(ofProfile(loaded, "work").config.names).toEqual({
      ...loaded.config.names,
      ...{ deny: ["x.internal"], allow: ["*.corp"] },
    });
    expect(loaded.config.names).toMatchObject({ deny: ["*.bank"], allow: [] });
    const odd = await inspectConfig({
      file: fileWith("profiles: { work: { names: { pin: { a.demo: 127.0.0.9 } } } }"),
      env: {},
    });
    expect(odd.warnings.map(({ kind }) => kind)).toEqual(["unknown-key"]);
  });

  test("returns the same object again, and the whole for the default one", async () => {
    const loaded = await loadedWith(two);
    expect(ofProfile(loaded, "work")).toBe(ofProfile(loaded, "work"));
    expect(ofProfile(loaded, "default")).toBe(loaded);
  });
});

describe("chosenProfile", () => {
  const named = async (text: string, name?: string): Promise<string> =>
    chosenProfile(await loadedWith(text), name).profile ?? "default";

  test("is the default one, or the only one", async () => {
    expect(await named(two)).toBe("default");
    expect(await named("profiles: { work: {} }")).toBe("work");
    expect(await named("profiles: { work: {} }", "default")).toBe("default");
  });

  test("must be named if there are several without a default one", async () => {
    const text = "profiles: { work: {}, lab: {} }";
    await expect(named(text)).rejects.toThrow("There are several profiles, and none was named");
    await expect(named(text, "wrok")).rejects.toThrow('There is no profile "wrok"');
    expect(await named(text, "lab")).toBe("lab");
  });
});

describe("the problems of profiles", () => {
  const problems = (text: string): string[] => {
    const { problems, warnings } = parseConfig(text, "c.yml");
    return [...problems, ...warnings].map(({ key = "", message }) => `${key}: ${message}`);
  };

  test.each([
    [
      "{work: {api: {key: short}}}",
      "profiles.work.api.key: profiles.work.api.key is a text of 5 characters (not shown); allowed: 8 to 512 characters, without spaces",
    ],
    [
      "{work: {api: text}}",
      "profiles.work.api: profiles.work.api is a single value; allowed: settings, each as `name: value` on a line of its own below it",
    ],
    [
      "{work: text}",
      "profiles.work: profiles.work is a single value; allowed: settings, each as `name: value` on a line of its own below it",
    ],
    [
      "{work: {forward: {}}}",
      "forward: forward is of the whole daemon: set it outside the profiles",
    ],
    [
      "{work: {server: {log_level: debug}}}",
      "server.log_level: server.log_level is of the whole daemon: set it outside the profiles",
    ],
    [
      "{work: {api: {kye: 12345678}}}",
      'api.kye: there is no setting "api.kye"; did you mean "api.key"?',
    ],
  ])("in %s have a name and advice", (profiles, told) => {
    expect(problems(`profiles: ${profiles}`)).toEqual([told]);
  });

  test("name a folder that two profiles would share", async () => {
    const text = "profiles: { a: {}, b: { server: { client_cert: /etc/ngrokd/tls.crt } } }";
    const { problems, loaded } = await inspectConfig({ file: fileWith(text), env: {} });
    expect(loaded).toBeUndefined();
    expect(problems.map(({ message }) => message)).toEqual([
      'profiles.b.server.client_cert is in the folder "/etc/ngrokd" of the profile default; ' +
        "allowed: a folder of its own for each profile",
    ]);
  });
});

describe("changesBetween", () => {
  test("names profiles that are new, gone, moved or different", async () => {
    const before = await loadedWith("profiles: { a: {}, b: {}, c: {} }");
    const after = await loadedWith("profiles: { c: { api: { key: 12345678 } }, b: {}, d: {} }");
    expect(changesBetween(before, after).map(({ key, from, to }) => [key, from, to])).toEqual([
      ["profiles.a", "there", "removed"],
      ["profiles.d", "none", "added"],
      ["profiles.c.api.key", "not set", "set"],
      ["profiles", "a, b, c", "c, b, d"],
    ]);
  });
});

test("redactedSettings shows no key of a profile", async () => {
  const shown = redactedSettings(await loadedWith(two));
  expect(shown).toContainEqual({ key: "profiles.work.api.key", value: "set", origin: "file" });
  expect(JSON.stringify(shown)).not.toContain("key-of-work");
});

test("setConfigValue writes below the profile, and keeps the rest", async () => {
  const path = fileWith("# mine\napi: { key: key-of-home }\nprofiles:\n  work: # theirs\n");
  await setConfigValue(path, "api.key", "key-of-work", "work");
  expect(readFileSync(path, "utf8")).toBe(
    '# mine\napi: { key: key-of-home }\nprofiles:\n  work: # theirs\n    api:\n      key: "key-of-work"\n',
  );
});
