import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspectConfig, loadConfig } from "../../src/config/load.ts";
import type { Problem } from "../../src/config/problem.ts";
import { settings as all } from "../../src/config/schema.ts";
import { type Job, jobsOf } from "../../src/daemon/jobs.ts";
import { createSettings } from "../../src/daemon/settings.ts";
import { parseApiKey } from "../../src/model/api-key.ts";
import { memoryLog } from "../support/memory-log.ts";

const folder = mkdtempSync(join(tmpdir(), "ngrokd-settings-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The settings of a daemon that was started with this text in its file. */
async function started(text: string, { env = {}, check = [] as Problem[] } = {}) {
  const file = join(mkdtempSync(join(folder, "one-")), "config.yml");
  const write = (text: string): void => writeFileSync(file, text, { mode: 0o600 });
  write(text);
  const log = memoryLog();
  const applied: Job[][] = [];
  const settings = createSettings({
    loaded: await loadConfig({ file, env }),
    read: () => inspectConfig({ file, env }),
    check: async () => check,
    log,
  });
  settings.follow(async (jobs) => void applied.push([...jobs]));
  const reload = async (text: string) => {
    write(text);
    return await settings.reload();
  };
  return { file, settings, log, applied, reload };
}

const keys = (changes: readonly { readonly key: string }[]): string[] =>
  changes.map(({ key }) => key);

describe("a reload", () => {
  test("applies the changes with their jobs, and logs them in one line", async () => {
    const { settings, log, applied, reload } = await started("server: { log_level: info }\n");
    const report = await reload("server: { log_level: warn }\nforward: { open_timeout: 3 }\n");
    expect(report).toMatchObject({ ok: true, problems: [], warnings: [] });
    expect(keys(report.changes)).toEqual(["server.log_level", "forward.open_timeout"]);
    expect(settings.current.config.forward.open_timeout).toBe(3);
    expect(applied).toEqual([["log"]]);
    expect(log.lines).toEqual([
      "info Reloaded the configuration: server.log_level is warn; forward.open_timeout is 3",
    ]);
  });

  test("logs and does nothing without a change", async () => {
    const { settings, log, applied, reload } = await started("server: { log_level: info }\n");
    const before = settings.current.config;
    expect((await reload("# a comment\nserver:\n  log_level: info\n")).changes).toEqual([]);
    expect(settings.current.config).toEqual(before);
    expect({ log: log.lines, applied }).toEqual({ log: [], applied: [] });
  });

  test("changes nothing if the file is wrong, and reports that once", async () => {
    const { file, settings, log, applied, reload } = await started("server: { log_level: info }\n");
    const before = settings.current;
    const wrong = "server:\n  log_level: loud\nforward: { open_timeout: 3 }\n";
    const report = await reload(wrong);
    expect(report).toMatchObject({
      ok: false,
      changes: [],
      problems: [{ line: 2, column: 14, key: "server.log_level" }],
    });
    await reload(wrong);
    expect(settings.current).toBe(before);
    const told =
      "The configuration cannot be used, and the daemon keeps the one in effect: " +
      `${file}:2:14: server.log_level is "loud"; allowed: debug, info, warn or error`;
    expect(settings.warnings).toEqual([told]);
    expect(log.lines).toEqual([
      `warn ${told} (hint: correct it with \`ngrokd config edit --config ${file}\`, ` +
        `then run \`ngrokd config check --config ${file}\`)`,
    ]);
    await reload("server: { log_level: info }\n");
    expect(log.lines.slice(1)).toEqual([`info The configuration "${file}" is valid again`]);
    expect({ warnings: settings.warnings, applied }).toEqual({ warnings: [], applied: [] });
  });

  test("reports each new fault, and at most five problems of it", async () => {
    const { settings, log, reload } = await started("");
    await reload("server: [\n");
    await reload(
      `${[..."abcdefg"].map((key) => `${key}: 1`).join("\n")}\nforward: 3\nforward: 4\n`,
    );
    await reload(
      "server: { log_level: 1, log_format: 2, health_port: x, client_key: [x], client_cert: [x], " +
        "socket_path: [x], health_address: x }\n",
    );
    expect(log.lines.filter((line) => line.includes("cannot be used"))).toHaveLength(3);
    expect(settings.warnings[0]).toEndWith("; and 2 more");
  });

  test("keeps a setting that needs a restart, and warns until it is reverted", async () => {
    const { settings, log, applied, reload } = await started(
      "server: { client_key: /a/tls.key }\n",
    );
    const change = "server: { client_key: /b/tls.key }\n";
    expect((await reload(change)).changes).toEqual([
      { key: "server.client_key", counts: "restart", from: "/a/tls.key", to: "/b/tls.key" },
    ]);
    expect((await reload(change)).changes).toHaveLength(1);
    const told =
      "server.client_key has changed to /b/tls.key, which needs a restart of the daemon; " +
      "until then it is /a/tls.key";
    expect(settings.warnings).toEqual([told]);
    expect(log.lines).toEqual([`warn ${told}`]);
    expect(settings.current.config.server.client_key).toBe("/a/tls.key");
    await reload("server: { client_key: /a/tls.key }\n");
    expect({ warnings: settings.warnings, applied }).toEqual({ warnings: [], applied: [] });
  });

  test("logs an unknown key once, and never one from the start", async () => {
    const { log, reload } = await started("old: 1\n");
    expect((await reload("old: 1\nnew: 2\n")).warnings).toHaveLength(2);
    await reload("old: 1\nnew: 2\n");
    expect(log.lines).toHaveLength(1);
    expect(log.lines[0]).toContain('there is no setting "new"');
  });
});

describe("a reload of an empty or rejected file", () => {
  test("does not read a missing or empty file as all defaults", async () => {
    const { file, settings, reload } = await started("api: { key: a-key-of-somebody }\n");
    expect((await reload("  \n")).problems[0]?.message).toBe(
      "it is empty now; if this is intended, restart the daemon",
    );
    rmSync(file);
    const gone = await settings.reload();
    expect(gone.problems[0]?.message).toBe("it cannot be read: there is no such file");
    expect(settings.current.config.api.key).toBe("a-key-of-somebody");
    expect((await reload("# all of it is meant\n")).ok).toBe(true);
    expect(settings.current.config.api.key).toBe("");
  });

  test("accepts an empty file that was empty at the start", async () => {
    const { log, reload } = await started("");
    expect((await reload("\n")).ok).toBe(true);
    expect(log.lines).toEqual([]);
  });

  test("changes nothing if the check of the machine fails", async () => {
    const check: Problem[] = [
      { kind: "wrong-value", source: "file", message: "server.ingress_ca cannot be used" },
    ];
    const { settings, applied, reload } = await started("", { check });
    expect((await reload("server: { log_level: debug }\n")).problems).toEqual(check);
    expect(settings.current.config.server.log_level).toBe("info");
    expect(applied).toEqual([]);
  });
});

describe("a reload and other sources of values", () => {
  test("takes the environment before the file", async () => {
    const { reload } = await started("", { env: { NGROK_API_KEY: "the-key-of-the-environment" } });
    expect((await reload("api: { key: the-key-of-the-file }\n")).changes).toEqual([]);
  });

  test("does not report a key that the daemon itself has saved", async () => {
    const { settings, applied, log, reload } = await started("api: { key: the-first-key }\n");
    const key = parseApiKey("the-second-key");
    if (key.ok) settings.savedKey(key.value);
    expect((await reload("api: { key: the-second-key }\n")).changes).toEqual([]);
    expect({ log: log.lines, applied }).toEqual({ log: [], applied: [] });
    // The key in use is not the one of the environment. A later reload must not
    // report that as a change either.
    const other = await started("", { env: { NGROK_API_KEY: "the-key-of-the-environment" } });
    if (key.ok) other.settings.savedKey(key.value);
    expect((await other.reload("api: { key: the-second-key }\n")).changes).toEqual([]);
  });

  test("reads the file again for a call during another reload", async () => {
    const { settings, log, reload } = await started("");
    const [first, second] = await Promise.all([
      reload("server: { log_level: warn }\n"),
      reload("server: { log_level: error }\n"),
    ]);
    expect([...first.changes, ...second.changes].length).toBeGreaterThan(0);
    expect(settings.current.config.server.log_level).toBe("error");
    expect(log.lines.at(-1)).toContain("server.log_level is error");
  });
});

test("jobs are named for settings that there are, and that a reload can take over", () => {
  const change = (key: (typeof all)[number]["key"]) =>
    ({ key, counts: "now", from: 0, to: 1 }) as const;
  const withJobs = all.filter(({ key }) => jobsOf([change(key)]).size > 0);
  expect(withJobs.filter(({ needsRestart }) => needsRestart).map(({ key }) => key)).toEqual([]);
  // The other settings have no job, since they are read at each use.
  expect(
    all
      .filter((setting) => !withJobs.includes(setting) && !setting.needsRestart)
      .map(({ key }) => key),
  ).toEqual([
    "server.cert_warn_days",
    "server.health_hosts",
    "forward.open_timeout",
    "forward.idle_timeout",
    "forward.half_close_timeout",
    "forward.drain_timeout",
    "forward.handover_timeout",
    "forward.rewrite_host",
    "forward.early_data",
    "forward.max_connections",
    "forward.max_connections_per_endpoint",
    "dns.clients",
    "dns.upstream",
    "access.hosts",
    "identity.send",
    "identity.annotations",
    "identity.user",
    "inspect.headers",
    "inspect.queries",
    "inspect.body_bytes",
  ]);
});
