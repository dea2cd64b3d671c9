import { describe, expect, test } from "bun:test";
import type { Loaded } from "../../src/config/load.ts";
import { configSchema } from "../../src/config/schema.ts";
import type { Request } from "../../src/control/protocol.ts";
import type { Rights } from "../../src/control/rights.ts";
import { certificateReport } from "../../src/desk/certificate-report.ts";
import { createDispatch, runOperation } from "../../src/desk/dispatch.ts";
import { createFeed } from "../../src/desk/feed.ts";
import type { Desk, DeskProfile } from "../../src/desk/handlers.ts";
import { type Operation, operationNames, operations } from "../../src/desk/operations.ts";
import { createHistory } from "../../src/history/history.ts";
import type { ApiKey } from "../../src/model/api-key.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { createMeter } from "../../src/model/meter.ts";
import type { PassResult } from "../../src/model/pass.ts";
import type { State } from "../../src/model/state.ts";
import { memoryLog } from "../support/memory-log.ts";
import { endpoint, meter, network, servingState } from "./support.ts";

const at = new Date("2026-01-02T03:04:05Z");
const state = servingState(at);
const loaded = {
  config: configSchema.parse({}),
  origins: { "api.key": "file" },
  path: "/c.yml",
  hostsPath: "/etc/hosts",
  proxy: { noProxy: "" },
} as unknown as Loaded;
/** A certificate that ends 36 hours after `at`. */
const refresh = {
  renewed: true,
  at,
  notAfter: new Date(at.getTime() + 36 * 3_600_000),
  due: at,
};
const report = certificateReport(refresh);

/** A desk with these parts, and a list of the calls to it. */
function deskWith({
  profiles = ["default"],
  ...parts
}: Partial<Omit<Desk, "profiles"> & Pick<DeskProfile, "pass">> & {
  profiles?: readonly string[];
} = {}) {
  const asked: string[] = [];
  const log = memoryLog();
  const history = createHistory();
  const common = {
    state: () => state,
    facts: () => ({
      runtime: "bun",
      network,
      ingress: { hits: 0, misses: 0, retries: 0, dials: 0, ready: 0, patienceMs: 0 },
      strangers: createMeter(),
      departed: createMeter(),
      limit: 500,
      fileLimit: 1024,
      turnedAway: 0,
      schedule: { failures: 0, next: undefined },
      renewalTrouble: undefined,
    }),
    live: () => ({ ok: true, reason: "" }),
  };
  const profile = (name: string): DeskProfile => ({
    ...common,
    name,
    loaded: () => parts.settings?.current ?? loaded,
    identity: {
      async setApiKey(text, { switchAccount }) {
        asked.push(`key ${text}${switchAccount ? ", switching" : ""}`);
        return { key: text as ApiKey, moved: switchAccount ? { farewell: "Bye." } : undefined };
      },
      async refreshCertificate({ force }) {
        asked.push(force ? "renew" : "renew if due");
        return refresh;
      },
    },
    async pass() {
      asked.push("pass");
      return "ok";
    },
    ...parts,
  });
  const desk: Desk = {
    ...common,
    profiles: () => profiles.map(profile),
    names: {
      paused: new Set(["paused.demo"]),
      async pause(subject, paused) {
        asked.push(`${paused ? "pause" : "resume"} ${subject}`);
        return true;
      },
    },
    healthUrl: () => "http://127.0.0.1:8081/",
    inspection: {
      inspected: () => ["*.demo"],
      page: ({ after = 0 }) => ({ exchanges: [], next: after, more: false }),
      async replay(id) {
        asked.push(`replay ${id}`);
        return { status: 204, reason: "No Content", bodyBytes: 0, ms: 1.4, without: [] };
      },
    },
    settings: {
      current: loaded,
      savedKey: (key, name) => void asked.push(`saved ${key} of ${name}`),
    },
    reload: async () => ({
      ok: true,
      config_path: "/c.yml",
      changes: [],
      problems: [],
      warnings: [],
    }),
    async upgrade(to) {
      asked.push(`upgrade to ${to ?? "itself"}`);
      return {
        program: to ?? "/bin/ngrokd",
        version: "1.0.0",
        pid: 7,
        way: "beside",
        took_ms: 1,
        draining: 0,
      };
    },
    memory: { history, nameOf: () => undefined, feed: createFeed(history, () => undefined) },
    examine: async (subject) => ({
      findings: [
        { check: "daemon", title: "Daemon", level: "ok", text: "It runs", fix: "", subject },
      ],
    }),
    dashboardLink: ({ write }) => ({ url: "http://127.0.0.1:1/", expires_seconds: 1, write }),
    log,
    ...parts,
  };
  const dispatch = (
    request: Request,
    rights: Rights = "all",
    isOwner: () => Promise<boolean> = async () => true,
  ): Promise<unknown> => createDispatch(desk)(request, { rights, isOwner });
  return { desk, asked, log, dispatch };
}

const failure = async (promise: Promise<unknown>): Promise<NgrokdError> => {
  const error: unknown = await promise.catch((error: unknown) => error);
  if (error instanceof NgrokdError) return error;
  throw new Error("it did not fail with an NgrokdError");
};

describe("a request", () => {
  test.each(operationNames)("for %s gets a reply of the table's shape", async (command) => {
    const { dispatch } = deskWith();
    const words: Partial<Record<string, string>> = {
      pause: "paused.demo",
      resume: "paused.demo",
      replay: "7",
    };
    const word = words[command];
    const args = word === undefined ? null : [word];
    const reply = await dispatch({ command, args });
    expect(operations[command].reply.parse(reply)).toEqual(reply as never);
  });

  test.each(["frobnicate", "constructor", "", "Status"])(
    "for the unknown command %j is refused with the list of those there are",
    async (command) => {
      const { code, message, hint } = await failure(deskWith().dispatch({ command }));
      expect({ code, message, hint }).toEqual({
        code: "usage",
        message: `This daemon does not know the command ${JSON.stringify(command)}`,
        hint: "it knows status, list, health, connections, traffic, events, exchanges, doctor, replay, dashboard, refresh, reload, pause, resume, upgrade, refresh-cert and set-api-key",
      });
    },
  );

  test("for HTTP exchanges finds a page, and one to send again needs its number", async () => {
    const { dispatch, asked } = deskWith();
    expect(await dispatch({ command: "exchanges", args: ["a.demo", "--after=5"] })).toEqual({
      inspected: ["*.demo"],
      exchanges: [],
      next: 5,
      more: false,
    });
    expect(await dispatch({ command: "replay", args: ["7"] })).toEqual({
      id: 7,
      status: 204,
      reason: "No Content",
      body_bytes: 0,
      took_ms: 1,
      without: [],
    });
    for (const args of [null, ["seven"], ["-1"]])
      expect((await failure(dispatch({ command: "replay", args }))).code).toBe("usage");
    expect(asked).toEqual(["replay 7"]);
  });

  test("for a program is refused to members of the group, and done for root", async () => {
    const { dispatch, asked } = deskWith();
    const request = { command: "upgrade", args: ["/usr/bin/new"] };
    const { code, hint } = await failure(dispatch(request, "all", async () => false));
    expect({ code, hint, asked }).toEqual({ code: "permission", hint: "use sudo", asked: [] });
    await dispatch(request, "all", async () => true);
    expect(asked).toEqual(["upgrade to /usr/bin/new"]);
  });

  test.each(operationNames)(
    "for %s of another user changes nothing, and tells of nobody",
    async (command) => {
      const { dispatch, asked } = deskWith();
      const { kind, isPersonal }: Operation = operations[command];
      const end = await dispatch({ command, args: ["key"] }, "read").then(
        () => "answered",
        ({ code, message }) => `${code}: ${message}`,
      );
      const refusal =
        kind === "read"
          ? "This user may not see who uses the endpoints"
          : "This user may ask the daemon, and not change it";
      expect(end).toBe(
        kind !== "read" || isPersonal
          ? `permission: ${refusal}: "${command}" is refused`
          : "answered",
      );
      expect(asked).toEqual([]);
    },
  );

  test("is answered as if arguments that its operation lacks were not there", async () => {
    const { dispatch } = deskWith();
    const reply = await dispatch({ command: "list", args: ["x", "--all"] });
    expect(reply).toEqual([]);
  });

  test("with an input that is not the operation's is refused", async () => {
    const { desk, asked } = deskWith();
    const { code, message } = await failure(runOperation(desk, "refresh-cert", { force: "yes" }));
    expect({ code, message }).toEqual({
      code: "usage",
      message: 'The arguments of "refresh-cert" are wrong',
    });
    expect(asked).toEqual([]);
  });
});

describe("several profiles", () => {
  const both = deskWith({ profiles: ["default", "work"] });

  test("are all in a status and in a list", async () => {
    const status = await runOperation(both.desk, "status", {});
    expect(status.profiles?.map(({ name }) => name)).toEqual(["default", "work"]);
    expect(operations.status.reply.parse(status)).toEqual(status);
    const { desk } = deskWith({
      profiles: ["default", "work"],
      state: () => ({ ...state, endpoints: [endpoint("a", { account: "work" })] }),
    });
    expect((await runOperation(desk, "list", {})).map(({ profile }) => profile)).toEqual(["work"]);
  });

  test("have each a status that looks as if there was no other", async () => {
    const status = await runOperation(both.desk, "status", { profile: "work" });
    expect(status).not.toHaveProperty("profiles");
  });

  test.each([
    [["default", "work"], undefined, "default"],
    [["default", "work"], "work", "work"],
    [["work"], undefined, "work"],
    [["work", "lab"], "lab", "lab"],
  ])("of %j, named %j: the key goes to %s", async (profiles, profile, name) => {
    const { desk, asked } = deskWith({ profiles });
    const input = profile === undefined ? { key: "K" } : { key: "K", profile };
    await runOperation(desk, "set-api-key", input);
    expect(asked).toContain(`saved K of ${name}`);
  });

  test.each([
    [undefined, "There are several profiles, and none was named"],
    ["wrok", 'There is no profile "wrok"'],
    ["default", 'The profile "default" has no key, so it is not in use'],
  ])("are not changed if %j is named", async (profile, message) => {
    const { desk, asked } = deskWith({ profiles: ["work", "lab"] });
    const input = profile === undefined ? {} : { profile };
    const error = await failure(runOperation(desk, "refresh-cert", input));
    expect([error.code, error.message]).toEqual(["usage", message]);
    expect(asked).toEqual([]);
  });

  test("are all polled by a refresh", async () => {
    const { desk, asked } = deskWith({ profiles: ["default", "work"] });
    await runOperation(desk, "refresh", {});
    expect(asked).toEqual(["pass", "pass"]);
  });
});

describe("refresh", () => {
  const refresh = async (ends: PassResult["kind"][], changes: Partial<State> = {}) => {
    let passes = 0;
    const { dispatch } = deskWith({
      pass: async () => ends[passes++],
      state: () => ({ ...state, ...changes }),
    });
    return { reply: await dispatch({ command: "refresh" }), passes };
  };

  test.each([
    ["ok", 1],
    ["failed", 1],
    ["idle", 1],
    ["confirm", 2],
    ["gone", 2],
  ] as const)("replies to a pass that ends %s after %d", async (end, count) => {
    expect((await refresh([end, "ok"])).passes).toBe(count);
  });

  test("returns the result of the pass, and is not ok without a registration", async () => {
    const { reply } = await refresh(["ok"]);
    expect(reply).toEqual({ ok: true, reason: "", hint: "", took_ms: 12, endpoint_count: 0 });
    const registering = await refresh(["ok"], { registration: { kind: "registering" } });
    expect(registering.reply).toMatchObject({ ok: false });
  });

  test("gives the reason for the wait if there was no pass", async () => {
    const { reply } = await refresh([], { lastPass: undefined, reason: "stopping", hint: "wait" });
    expect(reply).toEqual({
      ok: false,
      reason: "stopping",
      hint: "wait",
      took_ms: 0,
      endpoint_count: 0,
    });
  });
});

test("reload is refused while the daemon stops", async () => {
  const { dispatch } = deskWith({ reload: async () => undefined });
  const { code, message } = await failure(dispatch({ command: "reload" }));
  expect({ code, message }).toEqual({
    code: "refused",
    message: "The daemon is stopping, so it does not read the configuration",
  });
});

describe("pause and resume", () => {
  const endpoints = [
    endpoint("a"),
    endpoint("w", { url: "https://*.team.demo", host: "" }),
    endpoint("a", { state: "draining", meter: meter({ active: 3 }) }),
  ];
  const withEndpoints = () => deskWith({ state: () => ({ ...state, endpoints }) });

  test("change the pause before a pass, and count the open connections", async () => {
    const { dispatch, asked, log } = withEndpoints();
    expect(await dispatch({ command: "pause", args: ["A.demo."] })).toEqual({
      host: "a.demo",
      paused: true,
      changed: true,
      draining: 3,
    });
    expect(await dispatch({ command: "resume", args: ["*.team.demo"] })).toMatchObject({
      host: "*.team.demo",
      draining: 0,
    });
    expect(asked).toEqual(["pause a.demo", "pass", "resume *.team.demo", "pass"]);
    expect(log.lines).toEqual(['info "a.demo" is paused', 'info "*.team.demo" is served again']);
  });

  test("resume a name that no endpoint has any more", async () => {
    const { dispatch, asked } = withEndpoints();
    await dispatch({ command: "resume", args: ["paused.demo"] });
    expect(asked).toEqual(["resume paused.demo", "pass"]);
  });

  test("refuse a name that is none, and one that nothing has", async () => {
    const { dispatch, asked } = withEndpoints();
    expect(await failure(dispatch({ command: "pause", args: ["a b"] }))).toMatchObject({
      code: "usage",
      message: expect.stringContaining('Cannot pause "a b": '),
    });
    expect(await failure(dispatch({ command: "pause", args: ["b.demo"] }))).toMatchObject({
      message: 'Cannot pause "b.demo": no endpoint has this name',
      hint: 'did you mean "a.demo"?',
    });
    expect(asked).toEqual([]);
  });
});

describe("refresh-cert", () => {
  test.each([
    [[], "renew if due", report.message],
    [["--force"], "renew", report.message],
    [["--json"], "renew if due", report],
    [["--json", "--force"], "renew", report],
  ] as const)("with the arguments %j asks to %s", async (args, wish, expected) => {
    const { dispatch, asked } = deskWith();
    const reply = await dispatch({ command: "refresh-cert", args: [...args] });
    expect(reply).toEqual(expected);
    expect(asked).toEqual([wish]);
  });
});

describe("set-api-key", () => {
  const saved = "ngrok accepted the key; it is saved in /c.yml.";

  test("saves the key before a pass, and names the operator", async () => {
    const { dispatch, asked, log } = deskWith();
    const reply = await dispatch({ command: "set-api-key", args: ["K"] });
    expect(reply).toBe(`${saved} This machine is registered as k8sop_1.`);
    expect(asked).toEqual(["key K", "saved K of default", "pass"]);
    expect(log.lines).toEqual(["info A new API key was set over the control socket"]);
  });

  test("names the machine's new account, and the end of the old operator", async () => {
    const { dispatch, asked, log } = deskWith();
    const reply = await dispatch({ command: "set-api-key", args: ["K", "--switch-account"] });
    expect(reply).toBe(
      `${saved} This machine is registered as k8sop_1 in the key's account now. Bye.`,
    );
    expect(asked[0]).toBe("key K, switching");
    expect(log.lines.at(-1)).toBe("info This machine has moved to the key's account. Bye.");
  });

  test("gives the reason for a missing registration", async () => {
    const registration = { kind: "failed", reason: "no route" } as State["registration"];
    const { dispatch } = deskWith({ state: () => ({ ...state, registration }) });
    expect(await dispatch({ command: "set-api-key", args: ["K"] })).toBe(
      `${saved} Registration has not succeeded yet: no route; the daemon keeps trying.`,
    );
  });

  test("warns of a key in the environment, which comes first", async () => {
    const origins = { ...loaded.origins, "api.key": "environment NGROK_API_KEY" } as const;
    const settings = { current: { ...loaded, origins } as Loaded, savedKey: () => {} };
    const { dispatch } = deskWith({ settings });
    expect(await dispatch({ command: "set-api-key", args: ["K"] })).toStartWith(
      `${saved} At the next start NGROK_API_KEY in the environment overrides it. This`,
    );
  });
});
