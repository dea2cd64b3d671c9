import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseConfig } from "../../src/config/parse.ts";
import { referencePage } from "../../src/config/reference.ts";
import { configSchema, defaultConfig, settings } from "../../src/config/schema.ts";
import { configTemplate } from "../../src/config/template.ts";
import { valueAt } from "../../src/config/value-at.ts";

const configOf = (text: string) => {
  const { values, problems, warnings } = parseConfig(text, "template");
  expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
  return configSchema.parse(values);
};
/** By its depth too, since groups may contain the same name. */
const settingLine = (path: readonly string[]): RegExp =>
  new RegExp(`^( {${2 * path.length - 2}})# (${path.at(-1)}: .*)$`, "m");

describe("configTemplate", () => {
  test("is a right configuration with all defaults", () => {
    expect(configOf(configTemplate())).toEqual(defaultConfig);
  });

  test("is the same with every setting uncommented", () => {
    const all = settings.reduce(
      (text, { path }) => text.replace(settingLine(path), "$1$2"),
      configTemplate(),
    );
    expect(configOf(all)).toEqual(defaultConfig);
    for (const { path } of settings) expect(all).toMatch(new RegExp(`^ *${path.at(-1)}: `, "m"));
  });

  test.each(settings.filter(({ secret }) => secret !== true).map(({ key }) => [key]))(
    "has a line to uncomment and change %s alone",
    (key) => {
      const setting = settings.find((setting) => setting.key === key);
      const other =
        otherValues[key] ??
        {
          number: "7",
          boolean: `${setting?.default !== true}`,
          list: otherTexts[key] ?? "['1.1.1.1:53']",
          numbers: "[]",
          map: "{a.b: virtual}",
          maps: "[{endpoint: db.internal, users: [alice]}]",
          text: otherTexts[key] ?? "/other",
        }[setting?.kind ?? "text"];
      const text = configTemplate().replace(
        settingLine(setting?.path ?? []),
        `$1${setting?.path.at(-1)}: ${other}`,
      );
      const changed = settings.filter(
        ({ path }) => !Bun.deepEquals(valueAt(configOf(text), path), valueAt(defaultConfig, path)),
      );
      expect(changed.map(({ key }) => key) as string[]).toEqual([key]);
    },
  );

  test("fits a terminal", () => {
    expect(
      configTemplate()
        .split("\n")
        .filter((line) => line.length > 100),
    ).toEqual([]);
    expect(configTemplate()).not.toMatch(/[ \t]$/m);
  });
});

const otherValues: Readonly<Record<string, string>> = {
  "names.allow": "['*.a.b']",
  "names.deny": "['*.a.b']",
  "names.only": "['*.a.b']",
  "names.alias": "{a.b: [c]}",
  "names.pin": "{a.b: 127.0.0.9}",
  "names.expand": "{'*.a.b': [c]}",
  profiles: "{work: {api: {key: another-key}}}",
  "dns.clients": "[192.168.0.0/24]",
};

const otherTexts: Readonly<Record<string, string>> = {
  "api.url": "https://api.example.com",
  ingressEndpoint: "ingress.example:1",
  "server.log_level": "debug",
  "server.log_format": "json",
  "forward.early_data": "on",
  "server.socket_read": "all",
  "server.health_address": "0.0.0.0",
  "server.dashboard_address": "127.0.0.1:9999",
  "server.health_hosts": "[monitored.example]",
  "server.ingress_ca_sha256": `[${"ab".repeat(32)}]`,
  "access.hosts": "[monitored.example]",
  "net.subnet": "127.7.0.0/16",
  "net.subnet6": "off",
  "net.interface_name": "other0",
  "net.listen_interface": "0.0.0.0",
  "dns.listen": "127.0.0.2:53",
};

describe("docs/configuration.md", () => {
  test("is up to date with the schema", () => {
    // If not, run `npx bun src/config/reference.ts > docs/configuration.md`.
    expect(readFileSync(join(import.meta.dir, "../../docs/configuration.md"), "utf8")).toBe(
      referencePage(),
    );
  });

  test("has a row for every setting, with four cells", () => {
    const rows = referencePage()
      .split("\n")
      .filter((line) => /^\| `[a-z]/.test(line)); // rows of variables are in capitals
    expect(rows).toHaveLength(settings.length);
    for (const row of rows) expect(row.split(" | ")).toHaveLength(4);
  });
});
