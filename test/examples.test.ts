import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { commands } from "../src/cli/commands.ts";
import { settings } from "../src/config/schema.ts";
import { dropInFolder, systemd } from "../src/service/systemd.ts";
import { unitText } from "../src/service/unit.ts";

/** docs/examples/ is true to the code. */
const root = join(import.meta.dirname, "..");
const textOf = (path: string): string => readFileSync(join(root, path), "utf8");
const example = (name: string): string => textOf(`docs/examples/${name}`);
const unit = unitText({
  program: "/usr/local/bin/ngrokd",
  serveArgs: [],
  environment: {},
  hostsPath: "/etc/hosts",
  socketPath: "/var/run/ngrokd.sock",
  folders: ["/etc/ngrokd"],
  reads: [],
  makesInterface: false,
  drainSeconds: 30,
});

/** The metrics that the code writes; a histogram has three names. */
const metrics = new Set(
  ["src/desk", "src/observe"]
    .flatMap((folder) => readdirSync(join(root, folder)).map((name) => `${folder}/${name}`))
    .flatMap((file) => [
      ...textOf(file).matchAll(/"((?:ngrokd|process)_[a-z_]+)"(?:,\s*type: "(histogram)")?/g),
    ])
    .flatMap(([, name = "", histogram]) =>
      histogram === undefined ? [name] : ["bucket", "sum", "count"].map((end) => `${name}_${end}`),
    ),
);
const unknownIn = (expressions: readonly string[]): string[] =>
  expressions
    .flatMap((text) => text.match(/\b(?:ngrokd|process)_[a-z_]+/g) ?? [])
    .filter((name) => !metrics.has(name));

test("the code's metrics are found, and each is in docs/usage.md", () => {
  expect(metrics.size).toBeGreaterThan(25);
  expect(unknownIn(["ngrokd_up + ngrokd_upgrade_seconds_bucket", "ngrokd_nothing > 0"])).toEqual([
    "ngrokd_nothing",
  ]);
  const page = textOf("docs/usage.md");
  const ours = [...metrics].filter((name) => name.startsWith("ngrokd_"));
  // The page leaves the prefix out of the second name in a row.
  const named = (name: string): boolean =>
    page.includes(name.replace(/^ngrokd/, "").replace(/_(?:bucket|sum|count)$/, ""));
  expect(ours.filter((name) => !named(name))).toEqual([]);
});

describe("for Prometheus", () => {
  const alerts = z
    .strictObject({
      groups: z.array(
        z.strictObject({
          name: z.string(),
          rules: z.array(
            z.strictObject({
              alert: z.string().regex(/^Ngrokd\w+$/),
              expr: z.string(),
              for: z.string().regex(/^\d+[mh]$/),
              annotations: z.strictObject({ summary: z.string() }),
            }),
          ),
        }),
      ),
    })
    .parse(parse(example("alerts.yml")));
  const rules = alerts.groups.flatMap(({ rules }) => rules);

  test("alerts name only metrics and commands that there are", () => {
    expect(rules.length).toBeGreaterThan(5);
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    expect(rules.filter(({ expr }) => unknownIn([expr]).length > 0)).toEqual([]);
    const named = rules.flatMap(({ annotations }) =>
      [...annotations.summary.matchAll(/`ngrokd ([a-z-]+)/g)].map(([, word = ""]) => word),
    );
    expect(named.length).toBeGreaterThan(2);
    expect(named.filter((word) => !Object.hasOwn(commands, word))).toEqual([]);
  });

  test("the scrape goes to the default port, under the job that the alerts name", () => {
    const config = parse(example("prometheus.yml"));
    const [job] = config.scrape_configs;
    const defaultOf = (key: string): unknown =>
      settings.find((setting) => setting.key === key)?.default;
    const health = `${defaultOf("server.health_address")}:${defaultOf("server.health_port")}`;
    expect(job.static_configs).toEqual([{ targets: [health] }]);
    expect(example("alerts.yml")).toContain(`job="${job.job_name}"`);
    const files = readdirSync(join(root, "docs/examples"));
    expect(config.rule_files.filter((file: string) => !files.includes(file))).toEqual([]);
  });
});

test("the dashboard for Grafana names only metrics and variables that there are", () => {
  const { panels, templating } = z
    .object({
      title: z.literal("ngrokd"),
      templating: z.object({
        list: z.array(z.object({ name: z.string(), definition: z.string().optional() })),
      }),
      panels: z.array(
        z.object({
          id: z.number(),
          title: z.string(),
          gridPos: z.object({ x: z.number(), y: z.number(), w: z.number(), h: z.number() }),
          targets: z.array(z.object({ refId: z.string(), expr: z.string() })).min(1),
        }),
      ),
    })
    .parse(JSON.parse(example("grafana-dashboard.json")));
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  expect(panels.filter(({ gridPos: { x, w } }) => x + w > 24)).toEqual([]);
  const expressions = [
    ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ...templating.list.flatMap(({ definition }) => definition ?? []),
  ];
  expect(expressions.length).toBeGreaterThan(15);
  expect(unknownIn(expressions)).toEqual([]);
  const variables = [...templating.list.map(({ name }) => name), "__rate_interval"];
  const used = expressions.flatMap((text) => [...text.matchAll(/\$(\w+)/g)].map(([, v]) => v));
  expect(used.filter((name = "") => !variables.includes(name))).toEqual([]);
  const open = expressions.filter((text) => text.split("(").length !== text.split(")").length);
  expect(open).toEqual([]);
});

test("the container has the rights of the unit, and variables that ngrokd reads", () => {
  const { ngrokd } = parse(example("compose.yaml")).services;
  const [, rights = ""] = /^CapabilityBoundingSet=(.*)$/m.exec(unit) ?? [];
  expect(ngrokd.cap_drop).toEqual(["ALL"]);
  expect(ngrokd.cap_add.map((name: string) => `CAP_${name}`)).toEqual(rights.split(" "));
  expect(ngrokd.ulimits.nofile).toBe(Number(/^LimitNOFILE=(\d+)$/m.exec(unit)?.[1]));

  const page = textOf("docs/configuration.md");
  const variables = Object.keys(ngrokd.environment);
  expect(variables.filter((name) => !page.includes(`| \`${name}\``))).toEqual([]);
  const mounted: string[] = ngrokd.volumes.map((line: string) => line.split(":")[1]);
  expect(mounted).toContain(ngrokd.environment.NGROKD_SOCKET.replace(/\/[^/]*$/, ""));
  for (const [program, word] of [ngrokd.command, ngrokd.healthcheck.test.slice(1)]) {
    expect(program).toBe("ngrokd");
    expect(Object.keys(commands)).toContain(word);
  }
  const versions = ngrokd.build.dockerfile_inline.match(/\d+\.\d+\.\d+/g);
  expect(new Set(versions).size).toBe(1);
  expect(textOf("docs/CHANGELOG.md")).toContain(`## [${versions[0]}]`);
});

test("the drop-in is one of the service's unit, and right to systemd's grammar", () => {
  const manager = systemd((paths) => paths[0] ?? "");
  expect(dropInFolder(manager)).toEndWith("/ngrokd.service.d");
  const text = example("ngrokd.service.d/override.conf");
  expect(text).toContain(`${dropInFolder(manager)}/override.conf`);
  const lines = text.split("\n").filter((line) => line !== "" && !/^# /.test(line));
  expect(lines.length).toBeGreaterThan(5);
  expect(lines.filter((line) => !/^(?:\[(?:Unit|Service)\]|#?[A-Z]\w+=\S*.*)$/.test(line))).toEqual(
    [],
  );
  const [, narrow = ""] =
    /^(ReadWritePaths=\/etc\/hosts .*)$/m.exec(textOf("docs/operations.md")) ?? [];
  expect(lines).toContain(`#${narrow}`);
});
