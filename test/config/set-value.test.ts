import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { parse, stringify, type ToStringOptions } from "yaml";
import { inspectConfig } from "../../src/config/load.ts";
import type { SettingKey } from "../../src/config/schema.ts";
import { type Single, setValueInText } from "../../src/config/set-in-text.ts";
import { configTemplate } from "../../src/config/template.ts";
import { withValueAt } from "../../src/config/value-at.ts";
import {
  createConfig,
  setConfigAside,
  setConfigValue,
  setConfigValues,
} from "../../src/config/write.ts";
import { anyText } from "../support/texts.ts";
import { fileOfTheGoProgram, ownFolder } from "./support.ts";

const apiKey = ["api", "key"];
const set = (text: string, value: Single = "NEW", path = apiKey): string => {
  const result = setValueInText(text, path, value);
  return result.ok ? result.value : `refused: ${result.reason}`;
};

describe("setValueInText", () => {
  test.each([
    ["an empty text", "", 'api:\n  key: "NEW"\n'],
    ["comments only", "# mine", '# mine\napi:\n  key: "NEW"\n'],
    [
      "a document with marks",
      "---\n# mine\n...\n# after\n",
      '---\n# mine\napi:\n  key: "NEW"\n...\n# after\n',
    ],
    [
      "an empty value and a comment",
      "api:\n  key:   # here\n  url: x\n",
      'api:\n  key: "NEW"   # here\n  url: x\n',
    ],
    ["an empty value at the end", "api:\n  key:", 'api:\n  key: "NEW"'],
    ["a null", "api:\n  key: ~ # here\n", 'api:\n  key: "NEW" # here\n'],
    ["single quotes", "api:\n  key: 'it''s' # here\n", 'api:\n  key: "NEW" # here\n'],
    ["a value on the next line", 'api:\n  key:\n    "old"\n', 'api:\n  key:\n    "NEW"\n'],
    [
      "a value on several lines",
      "api:\n  key: a\n    b # here\n  url: x",
      'api:\n  key: "NEW" # here\n  url: x',
    ],
    [
      "a block scalar",
      "api:\n  key: |- # here\n    old\n\n  # url\n  url: x\n",
      'api:\n  key: "NEW" # here\n\n  # url\n  url: x\n',
    ],
    ["a block scalar at the end", "api:\n  key: >\n    old", 'api:\n  key: "NEW"'],
    ["a flow map", "api: {url: x, key: old} # here\n", 'api: {url: x, key: "NEW"} # here\n'],
    ["JSON", '{"api":{"url":"x","key":""}}', '{"api":{"url":"x","key":"NEW"}}'],
    [
      "a missing key",
      "api: # a\n  # the URL\n  url: x\n\nserver:\n",
      'api: # a\n  key: "NEW"\n  # the URL\n  url: x\n\nserver:\n',
    ],
    ["a missing key, four spaces", "api:\n    url: x\n", 'api:\n    key: "NEW"\n    url: x\n'],
    ["a missing key in a flow map", "api: {url: x}\n", 'api: {key: "NEW", url: x}\n'],
    ["a missing key in a spaced flow map", "api: { url: x }\n", 'api: { key: "NEW", url: x }\n'],
    ["a missing key in an empty flow map", "api: {}\n", 'api: {key: "NEW"}\n'],
    [
      "an empty group",
      "api:\n  # key: old\nserver:\n",
      'api:\n  key: "NEW"\n  # key: old\nserver:\n',
    ],
    ["an empty group at the end", "server:\napi:", 'server:\napi:\n  key: "NEW"\n'],
    ["a group that is null", "api: ~ # here\n", 'api: { key: "NEW" } # here\n'],
    ["an empty group in a flow map", "{api: , b: 1}\n", '{api: { key: "NEW" } , b: 1}\n'],
    [
      "a missing group",
      "server:\n  log_level: info",
      'server:\n  log_level: info\napi:\n  key: "NEW"\n',
    ],
    [
      "a missing group in an indented map",
      "  server: {}\n",
      '  server: {}\n  api:\n    key: "NEW"\n',
    ],
    ["a missing group in a flow map", "{}", '{api: { key: "NEW" }}'],
    ["CRLF", "api:\r\n  url: x # u\r\n", 'api:\r\n  key: "NEW"\r\n  url: x # u\r\n'],
    ["CRLF, no last line end", "server: {}", 'server: {}\napi:\n  key: "NEW"\n'],
    ["a byte order mark", "\ufeffapi:\n  url: x\n", '\ufeffapi:\n  key: "NEW"\n  url: x\n'],
    ["an alias as value", "k: &k old\napi: {key: *k}\n", 'k: &k old\napi: {key: "NEW"}\n'],
    ["an anchor without an alias", "api: {key: &k old}\n", 'api: {key: &k "NEW"}\n'],
    [
      "an alias as group",
      "b: &b {url: x}\napi: *b\n",
      'b: &b {url: x}\napi: { <<: *b, key: "NEW" }\n',
    ],
    [
      "a merged group",
      "b: &b {key: old}\napi:\n  <<: *b\n",
      'b: &b {key: old}\napi:\n  key: "NEW"\n  <<: *b\n',
    ],
    ["quoted keys", "\"api\":\n  'key' : old\n", '"api":\n  \'key\' : "NEW"\n'],
  ])("changes %s", (_, before, after) => {
    expect(set(before)).toBe(after);
  });
});

describe("setValueInText, if in doubt,", () => {
  test.each([
    ["an anchor that others name", "api: {key: &k old}\nother: *k\n"],
    ["a group that others share", "api: &a {url: x}\nother: *a\n"],
    ["a list", "api: [1]\n"],
    ["a single value", "api: old\n"],
    ["a map as value", "api: {key: {a: 1}}\n"],
    ["a list as the whole", "- 1\n"],
    ["an explicit key", "? api\n: url: x\n"],
  ])("refuses %s, which would change another value", (_, text) => {
    expect(set(text)).toBe("refused: its layout leaves no safe place for the change");
  });

  test("names the line of a text that is not YAML", () => {
    expect(set("api:\n  url: x\napi: {}\n")).toBe(
      "refused: line 3: the key api is set a second time",
    );
  });
});

describe("setValueInText, of whole files,", () => {
  test("changes the Go program's file in one line", () => {
    expect(set(fileOfTheGoProgram)).toBe(fileOfTheGoProgram.replace('key: ""', 'key: "NEW"'));
    expect(set(fileOfTheGoProgram, 60, ["bound_endpoints", "poll_interval"])).toBe(
      fileOfTheGoProgram.replace("poll_interval: 30", "poll_interval: 60"),
    );
    expect(set(fileOfTheGoProgram, "a:1", ["ingressEndpoint"])).toBe(
      fileOfTheGoProgram.replace("kubernetes-binding-ingress.ngrok.io:443", "a:1"),
    );
  });

  test("changes one value in any commented file, and no other line", () => {
    fc.assert(
      fc.property(commentedFile, single, ({ lines, eol, last }, value) => {
        const text = lines.map(({ text }) => text).join(eol) + (last ? eol : "");
        const result = setValueInText(text, apiKey, value);
        if (!result.ok) throw new Error(result.reason);
        expect(parse(result.value)).toEqual(withValueAt(parse(text), apiKey, value));
        const others = lines.filter(({ own }) => !own).map(({ text }) => text);
        expect(isSubsequence(others, result.value.split(eol))).toBe(true);
        const comments = lines.flatMap(({ text, own }) =>
          own ? (/ # own.*$/.exec(text)?.[0] ?? []) : [],
        );
        for (const comment of comments) expect(result.value).toContain(comment);
        expect(result.value.split(eol).length).toBeLessThanOrEqual(text.split(eol).length + 3);
      }),
      { numRuns: 300 },
    );
  });

  test("changes one value in any text that the yaml library writes", () => {
    fc.assert(
      fc.property(anyRoot, anyStyle, single, (root, style, value) => {
        const text = stringify(root, style);
        const result = setValueInText(text, apiKey, value);
        if (!result.ok) throw new Error(`${result.reason}: ${text}`);
        expect(parse(result.value)).toEqual(withValueAt(parse(text), apiKey, value));
      }),
      { numRuns: 300 },
    );
  });
});

describe("setConfigValue", () => {
  const folder = ownFolder();
  const key = "2cVr_a-key-for-tests";

  test("creates a missing file from the template, for its owner only", async () => {
    const path = join(folder, "new", "deep", "config.yml");
    await setConfigValue(path, "api.key", key);
    expect(readFileSync(path, "utf8")).toBe(configTemplate().replace('key: ""', `key: "${key}"`));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, "new", "deep")).mode & 0o777).toBe(0o700);
  });

  test("closes a file that all users could read, and leaves no file beside it", async () => {
    const path = join(folder, "open", "config.yml");
    mkdirSync(join(folder, "open"));
    writeFileSync(path, fileOfTheGoProgram);
    chmodSync(path, 0o644);
    await setConfigValue(path, "api.key", ` ${key}\n`);
    expect(readFileSync(path, "utf8")).toBe(fileOfTheGoProgram.replace('key: ""', `key: "${key}"`));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(folder, "open"))).toEqual(["config.yml"]);
  });

  test("writes to the file behind a chain of links, even a missing one", async () => {
    const real = join(folder, "real.yml");
    symlinkSync("real.yml", join(folder, "inner.yml"));
    symlinkSync(join(folder, "inner.yml"), join(folder, "outer.yml"));
    for (const value of [key, `${key}-2`]) {
      await setConfigValue(join(folder, "outer.yml"), "api.key", value);
      expect(parse(readFileSync(real, "utf8")).api.key).toBe(value);
    }
    expect(lstatSync(real).isFile()).toBe(true);
    expect(readlinkSync(join(folder, "inner.yml"))).toBe("real.yml");
  });

  test("refuses a wrong value without quoting a secret, and writes nothing", async () => {
    const path = join(folder, "untouched.yml");
    const refused = (key: SettingKey, value: Single) =>
      setConfigValue(path, key, value).catch((error: unknown) => error);
    expect(await refused("api.key", "a secret")).toMatchObject({
      code: "config",
      message: expect.not.stringContaining("a secret"),
    });
    expect(await refused("bound_endpoints.poll_interval", 0)).toMatchObject({
      message:
        "Cannot set bound_endpoints.poll_interval: bound_endpoints.poll_interval is 0; " +
        "allowed: a whole number, 1 to 86400",
    });
    expect(readdirSync(folder)).not.toContain("untouched.yml");
  });

  test("leaves a file unchanged that has no safe place, with a hint", async () => {
    const path = join(folder, "shared.yml");
    const text = "api: {key: &k old-old-old}\nother: *k\n";
    writeFileSync(path, text);
    const error = await setConfigValue(path, "api.key", key).catch((error: unknown) => error);
    expect(error).toMatchObject({
      code: "config",
      hint: "set it by hand, with `ngrokd config edit`",
    });
    expect(readFileSync(path, "utf8")).toBe(text);
  });
});

describe("setConfigValues", () => {
  const folder = ownFolder();
  const rules = [{ endpoint: "*", from: ["10.0.0.0/8"] }];

  test("changes several settings, lists among them, and keeps every comment", async () => {
    const path = join(folder, "config.yml");
    writeFileSync(path, "# mine\nnet:\n  subnet: auto # why\naccess:\n  rules: [] # none yet\n");
    await setConfigValues(path, [
      { key: "net.subnet", value: "127.0.0.0/8" },
      { key: "dns.enabled", value: true },
      { key: "access.rules", value: rules },
    ]);
    expect(readFileSync(path, "utf8")).toBe(
      '# mine\nnet:\n  subnet: "127.0.0.0/8" # why\naccess:\n' +
        '  rules: [{"endpoint":"*","from":["10.0.0.0/8"]}] # none yet\ndns:\n  enabled: true\n',
    );
  });

  test("writes a list of rules into the template, which is valid then", async () => {
    const path = join(folder, "new.yml");
    await setConfigValues(path, [{ key: "access.rules", value: rules }]);
    const { loaded } = await inspectConfig({ file: path, env: {} });
    expect(loaded?.config.access.rules).toEqual(rules);
  });

  test("replaces a list in one line, but none with a comment inside", async () => {
    const path = join(folder, "lists.yml");
    const empty = (): Promise<unknown> =>
      setConfigValues(path, [{ key: "access.rules", value: [] }]).catch((error: unknown) => error);
    writeFileSync(path, 'access:\n  rules: [{endpoint: "*"}] # mine\n');
    await empty();
    expect(readFileSync(path, "utf8")).toBe("access:\n  rules: [] # mine\n");
    const commented = 'access:\n  rules: [ # mine\n    {endpoint: "*"}]\n';
    writeFileSync(path, commented);
    expect(await empty()).toMatchObject({ code: "config" });
    expect(readFileSync(path, "utf8")).toBe(commented);
  });

  test("makes all changes or none", async () => {
    const path = join(folder, "none.yml");
    const text = "net: {subnet: auto}\n";
    writeFileSync(path, text);
    const error = await setConfigValues(path, [
      { key: "dns.enabled", value: true },
      { key: "net.subnet", value: "nonsense" },
    ]).catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "config" });
    expect(readFileSync(path, "utf8")).toBe(text);
  });
});

describe("setConfigAside", () => {
  const folder = ownFolder();

  test("keeps a broken file beside, for its owner only, and puts the template there", async () => {
    const path = join(folder, "config.yml");
    const broken = "api: [\nkey: precious\n";
    writeFileSync(path, broken);
    const aside = await setConfigAside(path, new Date("2026-11-28T10:00:00Z"));
    expect(aside).toBe(`${path}.damaged-20261128T100000Z`);
    expect(readFileSync(aside, "utf8")).toBe(broken);
    expect(statSync(aside).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "utf8")).toBe(configTemplate());
  });
});

describe("createConfig", () => {
  const folder = ownFolder();

  test("writes the template once, and never over another file", async () => {
    const path = join(folder, "a", "config.yml");
    expect(await createConfig(path)).toBe(true);
    expect(readFileSync(path, "utf8")).toBe(configTemplate());
    expect(statSync(path).mode & 0o777).toBe(0o600);
    writeFileSync(path, "mine");
    expect(await createConfig(path)).toBe(false);
    expect(readFileSync(path, "utf8")).toBe("mine");
    symlinkSync("nowhere", join(folder, "dangling"));
    expect(await createConfig(join(folder, "dangling"))).toBe(false);
  });

  test("names the folder that cannot be written to", async () => {
    writeFileSync(join(folder, "file"), "");
    expect(
      await createConfig(join(folder, "file", "config.yml")).catch((error: unknown) => error),
    ).toMatchObject({
      code: "state",
      message: expect.stringContaining(join(folder, "file")),
    });
  });
});

function isSubsequence(part: readonly string[], whole: readonly string[]): boolean {
  let at = 0;
  for (const line of whole) if (at < part.length && line === part[at]) at += 1;
  return at === part.length;
}

const single: fc.Arbitrary<Single> = fc.oneof(
  anyText,
  fc.string({ unit: "grapheme" }),
  fc.stringMatching(/^[-#:"'{}[\]&*!|>%@`, \n\ta1~]{0,10}$/),
  fc.constantFrom(
    "",
    "true",
    "null",
    "~",
    "123",
    "1e3",
    "0x1f",
    "<<",
    "---",
    "...",
    "\u2028",
    "\ud800",
    "x".repeat(500),
  ),
  fc.integer(),
  fc.boolean(),
);

/** A line of a configuration file; `own` if it has the value to change. */
interface Line {
  readonly text: string;
  readonly own: boolean;
}

const commentedFile = ((): fc.Arbitrary<{ lines: Line[]; eol: string; last: boolean }> => {
  const remark = fc.constantFrom("", " # plain", " # it's: {not} [yaml", "   # &a *a", ' # "');
  const between = fc.constantFrom<string[]>(
    [],
    [""],
    ["# a comment: of mine"],
    ["", "  # key: commented out", ""],
  );
  const foreign = fc.constantFrom<string[]>(
    ["server:", "  # the level", "  log_level: info", "  socket_path: '/run/it''s.sock' # s"],
    ["ingressEndpoint: ingress.example:443"],
    ["bound_endpoints: {poll_interval: 30, selectors: ['true', \"a: b\"]} # flow"],
    ["net:", "    overrides:", "        a.b: virtual", "    # last"],
    ["unknown: |", "  api:", "    key: not this one", ""],
    ["other: >-", "  folded", "  text", "# outside"],
    ["later: [", "  1, # one", "  2", "]"],
    ["empty:"],
  );
  const value = fc.constantFrom<string[]>(
    [""],
    [" old"],
    [' "old # no comment"'],
    [" 'it''s'"],
    [" ~"],
    [' ""'],
    [" |", "      old", "      text"],
    [" >-", "      old"],
    [" 'two", "      lines'"],
  );
  const own = (lines: readonly string[]): Line[] => lines.map((text) => ({ text, own: true }));
  const kept = (lines: readonly string[]): Line[] => lines.map((text) => ({ text, own: false }));
  const keyLines = fc.tuple(value, remark).map(([lines, remark]) => {
    const [first = "", ...rest] = lines;
    const behind = rest.length === 0 || /^ [|>]/.test(first) ? remark.replace("#", "# own") : "";
    return own([`  key:${first}${behind}`, ...rest]);
  });
  const block = fc
    .tuple(fc.boolean(), keyLines, fc.boolean(), remark)
    .map(([hasKey, key, urlFirst, remark]) => {
      const url = kept(["  # the URL", `  url: https://x.example${remark}`]);
      const inner = hasKey ? (urlFirst ? [...url, ...key] : [...key, ...url]) : url;
      return [...kept([`api:${remark}`]), ...inner];
    });
  const flow = fc
    .constantFrom(
      "api: {url: x, key: old} # own",
      "api: {key: , url: x} # own",
      "api: {} # own",
      "api: ~ # own",
      "api: { url: x } # own",
    )
    .map((line) => own([line]));
  const empty = remark.map((remark) => kept([`api:${remark}`]));
  const api = fc.oneof(block, flow, empty, fc.constant<Line[]>([]));
  const others = fc.uniqueArray(foreign, { selector: ([first]) => first, maxLength: 4 });
  return fc
    .tuple(
      others,
      api,
      fc.nat(4),
      fc.array(between, { minLength: 6, maxLength: 6 }),
      fc.constantFrom("\n", "\r\n"),
      fc.boolean(),
    )
    .map(([others, api, at, gaps, eol, last]) => {
      const parts = others.map(kept);
      parts.splice(Math.min(at, parts.length), 0, api);
      const lines = parts.flatMap((part, i) => [...kept(gaps[i] ?? []), ...part]);
      // The last line end of a block scalar is part of its value. A single line
      // without an end does not tell which line ends the file uses.
      const ended = last || /^ {2,}/.test(lines.at(-1)?.text ?? "");
      return { lines, eol: ended || lines.length > 1 ? eol : "\n", last: ended };
    });
})();

const plainValue = fc.jsonValue({ maxDepth: 2 });
const name = fc
  .string({ minLength: 1 })
  .filter((text) => !["api", "<<", "__proto__"].includes(text));
const anyRoot = fc
  .tuple(
    fc.dictionary(name, plainValue, { maxKeys: 4 }),
    fc.option(
      fc.oneof(
        fc.constant(null),
        fc.record(
          { url: fc.string(), key: fc.oneof(fc.string(), fc.constant(null), fc.integer()) },
          { requiredKeys: [] },
        ),
      ),
      { nil: undefined },
    ),
    fc.boolean(),
  )
  .map(([others, api, first]) =>
    api === undefined ? others : first ? { api, ...others } : { ...others, api },
  );
const anyStyle: fc.Arbitrary<ToStringOptions> = fc.record({
  indent: fc.constantFrom(2, 4),
  collectionStyle: fc.constantFrom("any", "block", "flow"),
  defaultStringType: fc.constantFrom(
    "PLAIN",
    "QUOTE_SINGLE",
    "QUOTE_DOUBLE",
    "BLOCK_LITERAL",
    "BLOCK_FOLDED",
  ),
  flowCollectionPadding: fc.boolean(),
  nullStr: fc.constantFrom("~", "null"),
});
